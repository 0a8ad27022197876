"""Declared data, on real files: what is listed, what is read, and what isn't whatever it's called."""

import hashlib
import os
import types
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from plasmid.builtin.kept_data import KeptData
from plasmid.builtin.modules import ModuleServer
from plasmid.builtin.package_files import PackageFiles, read_beneath
from plasmid.core.address_text import parse
from plasmid.core.errors import NotSent, Refused
from tests.builtin.module_files import Files

CHILD = parse("/3")
WHOLE = {"shop": ["*"]}


def test_a_record_says_which_files_are_declared(files: Files) -> None:  # U4
    files.write(shop__="", shop__till="", shop__deep__="")
    for name in ("a.txt", "deep/b.txt", "new.txt", "fast.so", "till.pyc", ".env"):
        (files.folder / "shop" / name).write_text(name)
    info = files.folder / "shop-1.dist-info"
    info.mkdir()
    names = ("__init__.py", "a.txt", "deep/b.txt", "fast.so", "till.pyc", ".env", "__pycache__/x.pyc", "../shop/gone")
    (info / "RECORD").write_text("".join(f"shop/{name},sha256=x,1\n" for name in names))
    found = PackageFiles()
    assert found.names("shop", {}) == ["__init__.py", "a.txt", "deep/b.txt"]
    assert found.names("shop.deep", {}) == ["b.txt"]
    assert found.read("shop", "deep/b.txt", {}) == b"deep/b.txt"
    assert found.read("shop", "new.txt", {}) is None, "it isn't listed"
    assert found.read("shop", "../shop/gone", {}) is None
    assert found.names("nowhere", {}) is None


def test_without_a_record_sources_count_and_what_the_options_name(files: Files) -> None:  # U4
    files.write(shop__="", shop__till="", shop__deep__="")
    for name in ("a.txt", "deep/b.txt", "deep/c.html", ".env"):
        (files.folder / "shop" / name).write_text(name)
    sources = ["__init__.py", "deep/__init__.py", "till.py"]
    found = PackageFiles()
    assert found.names("shop", {}) == sources
    assert found.names("shop", {"shop": ["deep/*.html"]}) == sorted([*sources, "deep/c.html"])
    assert found.names("shop.deep", {"shop": ["deep/*.html"]}) == ["__init__.py", "c.html"]
    assert found.names("shop", WHOLE) == sorted([*sources, "a.txt", "deep/b.txt", "deep/c.html"])
    assert found.names("shop", {"other": ["*"]}) == sources


def test_what_lies_in_a_folder_of_installed_packages_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = tmp_path / "dist-packages" / "shop_installed"
    shop.mkdir(parents=True)
    (shop / "__init__.py").write_text("")
    (shop / "a.txt").write_text("a")
    monkeypatch.syspath_prepend(str(shop.parent))
    assert PackageFiles().names("shop_installed", {}) == ["__init__.py", "a.txt"]


def test_a_zipped_package_has_its_data_in_the_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # U4
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as file:
        file.writestr("inside/shop_zipped/__init__.py", "")
        file.writestr("inside/shop_zipped/deep/a.txt", "a")
        file.writestr("inside/other.txt", "b")
    monkeypatch.syspath_prepend(str(tmp_path / "lib.zip" / "inside"))
    found = PackageFiles()
    assert found.names("shop_zipped", {}) == ["__init__.py", "deep/a.txt"]
    assert found.read("shop_zipped", "deep/a.txt", {}) == b"a"
    assert found.read("shop_zipped", "../other.txt", {}) is None


def test_no_link_and_nothing_but_a_regular_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # threat: paths
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "plain").write_text("plain")
    (root / "to_file").symlink_to(outside / "secret")
    (root / "to_folder").symlink_to(outside)
    os.mkfifo(root / "pipe")
    assert read_beneath(str(root), "plain") == b"plain"
    bad = [
        "to_file",
        "to_folder/secret",
        "pipe",
        "deep",
        "nowhere",
        "",
        ".",
        "..",
        "../outside/secret",
        "deep/../plain",
    ]
    for path in [*bad, "/etc/passwd", "plain\0", "deep//plain", "plain/"]:
        with pytest.raises(OSError, match=r"\w"):
            read_beneath(str(root), path)
    monkeypatch.setattr("plasmid.builtin.package_files.FILE_SIZE_MAX", 5)
    assert read_beneath(str(root), "plain") == b"plain"
    monkeypatch.setattr("plasmid.builtin.package_files.FILE_SIZE_MAX", 4)
    with pytest.raises(OSError, match="it is larger than 4 bytes"):
        read_beneath(str(root), "plain")


class Asked:
    """A job as the server sees it, and its answer."""

    def __init__(self, method: str, args: object) -> None:
        self.method = method
        self.source = CHILD
        self._args = args
        self.answer: Any = None

    def args(self, classes: object = None) -> object:
        return self._args

    def reply(self, value: object) -> None:
        self.answer = value

    def fail(self, error: BaseException) -> None:
        assert isinstance(error, Refused)
        self.answer = str(error)


def answer(server: ModuleServer, method: str, args: object) -> Any:
    job: Any = Asked(method, args)
    server.handle(job)
    return job.answer


def test_data_goes_only_to_those_who_may_have_the_package(files: Files) -> None:  # U4
    files.write(shop__="", shop__deep__="", other__="")
    (files.folder / "shop" / "a.txt").write_text("a")
    (files.folder / "shop" / "deep" / "b.txt").write_text("b")
    server = ModuleServer(allow_data=["shop", "other"], deny_modules=["shop.deep"])
    server.permit(CHILD, "shop")
    assert answer(server, "files", {"package": "shop"}) == {"files": ["__init__.py", "a.txt"], "why": ""}
    assert zlib.decompress(answer(server, "data", {"package": "shop", "path": "a.txt"})["data"]) == b"a"
    assert answer(server, "data", {"package": "shop", "path": "deep/b.txt"}) == {"data": None, "why": ""}
    for package in ("other", "json", "..", "shop.deep", "", "shop/deep"):
        assert answer(server, "files", {"package": package})["files"] == []
        refused = answer(server, "data", {"package": package, "path": "b.txt"})
        assert refused["data"] is None
        assert refused["why"] != ""


def test_to_read_one_file_the_others_of_its_package_are_not_looked_at(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(shop__="")
    for number in range(200):
        (files.folder / "shop" / f"{number}.txt").write_text(str(number))
    server = ModuleServer(allow_data=["shop"], allow_modules=["shop"])
    names: list[str] = []
    plain = server.policy.refusal

    def refusal(name: str, address: bytes) -> "str | None":
        names.append(name)
        return plain(name, address)

    monkeypatch.setattr(server.policy, "refusal", refusal)
    assert zlib.decompress(answer(server, "data", {"package": "shop", "path": "7.txt"})["data"]) == b"7"
    assert names == ["shop", "shop"], "may it be sent at all, and is its folder denied"


def test_a_relay_keeps_the_files_that_pass_and_asks_whether_they_are_still_those(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:  # U4
    monkeypatch.setattr("plasmid.builtin.data_server.kept", KeptData())
    digest = hashlib.sha256(b"a").digest()
    sent = {"data": zlib.compress(b"a"), "why": ""}
    held = {"data": None, "why": "", "held": True}
    asked: list[bytes] = []
    late: list[Any] = []

    def call_service_async(service: str, method: str, **kwargs: Any) -> Any:
        asked.append(kwargs["has"])
        answers = {b"": sent, digest: held if len(asked) < 4 else refused if len(asked) == 4 else newer}
        call = types.SimpleNamespace(result=lambda timeout: answers[kwargs["has"]], exception=lambda timeout: None)
        call.add_done_callback = lambda callback: late.append(lambda: callback(call))
        return call

    refused = {"data": None, "why": "not for you"}
    newer = {"data": zlib.compress(b"b"), "why": ""}
    parent: Any = types.SimpleNamespace(call_service_async=call_service_async)
    relay = ModuleServer(parent=parent)
    args = {"package": "far_away", "path": "a.txt"}
    jobs: list[Any] = [Asked("data", args) for _ in range(2)]
    for job in jobs:
        relay.handle(job)
    assert (asked, jobs[1].answer) == ([b""], None), "who asks for the same waits until it is there"
    late.pop()()
    late.pop()()
    assert [job.answer for job in jobs] == [sent, sent]
    lower: Any = Asked("data", dict(args, has=digest))  # a relay below, which has it
    relay.handle(lower)
    late.pop()()
    assert lower.answer == held
    for answer_then in (refused, newer):
        last: Any = Asked("data", args)
        relay.handle(last)
        late.pop()()
        assert last.answer == answer_then
    assert asked == [b"", digest, digest, digest, digest]


def test_a_file_that_could_not_be_asked_for_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[Any] = [NotSent("plasmid.modules", "", "no link"), {"data": zlib.compress(b"a"), "why": ""}]
    monkeypatch.setattr("plasmid.builtin.data_server.kept", KeptData())

    def call_service_async(service: str, method: str, **kwargs: Any) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        call = types.SimpleNamespace(result=lambda timeout: outcome, exception=lambda timeout: None)
        call.add_done_callback = lambda callback: callback(call)
        return call

    parent: Any = types.SimpleNamespace(call_service_async=call_service_async)
    relay = ModuleServer(parent=parent)
    args = {"package": "far_away", "path": "a.txt"}
    failed: Any = Asked("data", args)
    failed.fail = lambda error: setattr(failed, "answer", type(error))
    relay.handle(failed)
    assert failed.answer is NotSent
    assert zlib.decompress(answer(relay, "data", args)["data"]) == b"a"


def test_kept_files_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptData()
    data = zlib.compress(b"a")
    monkeypatch.setattr("plasmid.builtin.kept_data.SIZE_MAX", 2 * len(data))
    for path in ("a", "b", "b"):
        kept.put("shop", path, data)
    assert [kept.get("shop", path) is not None for path in ("a", "b", "c")] == [True, True, False]
    kept.put("shop", "c", data)
    assert [kept.get("shop", path) is not None for path in ("a", "b", "c")] == [False, False, True]


def test_a_request_for_data_that_is_none_is_refused() -> None:
    server = ModuleServer()
    head = "plasmid.modules: "
    assert answer(server, "files", {"package": 1}) == head + "package= must be a str"
    assert answer(server, "files", [1]) == head + "it must have arguments by name"
    too_long = {"package": "plasmid", "path": "x" * 4097}
    assert answer(server, "data", too_long) == head + "path= must be a str of at most 4096 characters"
    assert answer(server, "data", {"package": "plasmid"}) == head + "path= must be a str of at most 4096 characters"
    assert answer(server, "distributions", {"names": [1]}) == head + "names= must be a list of str, or None"
    many = {"names": ["a"] * 257}
    assert answer(server, "distributions", many) == head + "257 names at once; at most 256 are answered"
    elsewhere = head + "for= must be the address of the caller, or of a context below it"
    assert answer(server, "files", {"package": "plasmid", "for": b"\0\0\0\4"}) == elsewhere


def test_metadata_goes_to_those_who_may_have_a_package_of_the_distribution() -> None:  # U4
    server = ModuleServer(allow_modules=["_pytest"])
    found = answer(server, "distributions", {"names": ["pytest"]})
    assert "Name: pytest" in found["found"]["pytest"]["METADATA"]
    assert found["refused"] == {}
    refused = answer(server, "distributions", {"names": ["hypothesis", "no-such-thing", "../x", "x" * 300]})
    assert list(refused["refused"]) == ["hypothesis"]
    assert refused["found"] == {}
    every = answer(server, "distributions", {"names": None})
    assert {"pytest", "plasmid"} <= set(every["found"])
    assert "hypothesis" not in every["found"]
