"""Environments that are made on a far side on request: with uv and with pip, offline, from wheels that are sent."""

import base64
import hashlib
import logging
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.real import far_environments, interpreters, leftovers
from tests.real.conftest import LOCAL, connect

pytestmark = pytest.mark.real


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of environments of contexts on this machine; nothing is there yet. uv is on PATH."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder / "plasmid" / "environments"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Give a wheel of `plasmid-thing`, made here."""
    info = "plasmid_thing-1.0.dist-info"
    files = {
        "plasmid_thing.py": "price = 7\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: plasmid-thing\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD,,\n"
    path = tmp_path / "plasmid_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
            file.writestr(name, text)
        file.writestr(f"{info}/RECORD", record)
    return path


def options(wheel: Path) -> "dict[str, Any]":
    return {"requires": ["plasmid-thing>=1"], "wheels": [wheel]}


# U4
def test_what_is_required_is_installed_once_and_kept(
    router: plasmid.Router,
    cache: Path,
    wheel: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("plasmid.builtin.supplying.PIECE_SIZE", 100)
    caplog.set_level(logging.INFO, "plasmid")
    price, path = router.local(name="first", **options(wheel)).call(far_environments.thing)
    assert price == 7
    made = Path(path).relative_to(cache).parts[0]
    assert sorted(entry.name for entry in cache.iterdir()) == [made, f"{made}.lock"], "no wheel is left"

    def told() -> "list[str]":
        return [record.getMessage() for record in caplog.records if record.name.startswith("plasmid.ctx")]

    leftovers.wait_until(lambda: any("plasmid-thing" in line for line in told()))  # the answer may overtake a record
    caplog.clear()
    again = router.local(name="second", **options(wheel))
    assert again.call(far_environments.thing) == [7, path]
    assert told() == []
    other = router.local(**options(wheel), python_path=interpreters.interpreter("3.9"))
    assert Path(other.call(far_environments.thing)[1]).relative_to(cache).parts[0] != made


# U4
def test_where_there_is_no_uv_venv_and_pip_make_it(
    router: plasmid.Router, cache: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    context = router.local(**options(wheel), python_path=interpreters.interpreter("3.11"))
    path = Path(context.call(far_environments.thing)[1])
    assert '"made_by": "pip"' in (cache / path.relative_to(cache).parts[0] / "ready").read_text()


@pytest.fixture
def without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "list[str]":
    """Give the words that start a Python whose machine has neither uv nor pip nor ensurepip."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    python = interpreters.interpreter("3.11")
    library = Path(python).parent.parent / "lib" / "python3.11"
    home = tmp_path / "home" / "lib" / "python3.11"
    home.mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name not in ("ensurepip", "site-packages"):
            (home / entry.name).symlink_to(entry)
    return ["env", f"PYTHONHOME={tmp_path / 'home'}", python]


# U4
def test_where_nothing_can_install_wheels_of_pure_python_are_unpacked(
    router: plasmid.Router, cache: Path, wheel: Path, without_pip: "list[str]"
) -> None:
    with zipfile.ZipFile(wheel, "a") as file:
        file.writestr("plasmid_thing-1.0.data/purelib/inner/thing.py", "")
    context = router.local(**options(wheel), python_path=without_pip)
    price, path = context.call(far_environments.thing)
    made = cache / Path(path).relative_to(cache).parts[0]
    assert (price, '"made_by": "zipfile"' in (made / "ready").read_text()) == (7, True)
    assert (Path(path).parent / "inner" / "thing.py").read_text() == ""


def test_where_nothing_can_install_what_is_not_pure_or_not_sent_is_an_error(
    router: plasmid.Router, cache: Path, wheel: Path, without_pip: "list[str]"
) -> None:
    compiled = wheel.with_name("plasmid_thing-1.0-cp311-cp311-linux_x86_64.whl")
    compiled.write_bytes(wheel.read_bytes())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"requires": ["plasmid-thing"]}, "this machine has neither uv nor pip nor ensurepip to make it with"),
        (
            {"requires": ["other>=1"], "wheels": [wheel]},
            f"there is no wheel of other among those that were sent: {wheel.name}",
        ),
        (
            {"requires": ["plasmid-thing"], "wheels": [compiled]},
            f"without pip only wheels of pure Python can be unpacked, and {compiled.name} is for one platform",
        ),
    ]
    for given, found in cases:
        with pytest.raises(plasmid.ConnectError) as caught:
            router.local(**given, python_path=without_pip)
        assert caught.value.found.endswith(found)
    assert [entry for entry in cache.iterdir() if entry.suffix != ".lock"] == []


# U4
def test_of_two_contexts_that_want_one_environment_at_once_one_makes_it(
    router: plasmid.Router, cache: Path, wheel: Path
) -> None:
    found: list[Any] = []

    def start() -> None:
        found.append(router.local(**options(wheel)).call(far_environments.thing))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert found == [found[0]] * 3
    assert len(list(cache.iterdir())) == 2


def test_what_an_unfinished_environment_left_is_made_anew(router: plasmid.Router, cache: Path, wheel: Path) -> None:
    path = Path(router.local(**options(wheel)).call(far_environments.thing)[1])
    folder = cache / path.relative_to(cache).parts[0]
    (folder / "ready").unlink()
    path.write_text("price = 8\n")
    assert router.local(**options(wheel)).call(far_environments.thing)[0] == 7


def test_what_cannot_be_installed_is_an_error_with_what_was_printed(
    router: plasmid.Router, cache: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        router.local(requires=["plasmid-no-such-thing"], wheels=[wheel])
    error = caught.value
    assert [error.target, error.step] == ["local", "make the environment"]
    assert "plasmid-no-such-thing" in error.output
    assert error.advice.startswith("requires= needs uv, or pip and venv, on that machine")
    assert list(router.children.values()) == [] or all(child.leaving for child in router.children.values())
    assert [entry for entry in cache.iterdir() if entry.suffix != ".lock"] == []


def test_a_cache_that_others_may_write_to_is_not_used(router: plasmid.Router, cache: Path, wheel: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    with pytest.raises(plasmid.ConnectError) as caught:
        router.local(**options(wheel))
    assert caught.value.found.endswith(f"{cache} must belong to this user, and nobody else may write to it")
    cache.parent.chmod(0o700)


PROGRAM = """
# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "plasmid-thing",
# ]
# ///
import sys
import plasmid

def work():
    import plasmid_thing
    return plasmid_thing.price

if __name__ == "__main__":
    with plasmid.Router() as router:
        print(router.local(requires="script", wheels=sys.argv[1:]).call(work))
"""


# U4
def test_a_script_says_in_its_block_what_it_requires(cache: Path, wheel: Path, tmp_path: Path) -> None:
    for text, output in (
        (PROGRAM, "7\n"),
        (PROGRAM.replace("# ///\n", "#\n"), 'requires="script": {} has 0 blocks `# /// script`, not one'),
        (PROGRAM.replace('"plasmid-thing",', "7,"), "requires: 7 is no requirement, such as numpy>=2"),
    ):
        (tmp_path / "program.py").write_text(text)
        run = subprocess.run([sys.executable, "program.py", wheel], cwd=tmp_path, capture_output=True, text=True)
        assert output.format(tmp_path / "program.py") in run.stdout + run.stderr
        assert (run.returncode == 0) == (output == "7\n")


def test_a_module_on_both_sides_is_the_far_sides_unless_near_is_preferred(  # U4
    router: plasmid.Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "plasmid_thing.py").write_text("price = 'far'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "far"))
    (tmp_path / "plasmid_thing.py").write_text("price = 'near'")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert router.local().call(far_environments.thing) == ["far", str(tmp_path / "far" / "plasmid_thing.py")]
    near = connect(request, router, LOCAL, "near", prefer="near")
    assert near.call(far_environments.thing) == ["near", f"/<sent>{tmp_path}/plasmid_thing.py"]
    denied = connect(request, router, LOCAL, "denied", prefer="near", deny_modules=["plasmid_thing"])
    assert denied.call(far_environments.thing)[0] == "far"
