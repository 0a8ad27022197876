"""An exception as the body of an ERROR frame, and the exception that the caller gets for it. No I/O here.

The body is the payload [code, text, started, type_name, args, traceback]. code is "Remote" for what the method
itself raised, else the code of a CallError. type_name is `module:qualname`. The whole stays within 64 KiB.
Names and texts are data: only built-in classes, Plasmid's own and declared ones are ever made of them.

A CallError is described without `extensions`, so that the loop's thread can do it: see `values`.
"""

from plasmid.core import values
from plasmid.core.errors import CALL_ERRORS, CallError, ProtocolError, RemoteError, UnsendableValue, ValueDecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

    from plasmid.core.values import Classes, Handles

ERROR_SIZE_MAX = 65536  # of the whole body
TEXT_SIZE_MAX = 8192
NAME_SIZE_MAX = 1024
ARGS_SIZE_MAX = 16384
TRACEBACK_SIZE_MAX = 32768  # the end of it: the innermost calls say most


def describe_error(error: BaseException, traceback_text: str = "") -> "List[Any]":
    """Return the payload of an ERROR body.

    A CallError without a traceback is Plasmid's own word on this call. One with a traceback was raised in the
    method, about a call that the method made; for our caller it's an error like any other, lest it takes the
    loss of another context for the loss of ours.
    """
    kind = type(error)
    if isinstance(error, CallError) and not traceback_text and error.code in CALL_ERRORS:
        return [error.code, _fit(error.found, TEXT_SIZE_MAX), error.started, "", [], ""]
    from plasmid.core.extensions import arguments_of, text_of

    room = ARGS_SIZE_MAX

    def travels(argument: "Any") -> bool:
        nonlocal room
        try:
            size = sum(map(len, values.encode(argument)))
        except UnsendableValue:
            return False
        if size <= room:
            room -= size
            return True
        return False

    name = _fit("%s:%s" % (kind.__module__, kind.__qualname__), NAME_SIZE_MAX)
    tail = traceback_text.encode("utf-8", "backslashreplace")[-TRACEBACK_SIZE_MAX:].decode("utf-8", "ignore")
    return ["Remote", text_of(error), None, name, arguments_of(error, travels), tail]


def read_error(body: "values.Payload", what: str, where: str, classes: "Classes", handles: "Handles") -> BaseException:
    """Return the exception to raise for the body of an ERROR. It is as hostile as rebuild_error()'s payload."""
    payload = None  # what isn't one, or is too large for one, is a ProtocolError
    try:
        if len(body) <= ERROR_SIZE_MAX:
            payload = values.decode(body, classes, handles)
    except ValueDecodeError as error:
        return ValueDecodeError("what %s on %s answered can't be taken: %s" % (what, where, error))
    return rebuild_error(payload, what, where, classes)


def rebuild_error(payload: "Any", what: str, where: str, classes: "Classes" = None) -> BaseException:
    """Return the exception to raise for the ERROR body that answered `what` on `where`. The payload is hostile.

    A built-in or declared exception comes as its own type with a RemoteError as its cause, any other as RemoteError;
    what isn't an ERROR body at all as ProtocolError. Texts are escaped, those among its arguments too: whoever prints
    or logs the error gets neither a forged line nor what drives a terminal.
    """
    shape = [str, str, type(None), str, list, str]
    found = [type(part) for part in payload] if type(payload) is list else []
    if found[2:3] == [bool]:
        found[2] = type(None)
    code = payload[0] if found == shape else None
    if code in CALL_ERRORS:
        return CALL_ERRORS[code](what, where, shown(payload[1][:TEXT_SIZE_MAX]), payload[2])
    if code != "Remote":
        return ProtocolError(what, where, "it was answered by an error that isn't one of the protocol's")
    from plasmid.core.extensions import make_exception, plain_name

    _, text, _, name, args, tail = payload
    tail = shown(tail[-TRACEBACK_SIZE_MAX:], "\n\t")
    args = [shown(argument) if type(argument) is str else argument for argument in args]
    remote = RemoteError(shown(plain_name(name[:NAME_SIZE_MAX])), shown(text[:TEXT_SIZE_MAX]), tail, where, tuple(args))
    error = make_exception(name, args, classes)
    if error is None or isinstance(error, CallError):
        return remote  # a CallError here would speak of this call, and of a context of the far side's choice
    error.__cause__ = remote
    return error


def _fit(text: str, size_max: int) -> str:
    """Return the text made sendable, and cut to so many bytes."""
    return text.encode("utf-8", "backslashreplace")[:size_max].decode("utf-8", "ignore")


def shown(text: str, kept: str = "") -> str:
    """Return text that is safe to print: what Unicode calls unprintable is escaped, but for the `kept` letters."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in kept else ascii(letter)[1:-1] for letter in text)
