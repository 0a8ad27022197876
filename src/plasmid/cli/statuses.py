"""The exit statuses of the `plasmid` command, and which error means which."""

from plasmid.core.connect_error import ConnectError
from plasmid.core.errors import (
    Cancelled,
    ContextLost,
    DeadlineExceeded,
    NotSent,
    Overloaded,
    PlasmidError,
    ProtocolError,
)
from plasmid.runtime.ports import TimedOut

OK = 0
FAILED = 1  # the function raised an error, or couldn't be started there
USAGE = 2
NOT_CONNECTED = 3
LOST = 4  # the context was lost, or the time ran out
INTERRUPTED = 130  # by Ctrl-C, as shells have it

LINES = """
  0    all is well
  1    a function failed, or couldn't be started there
  2    the command line is wrong, or the function isn't to be found here
  3    a target couldn't be reached, or Python not be started there
  4    a context was lost, or --timeout is over
  130  interrupted

With several targets it is the highest that any of them has.
"""

_LOSSES = (ContextLost, DeadlineExceeded, Cancelled, NotSent, Overloaded, ProtocolError, TimedOut)


def status_of(error: "BaseException | None") -> int:
    """Return the exit status that stands for how one target ended. None is no error."""
    if error is None:
        return OK
    if isinstance(error, ConnectError):
        return NOT_CONNECTED
    # Not any TimeoutError: a function may raise one for reasons of its own.
    return LOST if isinstance(error, PlasmidError) and isinstance(error, _LOSSES) else FAILED
