"""The loader in the bundle on every interpreter, with a small set of sources in place of Plasmid's own."""

import marshal
import subprocess
import sys
import tempfile

import pytest

from plasmid.boot.bundle import booted_code, bundle, pack_bundle, read_bundle
from plasmid.boot.first_stage import first_stage
from tests.real.interpreters import SUPPORTED, interpreter

pytestmark = pytest.mark.real

END_TIMEOUT_S = 20

# Enough of an importer to load the other sources, and a main that tells what it finds.
IMPORTER = b'''"""A stand-in."""
import sys
from _frozen_importlib import ModuleSpec

class Importer(object):
    def __init__(self, sources: "dict") -> None:
        self.sources = sources

    def find_spec(self, name: str, path: "object" = None, target: "object" = None) -> "object":
        if name in self.sources:
            return ModuleSpec(name, self, is_package=self.sources[name][0])

    def create_module(self, spec: "object") -> None:
        """The default."""

    def exec_module(self, module: "object") -> None:
        is_package, path, source = self.sources[module.__name__]
        exec(compile(source, path, "exec"), module.__dict__)

def install(sources: "dict") -> None:
    sys.meta_path.insert(0, Importer(sources))
'''
MAIN = b'''"""A stand-in."""
import sys

from plasmid.core.greeting import greet

def main(config: bytes, bundle: bytes, ahead: bytes) -> None:
    from plasmid.runtime import importer
    import plasmid.runtime.importer as again
    assert importer is again is sys.modules["plasmid.runtime.importer"]
    names = vars(sys.modules["__main__"])
    print([name for name in ("c", "b", "s", "sources", "text") if name in names])
    print(sorted(name for name in sys.modules if name.startswith("plasmid")))
    print(importer.__file__, importer.__package__, config, len(bundle), ahead)
    greet()
'''
GREETING = b'''"""Greets: \xc3\xa4 stands here so that sizes in bytes and in characters differ."""

TEXT = "\xc3\xa4"

def greet() -> "None":
    """Fail on line 9."""
    # Here.

    raise ValueError(len(TEXT))
'''
WATCHDOG = b'''"""A stand-in."""
import sys

def start(link_fd: int, care: int) -> None:
    print("watching", link_fd, care, "plasmid.runtime.main" in sys.modules)
'''
SOURCES = [
    ("plasmid", True, b'"""Empty."""\n'),
    ("plasmid.core", True, b""),
    ("plasmid.core.greeting", False, GREETING),
    ("plasmid.runtime", True, b""),
    ("plasmid.runtime.importer", False, IMPORTER),
    ("plasmid.runtime.main", False, MAIN),
    ("plasmid.runtime.watchdog", False, WATCHDOG),
]


# U2
@pytest.mark.parametrize("version", SUPPORTED)
def test_the_loader_installs_the_importer_starts_the_watchdog_and_runs_main_with_line_numbers_kept(
    version: str,
) -> None:
    packed = pack_bundle(SOURCES)
    result = subprocess.run(
        [interpreter(version), "-S", "-c", first_stage("00"), "plasmid:test"],
        input=(7).to_bytes(4, "big") + len(packed).to_bytes(4, "big") + b"\x40config" + packed,
        capture_output=True,
        timeout=END_TIMEOUT_S,
    )
    names = "'plasmid', 'plasmid.core', 'plasmid.core.greeting', 'plasmid.runtime', 'plasmid.runtime.importer'"
    assert result.stdout.decode().splitlines()[1:] == [
        "watching 0 64 False",
        "[]",
        f"[{names}, 'plasmid.runtime.main', 'plasmid.runtime.watchdog']",
        f"<plasmid>/runtime/importer.py plasmid.runtime b'@config' {len(packed)} b''",
    ]
    errors = result.stderr.decode().splitlines()
    assert '  File "<plasmid>/runtime/main.py", line 14, in main' in errors
    assert '  File "<plasmid>/core/greeting.py", line 9, in greet' in errors
    assert errors[-1] == "ValueError: 1"


@pytest.mark.parametrize("is_there", [True, False])
def test_shared_code_is_run_in_place_of_the_sources_if_it_is_there(is_there: bool) -> None:
    code = compile("def greet():\n print('compiled elsewhere')", "<plasmid>/core/greeting.py", "exec")
    importer = IMPORTER.replace(b"is_package, path, source = ", b"is_package, path, source, *code = ").replace(
        b'compile(source, path, "exec")', b'code[0] if code else compile(source, path, "exec")'
    )
    packed = pack_bundle([(*entry[:2], importer if entry[0].endswith("importer") else entry[2]) for entry in SOURCES])
    token = b"a token, 16 long" if is_there else bytes(16)
    with tempfile.TemporaryFile() as file:
        file.write(b"a token, 16 long" + marshal.dumps((marshal.dumps({"plasmid.core.greeting": code}), b"ahead")))
        file.seek(7)  # the place in the file is shared by all who have it
        config = b"\x47" + file.fileno().to_bytes(4, "big") + token + b"config"
        result = subprocess.run(
            [sys.executable, "-S", "-c", first_stage("00"), "plasmid:test"],
            input=len(config).to_bytes(4, "big") + len(packed).to_bytes(4, "big") + config + packed,
            capture_output=True,
            timeout=END_TIMEOUT_S,
            pass_fds=[file.fileno()],
        )
    lines = result.stdout.decode().splitlines()
    assert lines[1] == "watching 0 71 False"
    ahead = b"ahead" if is_there else b""
    assert lines[4] == f"<plasmid>/runtime/importer.py plasmid.runtime {config!r} {len(packed)} {ahead!r}"
    assert (lines[5:], result.returncode) == ((["compiled elsewhere"], 0) if is_there else ([], 1))


def test_the_code_that_is_shared_is_that_of_the_bundle_s_sources() -> None:
    found = marshal.loads(booted_code())
    assert list(found) == [name for name, _, _ in read_bundle(bundle())]
    for name, is_package, source in read_bundle(bundle()):
        path = f"<plasmid>{name[7:].replace('.', '/')}{'/__init__' if is_package else ''}.py"
        assert found[name] == compile(source, path, "exec", dont_inherit=True)
        assert found[name].co_filename == path
