"""What the tests of modules run on far sides."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def log_audit() -> None:
    """Have the audit log of this context sent to the root."""
    import logging

    logging.getLogger("plasmid.audit").setLevel(logging.INFO)


def import_all(name: str) -> int:
    """Import a package; return how many modules of it are there."""
    __import__(name)
    return len([module for module in sys.modules if (module + ".").startswith(name + ".")])


def questions() -> int:
    """Return how often this context has asked its parent for modules, counted from the first time this is called."""
    from plasmid.runtime.context import Context

    plain: Any = Context.send_call
    if not hasattr(plain, "count"):

        def send_call(self: Context, what: str, name: str, *args: object, **kwargs: object) -> object:
            send_call.count += name == "plasmid.modules"  # type: ignore[attr-defined]
            return plain(self, what, name, *args, **kwargs)

        send_call.count = 0  # type: ignore[attr-defined]
        Context.send_call = send_call  # type: ignore[method-assign,assignment]
        return 0
    return plain.count  # type: ignore[no-any-return]


def open_files() -> "list[str]":
    """Return what the descriptors of this process lead to."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink("/proc/self/fd/" + fd))
        except OSError:
            pass  # that of the listing
    return found


def is_held(name: str) -> bool:
    """Return whether the parent has sent this module, be it imported or not."""
    from plasmid.runtime import importer

    own = importer.current
    assert own is not None
    return name in own.modules


def came_compiled(name: str) -> bool:
    """Return whether a module came with its code."""
    from plasmid.runtime import importer

    assert importer.current is not None
    return bool(importer.current.modules[name].code)


def first_line_of(module: str, function: str) -> str:
    """Return the line on which a function begins, as tracebacks find it."""
    import linecache

    found = sys.modules[module]
    code = getattr(found, function).__code__
    return linecache.getline(code.co_filename, code.co_firstlineno, vars(found)).strip()


def handed_on() -> "list[int]":
    """Return checksums of the bundle and of the code that children of this context are booted with."""
    import zlib

    from plasmid.boot.bundle import booted_code, bundle

    return [zlib.crc32(bundle()), zlib.crc32(booted_code())]


def raise_here() -> None:
    """Raise an error."""
    raise LookupError  # here


def look_at_itself() -> "list[str]":
    """Return what inspect, traceback and pdb show of raise_here()."""
    import inspect
    import io
    import pdb  # noqa: T100 - to see what it shows
    import traceback

    try:
        raise_here()
    except LookupError as error:
        shown = traceback.format_exc()
        trace = error.__traceback__
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("down\nlist\nquit\n"), stdout=out)
    debugger.use_rawinput = False
    debugger.reset()
    debugger.interaction(None, trace)
    return [inspect.getsource(raise_here), shown, out.getvalue()]


def give_module(context: "Any", name: str) -> str:
    """Try to give another context a module; return what comes of it."""
    from plasmid.core.errors import PlasmidError

    piece = {"question": 1, "found": [[name, False, "", b"", b""]], "missing": [], "refused": {}, "coming": []}
    try:
        context.call_service("plasmid.pieces", "take", **piece, python="3.11.0")
    except PlasmidError as error:
        return "%s: %s" % (type(error).__name__, error)
    return "taken"
