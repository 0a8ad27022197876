"""Supply a new context with what its options ask for: its modules' policy, and an environment with what it requires."""

import hashlib
import os
import re
import sys
from time import monotonic

from plasmid.connect.supply import SCRIPT, check_requirement
from plasmid.core.connect_error import ConnectError
from plasmid.core.errors import CallError, RemoteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional

    from plasmid.builtin.modules import ModuleServer
    from plasmid.connect.connector import Connector
    from plasmid.connect.supply import Supply
    from plasmid.runtime.context import Context

    Progress = Callable[[str, Optional[float]], None]

STEP_LOOK = "look for the environment"
STEP_SEND = "send the wheels"
STEP_MAKE = "make the environment"
PIECE_SIZE = 1 << 20
_FAR = "plasmid.builtin.environments"
# PEP 723's own expression.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


def supply(modules: "ModuleServer", connector: "Connector", context: "Context", progress: "Optional[Progress]") -> None:
    """Supply a context that was just started. Raises ConnectError; the context is ended then."""
    options = connector.supply
    if options is None:
        return
    try:
        modules.policy.set_options(context.address, options.allow_modules, options.deny_modules, options.allow_data)
        if not options.compiled:
            modules.send_sources_only(context.address)
        if options.prefer == "near":
            _call(context, "prefer_near")
        if options.requires:
            _Supplier(connector.target, context, progress).make(options)
    except BaseException:
        context.shutdown(wait=False)
        raise


def _call(context: "Context", function: str, *arguments: "Any") -> "Any":
    call = context.send_call("f", _FAR, function, [list(arguments), {}])
    assert call is not None
    return call.result()


class _Supplier:
    """Makes one context's environment, and tells of its steps."""

    def __init__(self, target: str, context: "Context", progress: "Optional[Progress]") -> None:
        self._target = target
        self._context = context
        self._progress = progress

    def make(self, options: "Supply") -> None:
        step = STEP_LOOK
        try:
            requires = script_requirements() if options.requires == SCRIPT else list(options.requires)
            wheels = [_Wheel(path) for path in options.wheels]
            found = self._step(step, "look_for", requires, sorted(wheel.digest for wheel in wheels))
            if found["is_ready"]:
                return
            step = STEP_SEND
            for wheel in wheels:
                self._step(step, wheel.send, self._context, found["folder"])
            step = STEP_MAKE
            self._step(step, "make", found["folder"], requires)
        except (OSError, ValueError, CallError, RemoteError) as error:
            raise self._failure(step, error) from error

    def _step(self, step: str, act: "Any", *arguments: "Any") -> "Any":
        begun = monotonic()
        if self._progress is not None:
            self._progress(step, None)
        result = _call(self._context, act, *arguments) if isinstance(act, str) else act(*arguments)
        if self._progress is not None:
            self._progress(step, monotonic() - begun)
        return result

    def _failure(self, step: str, error: Exception) -> ConnectError:
        # What a far side raised arrives with its line breaks escaped.
        found, _, output = str(getattr(error, "text", error)).replace("\\n", "\n").partition("\n")
        advice = "requires= needs uv, or pip and venv, on that machine, and an index they can reach; "
        advice += "or give wheels= for all that is to be installed: those of pure Python need none of these."
        return ConnectError(self._target, step, found, output, advice)


class _Wheel:
    """A wheel on this machine."""

    def __init__(self, path: str) -> None:
        self._path = path
        with open(path, "rb") as file:
            self.digest = "%s %s" % (os.path.basename(path), hashlib.sha256(file.read()).hexdigest())

    def send(self, context: "Context", folder: str) -> None:
        offset = 0
        with open(self._path, "rb") as file:
            while True:
                piece = file.read(PIECE_SIZE)
                if not piece and offset:
                    return
                _call(context, "put_wheel", folder, os.path.basename(self._path), offset, piece)
                offset += len(piece)


def script_requirements() -> "List[str]":
    """Return the dependencies that the program's PEP 723 block names. Raises ValueError."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    if not path:
        raise ValueError('requires="script": this program has no file with a block of dependencies in it')
    with open(path, encoding="utf-8") as file:
        blocks = [match for match in _BLOCK.finditer(file.read()) if match.group("type") == "script"]
    if len(blocks) != 1:
        raise ValueError('requires="script": %s has %d blocks `# /// script`, not one' % (path, len(blocks)))
    lines = blocks[0].group("content").splitlines()
    text = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    try:
        found = _toml(text).get("dependencies", [])
    except ValueError as error:
        raise ValueError('requires="script": the block in %s is no TOML: %s' % (path, error)) from error
    if not isinstance(found, list):
        raise ValueError('requires="script": dependencies in %s must be a list; it is %r' % (path, found))
    return [check_requirement(one) for one in found]


def _toml(text: str) -> "Any":
    try:
        import tomllib as toml  # type: ignore[import-not-found, unused-ignore]
    except ImportError:  # Python 3.10
        import tomli as toml  # type: ignore[import-not-found, no-redef, unused-ignore]
    return toml.loads(text)
