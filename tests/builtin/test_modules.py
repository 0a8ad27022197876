"""The module server: who gets what, found without an import. Modules are real files in a temporary folder."""

import importlib.machinery
import importlib.util
import logging
import marshal
import subprocess
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import pytest

from plasmid.builtin.modules import NAMES_COUNT_MAX, ModuleServer
from plasmid.builtin.packing import SOURCE_LEVEL, stored
from plasmid.core.address_text import parse
from plasmid.runtime import importer
from plasmid.runtime.runtime import Runtime
from tests.builtin.module_files import Files, sent

CHILD = parse("/3")
GRANDCHILD = parse("/3/1")
SIBLING = parse("/4")
PYTHON = "%d.%d.%d" % sys.version_info[:3]
STDLIB = "it belongs to Python's standard library, which is never sent; install it with the Python of that machine"


def not_allowed(package: str) -> str:
    return (
        "this context was not asked to run anything that imports it; to send it nevertheless, "
        f"name it in allow_modules= of the Router: allow_modules=[{package!r}]"
    )


def test_a_module_that_the_parent_runs_is_sent_with_what_it_imports(files: Files) -> None:  # U4
    files.write(shop__="", shop__goods="from . import till\nimport json, tax", shop__till="open = 1", tax="rate = 7")
    files.write(shop__secret="", other="")
    server = ModuleServer()
    server.permit(CHILD, "shop.goods")
    reply = server.find(["shop"], CHILD)
    assert [entry[:3] for entry in reply["found"]] == [
        ["shop", True, f"/<sent>{files.folder}/shop/__init__.py"],
        ["shop.goods", False, f"/<sent>{files.folder}/shop/goods.py"],
        ["shop.till", False, f"/<sent>{files.folder}/shop/till.py"],
        ["tax", False, f"/<sent>{files.folder}/tax.py"],
    ]
    assert sent(reply)["shop.goods"] == "from . import till\nimport json, tax"
    assert (reply["missing"], reply["refused"]) == (["org"], {}), "nor is what copy and pickle will look for"


def test_what_was_sent_is_not_pushed_again_and_comes_again_when_asked(files: Files) -> None:  # U4
    files.write(shop__="import shop.a, shop.b", shop__a="import shop.b", shop__b="import shop.c", shop__c="")
    server = ModuleServer()
    server.permit(CHILD, "shop")
    assert list(sent(server.find(["shop"], CHILD))) == ["shop", "shop.a", "shop.b", "shop.c"]
    assert list(sent(server.find(["shop.a"], CHILD))) == ["shop.a"]
    server.forget(CHILD)
    assert server.find(["shop"], CHILD)["refused"] == {"shop": not_allowed("shop")}


def test_what_will_be_looked_for_in_vain_is_said_ahead(files: Files) -> None:  # U4
    files.write(
        shop="import nowhere.at_all, fast, json\nfrom firm import missing\ndef later(): import elsewhere",
        fast="",
        firm__="",
    )
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (files.folder / "fast.py").rename(files.folder / f"fast{suffix}")
    reply = ModuleServer(allow_modules=["shop"]).find(["shop"], CHILD)
    assert (list(sent(reply)), reply["missing"]) == (["shop", "firm"], ["nowhere", "firm.missing", "org"])
    assert list(reply["refused"]) == ["fast"]
    assert reply["refused"]["fast"].startswith("it is compiled, of the distribution fast")
    upper: Any = Upper(ModuleServer(), CHILD)
    relay = ModuleServer(allow_modules=["shop"], parent=upper)
    assert relay.find(["shop"], CHILD)["missing"] == [], "which knows only of its own machine"


def test_what_is_pushed_ahead_has_a_limit(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(shop__="\n".join(f"import shop.m{number}" for number in range(20)))
    files.write(**{f"shop__m{number}": "" for number in range(20)})
    server = ModuleServer()
    server.permit(CHILD, "shop")
    monkeypatch.setattr("plasmid.builtin.modules.PUSH_COUNT_MAX", 5)
    assert len(server.find(["shop"], CHILD)["found"]) == 6
    monkeypatch.setattr("plasmid.builtin.modules.PUSH_COUNT_MAX", 100)
    monkeypatch.setattr("plasmid.builtin.modules.PUSH_SIZE_MAX", 50)
    size = len(server.find(["shop.m1"], CHILD)["found"][0][3])
    assert len(server.find(["shop"], CHILD)["found"]) == 1 + 50 // size


def test_who_was_not_asked_to_run_it_is_refused_by_name_of_the_option(files: Files) -> None:
    files.write(shop="import tax", tax="", plan="")
    server = ModuleServer()
    server.permit(CHILD, "shop")
    assert server.find(["shop", "plan"], SIBLING) == {
        "found": [],
        "held": [],
        "python": PYTHON,
        "missing": [],
        "refused": {"shop": not_allowed("shop"), "plan": not_allowed("plan")},
    }
    assert server.find(["tax"], CHILD)["refused"] == {"tax": not_allowed("tax")}, "nothing that imports it was sent"
    server.find(["shop"], CHILD)
    assert list(sent(server.find(["tax"], CHILD))) == ["tax"]
    assert server.find(["tax"], SIBLING)["refused"] == {"tax": not_allowed("tax")}


def test_what_a_context_may_have_those_below_it_may_too(files: Files) -> None:
    files.write(shop="")
    server = ModuleServer()
    server.permit(CHILD, "shop")
    assert list(sent(server.find(["shop"], GRANDCHILD))) == ["shop"]
    server = ModuleServer()
    server.permit(GRANDCHILD, "shop")
    assert server.find(["shop"], CHILD)["refused"] == {"shop": not_allowed("shop")}


def test_allow_and_deny_modules_name_packages_or_parts_of_them(files: Files) -> None:  # U4
    files.write(shop__="", shop__a__="", shop__a__x="", shop__b="", shop__a__secret__="", shop__a__secret__y="")
    server = ModuleServer(allow_modules=["shop.a"], deny_modules=["shop.a.secret"])
    names = ["shop", "shop.a", "shop.a.x", "shop.b", "shop.a.secret", "shop.a.secret.y"]
    reply = server.find(names, SIBLING)
    assert list(sent(reply)) == ["shop", "shop.a", "shop.a.x"]
    denied = "deny_modules= of the Router names it"
    assert reply["refused"] == {
        "shop.b": not_allowed("shop"),
        "shop.a.secret": denied,
        "shop.a.secret.y": denied,
    }


def test_the_standard_library_is_never_sent() -> None:  # U4
    server = ModuleServer(allow_modules=["json", "os", "distutils", "_socket"])
    names = ["json", "os.path", "distutils.core", "_socket", "encodings.idna", "json.nowhere"]
    assert server.find(names, CHILD) == {
        "found": [],
        "held": [],
        "python": PYTHON,
        "missing": [],
        "refused": dict.fromkeys(names, STDLIB),
    }


def test_plasmid_itself_is_always_sent() -> None:
    reply = ModuleServer().find(["plasmid.builtin.source_finder"], CHILD)
    name, is_package, path, _, _ = reply["found"][0]
    assert (name, is_package, path) == ("plasmid.builtin.source_finder", False, "<plasmid>/builtin/source_finder.py")
    source = sent(reply)[name]
    assert source is not None
    assert "def find(name" in source
    assert not [name for name in sent(reply) if name.startswith(("plasmid.core", "plasmid.runtime"))]


def test_what_plasmid_imports_is_not_thereby_permitted() -> None:
    server = ModuleServer()
    server.find(["plasmid.codec"], CHILD)
    assert server.find(["msgpack"], CHILD)["refused"] == {"msgpack": not_allowed("msgpack")}


def code_in(reply: "dict[str, Any]") -> "dict[str, object]":
    """Return the code that a reply brings, run: {name: {what it defines}}."""
    found: dict[str, object] = {}
    for name, _, _, _, data in reply["found"]:
        names: dict[str, object] = {}
        if data:
            exec(marshal.loads(zlib.decompress(data[4:])), names)
            names.pop("__builtins__")
        found[name] = data and names
    return found


def test_compiled_code_goes_to_interpreters_with_the_same_magic_number_only(files: Files) -> None:  # U4
    files.write(shop="from_source = 7\nimport tax", tax="rate = 7")
    server = ModuleServer(allow_modules=["shop"])
    server.expect(CHILD, importlib.util.MAGIC_NUMBER.hex().encode(), ["plasmid.runtime.life"])
    server.expect(SIBLING, b"00000d0a", [])
    found = server.find(["shop"], SIBLING)["found"]
    assert [(name, code) for name, _, _, _, code in found] == [("shop", b""), ("tax", b"")]
    reply = server.find(["shop"], CHILD)
    assert {entry[4][:4] for entry in reply["found"]} == {importlib.util.MAGIC_NUMBER}
    assert code_in(server.find(["tax"], CHILD)) == {"tax": {"rate": 7}}
    assert server.sent_to(CHILD)[1] == sum(len(entry[3]) + len(entry[4]) for entry in reply["found"])
    server.expect(GRANDCHILD, b"\xffno digits", [])
    assert server.find(["plasmid.router"], GRANDCHILD)["found"][0][4] == b""
    server.forget(CHILD)
    assert server.find(["plasmid.router"], CHILD)["found"][0][4] == b"", "another one could get its number"


def test_what_is_asked_for_one_further_down_has_the_code_for_the_interpreter_there(files: Files) -> None:  # U4
    files.write(shop="price = 7")
    server = ModuleServer(allow_modules=["shop"])
    mine = importlib.util.MAGIC_NUMBER
    for magic, code in ((mine, mine), (b"\0\0\r\n", b""), (7, b""), ("", b"")):
        found = answer(server, {"names": ["shop"], "for": GRANDCHILD, "magic": magic, "again": True})["found"]
        assert found[0][4][:4] == code
    # Of a child of its own it knows the number, whatever that says.
    server.expect(CHILD, b"00000d0a", [])
    assert answer(server, {"names": ["shop"], "magic": mine})["found"][0][4] == b""


def test_sources_alone_go_to_those_who_asked_for_that_and_to_those_below_them(files: Files) -> None:  # U4
    files.write(shop="price = 7")
    server = ModuleServer(allow_modules=["shop"])
    mine = importlib.util.MAGIC_NUMBER
    for address in (CHILD, SIBLING):
        server.expect(address, mine.hex().encode(), [])
    server.send_sources_only(CHILD)
    for address, code in ((CHILD, b""), (GRANDCHILD, b""), (SIBLING, mine)):
        found = answer(server, {"names": ["shop"], "for": address, "magic": mine, "again": True}, address[:4])["found"]
        assert found[0][4][:4] == code
    server.forget(CHILD)
    server.expect(CHILD, mine.hex().encode(), [])
    server.permit(CHILD, "shop")
    assert answer(server, {"names": ["shop"]})["found"][0][4][:4] == mine


def levels(entry: "list[Any]") -> "list[int]":
    """Return how the source and the code of a sent module are packed: 0 for not compressed."""
    return [packed[2] & 6 for packed in (entry[3], entry[4][4:])]


def test_within_this_machine_nothing_is_compressed_and_elsewhere_everything(files: Files) -> None:  # U4
    files.write(shop="price = 7\n" * 20)
    server = ModuleServer(allow_modules=["shop"])
    mine = importlib.util.MAGIC_NUMBER.hex().encode()
    server.expect(CHILD, mine, [], True)
    server.expect(SIBLING, mine, [])
    near = server.find(["shop"], CHILD)
    assert levels(near["found"][0]) == [0, 0]
    assert server.sent_to(CHILD)[1] == sum(map(len, near["found"][0][3:]))
    assert 0 not in levels(server.find(["plasmid.builtin.beneath"], CHILD)["found"][0]), "it is kept, compressed"
    far = server.find(["shop"], SIBLING)
    assert 0 not in levels(far["found"][0])
    assert sent(far) == sent(near)
    assert code_in(far) == code_in(near)
    assert server.find(["shop"], CHILD)["found"] == far["found"], "what is compressed once stays so"
    server.forget(CHILD)
    server.expect(CHILD, mine, [])
    files.write(shop="price = 8\n" * 20)
    server.permit(CHILD, "shop")
    assert 0 not in levels(server.find(["shop"], CHILD)["found"][0]), "another one could get its number"


def test_what_is_not_compressed_is_in_the_form_of_zlib_whatever_its_size() -> None:
    for size in (0, 1, 65534, 65535, 65536, 131070, 131071, 200_000):
        data = bytes(number % 251 for number in range(size))
        assert zlib.decompress(stored(data)) == data
        assert len(stored(data)) == 2 + max(1, -(-size // 65535)) * 5 + size + 4


def test_a_relay_compresses_what_came_otherwise_before_it_leaves_the_machine(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:  # U4
    files.write(shop="price = 7\n" * 20, empty="")
    root = ModuleServer(allow_modules=["shop", "empty"])
    mine = importlib.util.MAGIC_NUMBER.hex().encode()
    root.expect(CHILD, mine, [], True)
    loose = root.find(["shop", "empty"], CHILD)
    relayed = importer.Importer({})
    relayed.take(loose)
    monkeypatch.setattr(importer, "current", relayed)
    relay = ModuleServer(allow_modules=["shop", "empty"])
    relay.expect(GRANDCHILD, mine, [], True)
    relay.expect(SIBLING, mine, [])
    assert relay.find(["shop", "empty"], GRANDCHILD)["found"] == loose["found"]
    far = relay.find(["shop", "empty"], SIBLING)
    assert 0 not in levels(far["found"][0])
    assert (sent(far), code_in(far)) == (sent(loose), code_in(loose))


def test_a_relay_hands_on_code_to_those_who_can_use_it(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:  # U4
    relayed = importer.Importer({})
    monkeypatch.setattr(importer, "current", relayed)
    foreign, mine = b"\0\0\r\n", importlib.util.MAGIC_NUMBER
    source = zlib.compress(b"price = 7")
    relayed.take(
        {"found": [["shop", False, "", source, foreign + b"code"]], "missing": [], "refused": {}, "python": PYTHON}
    )
    relay = ModuleServer(allow_modules=["shop"])
    relay.expect(CHILD, foreign.hex().encode(), [])
    relay.expect(SIBLING, mine.hex().encode(), [])
    relay.expect(GRANDCHILD, b"01000d0a", [])
    assert relay.find(["shop"], CHILD)["found"] == [["shop", False, "", source, foreign + b"code"]]
    assert relay.find(["shop"], GRANDCHILD)["found"] == [["shop", False, "", source, b""]]
    assert code_in(relay.find(["shop"], SIBLING)) == {"shop": {"price": 7}}


def test_a_source_that_changed_on_disk_is_sent_as_it_is_now(files: Files) -> None:
    files.write(shop="price = 7")
    server = ModuleServer(allow_modules=["shop"])
    assert sent(server.find(["shop"], CHILD)) == {"shop": "price = 7"}
    files.write(shop="price = 700")
    assert sent(server.find(["shop"], CHILD)) == {"shop": "price = 700"}


def test_a_module_that_is_nowhere_is_missing(files: Files) -> None:
    files.write(shop__="")
    server = ModuleServer(allow_modules=["shop", "nowhere"])
    names = ["shop.nowhere", "nowhere", "nowhere.at.all"]
    assert server.find(names, CHILD) == {
        "found": [],
        "held": [],
        "python": PYTHON,
        "missing": names,
        "refused": {},
    }


def hostile_names(outside: Path) -> "list[str]":
    """Return a thousand names that lead nowhere in a module system, but might in a file system."""
    odd = [
        "..",
        ".",
        "/",
        "\\",
        "\0",
        "\n",
        " ",
        "-",
        "\x1b[2J",
        "..%2f",
        "\u2024",
        "\uff0e",
        "\u202e",
        "%s",
        "{}",
        "*",
    ]
    names = ["", ".", "..", "...", "\0", "shop.", ".shop", "shop..till", "shop\0", "shop.till.py", "shop/till"]
    names += ["../outside", str(outside), str(outside)[:-3], f"shop.{outside.stem}", "shop.__pycache__.till", "etc"]
    names += ["x" * 1_000_000, "shop." + "x." * 100_000 + "x", "shop" + ".till" * 200, "Shop", "ſhop", "shop.\u212a"]
    for part in odd:
        names += [part + "shop", "shop" + part, "shop." + part, "shop." + part + "till", part * 50, part + "outside"]
        names += [f"shop{part}..{part}outside", f"{part}.{part}", f"shop.till{part}"]
    count = len(names)
    names += [f"shop.{part}{number}" for number in range((1000 - count) // len(odd) + 1) for part in odd]
    return names[:1000]


def test_a_thousand_hostile_names_get_nothing_and_import_nothing(files: Files) -> None:  # threat: modules
    files.write(shop__="ran = print('imported')", shop__till="print('imported')", shop__data="")
    outside = files.folder.parent / f"{files.folder.name}-outside.py"
    outside.write_text("secret = 1")
    (files.folder / "shop" / "notes.txt").write_text("secret = 1")
    names = hostile_names(outside)
    server = ModuleServer()
    server.permit(CHILD, "shop")
    warm = server.find(["shop"], CHILD)
    assert "shop" in sent(warm)

    before = dict(sys.modules)
    tripped: list[str] = []
    watching = [True]

    def trip_wire(event: str, args: "tuple[Any, ...]") -> None:
        # Also what Python opens: no file but a module of shop.
        if watching and (event == "import" or (event == "open" and str(outside) == str(args[0]))):
            tripped.append(f"{event} {args[0]}")

    sys.addaudithook(trip_wire)
    for start in range(0, len(names), NAMES_COUNT_MAX):
        reply = server.find(names[start : start + NAMES_COUNT_MAX], CHILD)
        assert set(sent(reply)) <= {"shop", "shop.till", "shop.data"}
        assert all("secret" not in (source or "") for source in sent(reply).values())
    watching.clear()
    assert len(names) == 1000
    assert (tripped, dict(sys.modules) == before) == ([], True)
    outside.unlink()


# -- as a service


class Asked:
    """A job as the server sees it, and its answer."""

    runtime = Runtime(b"", "root", {})

    def __init__(self, args: object, source: bytes = CHILD, method: "str | None" = "find") -> None:
        self._args = args
        self.source = source
        self.method = method
        self.answer: object = None
        self.cancelled = False

    def args(self, classes: object = None) -> object:
        return self._args

    def reply(self, value: object) -> None:
        self.answer = value

    def fail(self, error: BaseException) -> None:
        self.answer = f"{type(error).__name__}: {error}"


def answer(server: ModuleServer, *args: Any) -> Any:
    job: Any = Asked(*args)
    server.handle(job)
    return job.answer


def test_a_request_is_answered_for_the_caller_or_for_one_below_it(files: Files) -> None:
    files.write(shop="")
    server = ModuleServer()
    server.permit(GRANDCHILD, "shop")
    assert list(sent(answer(server, {"names": ["shop"], "for": GRANDCHILD}))) == ["shop"]
    assert answer(server, {"names": ["shop"]})["refused"] == {"shop": not_allowed("shop")}
    stranger = "Refused: plasmid.modules: for= must be the address of the caller, or of a context below it"
    for address in (SIBLING, b"", CHILD + b"\0", "/3", None):
        assert answer(server, {"names": ["shop"], "for": address}) == stranger


def test_a_request_that_is_none_is_refused() -> None:
    server = ModuleServer()
    no_list = "Refused: plasmid.modules: names= must be a list of str"
    bodies: tuple[Any, ...] = (
        None,
        1,
        [],
        {},
        {"names": "shop"},
        {"names": [b"shop"]},
        {"names": {"shop": 1}},
        {"names": [1]},
    )
    for args in bodies:
        assert answer(server, args) == no_list
    many = f"Refused: plasmid.modules: {NAMES_COUNT_MAX + 1} names at once; at most {NAMES_COUNT_MAX} are answered"
    assert answer(server, {"names": ["a"] * (NAMES_COUNT_MAX + 1)}) == many
    wrong = "Refused: plasmid.modules: it has no method 'get', only 'find', 'files', 'data', 'distributions'"
    assert answer(server, {"names": []}, CHILD, "get") == wrong
    assert answer(server, {"names": []}) == {
        "found": [],
        "held": [],
        "python": PYTHON,
        "missing": [],
        "refused": {},
    }


class Upper:
    """The parent of a relay, and a call to it."""

    def __init__(self, server: ModuleServer, source: bytes) -> None:
        self.server = server
        self.source = source
        self.asked: list[Any] = []
        self.outcome: Any = None

    def call_service_async(self, service: str, method: str, **kwargs: Any) -> "Upper":
        self.asked.append((service, method, kwargs))
        self.outcome = answer(self.server, kwargs, self.source, method)
        return self

    def exception(self, timeout: object = None) -> "BaseException | None":
        return self.outcome if isinstance(self.outcome, BaseException) else None

    def result(self, timeout: object = None) -> Any:
        return self.outcome

    def add_done_callback(self, callback: Any) -> None:
        callback(self)


def test_a_relay_asks_its_parent_for_what_it_may_not_decide(files: Files) -> None:  # U4
    files.write(shop="", tax="")
    root = ModuleServer()
    root.permit(GRANDCHILD, "tax")
    upper: Any = Upper(root, CHILD)
    relay = ModuleServer(parent=upper)
    relay.permit(GRANDCHILD, "shop")
    args = {"names": ["shop", "tax", "json", "plan"]}
    reply = answer(relay, args, GRANDCHILD)
    assert list(sent(reply)) == ["shop", "tax"]
    assert (reply["missing"], reply["refused"]) == (["org"], {"json": STDLIB, "plan": not_allowed("plan")})
    assert upper.asked == [
        ("plasmid.modules", "find", {"names": ["tax", "plan"], "for": GRANDCHILD, "magic": b"", "again": False})
    ]
    assert list(sent(answer(relay, {"names": ["tax"]}, GRANDCHILD))) == ["tax"]
    assert len(upper.asked) == 1, "what the parent has permitted and sent is answered by the relay"


class LateUpper:
    """The parent of a relay, whose answers are prepared and arrive when the test says so."""

    def __init__(self, answers: "list[Any]") -> None:
        self.answers = answers
        self.calls: list[Any] = []

    def call_service_async(self, service: str, method: str, **kwargs: Any) -> Any:
        outcome = self.answers[len(self.calls)]
        call: Any = types.SimpleNamespace(result=lambda timeout: outcome, exception=lambda timeout: None, asked=kwargs)
        call.add_done_callback = lambda callback: setattr(call, "arrive", lambda: callback(call))
        self.calls.append(call)
        return call


def test_what_several_ask_of_a_relay_at_once_crosses_the_link_above_once(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:  # U4
    files.write(shop="price = 7")
    root = ModuleServer(allow_modules=["shop"])
    below = [GRANDCHILD, CHILD + b"\0\0\0\2"]
    answers = [answer(root, {"names": ["shop"], "for": address}) for address in below]
    assert [(list(sent(reply)), reply["held"]) for reply in answers] == [(["shop"], []), ([], ["shop"])]
    (files.folder / "shop.py").unlink()
    monkeypatch.setattr(importer, "current", importer.Importer({}))
    late: Any = LateUpper(answers)
    relay = ModuleServer(parent=late)
    jobs: list[Any] = [Asked({"names": ["shop"]}, address) for address in below]
    for job in jobs:
        relay.handle(job)
    late.calls[1].arrive()
    assert jobs[1].answer is None, "what it is said to have is still on its way"
    late.calls[0].arrive()
    assert [sent(job.answer) for job in jobs] == [{"shop": "price = 7"}] * 2
    assert len(late.calls) == 2


def test_what_a_relay_was_sent_and_has_dropped_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:  # U4
    monkeypatch.setattr(importer, "current", importer.Importer({}))
    held = {"found": [], "held": ["shop"], "missing": [], "refused": {}, "python": PYTHON}
    found = [["shop", False, "", zlib.compress(b"price = 7"), b""]]
    late: Any = LateUpper([held, dict(held, held=[], found=found)])
    relay = ModuleServer(parent=late)
    job: Any = Asked({"names": ["shop"]}, GRANDCHILD)
    relay.handle(job)
    late.calls[0].arrive()
    late.calls[1].arrive()
    assert [call.asked["again"] for call in late.calls] == [False, True]
    assert sent(job.answer) == {"shop": "price = 7"}


def test_a_relay_hands_on_what_it_was_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:  # U4
    relayed = importer.Importer({"shop": (True, "<plasmid>/shop/__init__.py", "from . import till")})
    till = zlib.compress(b"open = 1")
    entry = ["shop.till", False, "/<sent>/near/shop/till.py", till, b""]
    main = ["__main__", "tool", "/<sent>/near/tool/__main__.py", zlib.compress(b"from . import parts"), b""]
    firm = ["firm", True, "", None, b""]
    relayed.take({"found": [entry, main, firm], "missing": [], "refused": {}, "python": PYTHON})
    monkeypatch.setattr(importer, "current", relayed)
    relay = ModuleServer(allow_modules=["shop", "__main__", "firm"])
    assert relay.find(["shop"], GRANDCHILD)["found"] == [
        ["shop", True, "<plasmid>/shop/__init__.py", zlib.compress(b"from . import till", SOURCE_LEVEL), b""],
        entry,
    ]
    assert relay.find(["__main__", "firm"], GRANDCHILD)["found"] == [main, firm]
    relayed.modules.clear()
    assert relay.find(["__main__"], SIBLING)["missing"][-1:] == ["org"], "packed once"
    assert ModuleServer(["__main__"]).find(["__main__"], SIBLING)["missing"] == ["__main__"], "its own is none"


def test_a_logging_that_another_thread_is_just_importing_is_not_used_yet(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(shop="open = 1")
    server = ModuleServer(allow_modules=["shop"])
    monkeypatch.setitem(sys.modules, "logging", types.ModuleType("logging"))
    assert sent(server.find(["shop"], CHILD)) == {"shop": "open = 1"}


def test_each_answer_is_in_the_audit_log(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.write(shop="")
    server = ModuleServer(allow_modules=["shop", "nowhere"])
    with caplog.at_level(logging.INFO, "plasmid.audit"):
        server.find(["shop", "nowhere", "json", "a\nforged"], CHILD)
    size = len(server.find(["shop"], CHILD)["found"][0][3])
    assert caplog.messages == [
        f"sent 'shop' to /3: {size} bytes of '/<sent>{files.folder}/shop.py'",
        "this machine has no module 'nowhere' for /3",
        f"refused 'json' to /3: {STDLIB}",
        "refused 'a\\nforged' to /3: it is no name of a module",
    ]


MAIN = """
import sys
from plasmid.builtin.modules import ModuleServer
import zlib

class Disk:
    pass

def work():
    return Disk()

server = ModuleServer()
server.permit(b"\\0\\0\\0\\1", "__main__")
if __name__ == "__main__":
    name, package, path, data, code = server.find(["__main__"], b"\\0\\0\\0\\1")["found"][0]
    print(package, path)
    print(zlib.decompress(data).decode())
"""


def test_the_programs_main_is_sent_cut_in_each_shape_it_can_have(tmp_path: Path) -> None:  # U3
    expected = MAIN[: MAIN.index("if __name__")].rstrip()
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "__init__.py").write_text("")
    (tmp_path / "tool" / "__main__.py").write_text(MAIN)
    (tmp_path / "script.py").write_text(MAIN)
    paths = {"PYTHONPATH": ":".join(folder for folder in sys.path if folder)}
    for arguments, package, path in (
        (["script.py"], "", f"/<sent>{tmp_path}/script.py"),
        (["-m", "tool"], "tool", f"/<sent>{tmp_path}/tool/__main__.py"),
        (["tool"], "", f"/<sent>{tmp_path}/tool/__main__.py"),
    ):
        run = subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=paths, capture_output=True, text=True)
        head, *lines = run.stdout.splitlines()
        assert (run.stderr, head) == ("", f"{package} {path}")
        assert "\n".join(lines).rstrip().removesuffix("pass").rstrip() == expected.rstrip()
    typed_in = "from plasmid.builtin.modules import ModuleServer\ns = ModuleServer(['__main__'])\n"
    typed_in += "import zlib\nprint([zlib.decompress(one[3]) for one in s.find(['__main__'], b'')['found']])"
    run = subprocess.run([sys.executable, "-"], input=typed_in, cwd=tmp_path, env=paths, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[b'']\n", ""), "its functions go by themselves"
