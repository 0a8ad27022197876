"""Ctrl-C, which Python raises in the main thread between any two instructions: never amid the protocol.

A frame that was taken from the node and not written, or a lock that was taken and not given back, would be lost by it.
So the first Router of a process, made by its main thread where Ctrl-C is handled as Python does by default, puts this
handler in place. It raises KeyboardInterrupt as usual in a program's own code, and where a thread waits for something
to come; within core and runtime it lets them finish, which is a matter of microseconds, and tries again. So it does
where Python would only tell that it let go of it: in a destructor, or in what is called when a weak reference ends.

Near side only: far sides have no terminal, and get no Ctrl-C.
"""

import _thread
import signal
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# Where a thread waits and changes nothing: the class and the name of the function.
WAITS = {("Parking", "wait"), ("Loop", "poll")}
AGAIN_S = 0.002
# If what is within core and runtime doesn't finish, something is wrong; then the user is heard all the same.
DEFERRED_MAX = 2000

_deferred = 0
_users = 0
# While hear_of_unraisable() is in place, or the program's own hook passes on to it.
_unraisable_before = None  # type: Callable[[sys.UnraisableHookArgs], object] | None


def use() -> bool:
    """Put the handler in place, if it isn't; False, and nothing is done, where that isn't for us to do."""
    global _users, _unraisable_before
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, handle):
        return False  # the program has a handler of its own, or asyncio has
    signal.signal(signal.SIGINT, handle)
    if _unraisable_before is None:
        _unraisable_before, sys.unraisablehook = sys.unraisablehook, hear_of_unraisable
    _users += 1
    return True


def leave() -> None:
    """Undo one use() that was True. The last one has Ctrl-C handled as before."""
    global _users, _unraisable_before
    _users -= 1
    is_ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is handle
    if not _users and is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not _users and sys.unraisablehook is hear_of_unraisable:
        assert _unraisable_before is not None
        sys.unraisablehook, _unraisable_before = _unraisable_before, None


def handle(number: int, frame: "FrameType | None") -> None:
    """Raise KeyboardInterrupt, or see to it that this is called again shortly. The handler of SIGINT."""
    global _deferred
    if may_interrupt(frame) or _deferred >= DEFERRED_MAX:
        _deferred = 0
        raise KeyboardInterrupt
    _deferred += 1
    _try_again()


def may_interrupt(frame: "FrameType | None") -> bool:
    """Whether nothing of the protocol is under way in this frame and those that called it."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(("plasmid.core.", "plasmid.runtime.")):
            place = type(frame.f_locals.get("self")).__name__, frame.f_code.co_name
            return place in WAITS
        frame = frame.f_back
    return True


def hear_of_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Have a Ctrl-C come again that Python let go of; all else is for the hook that was there before."""
    if _users and unraisable.exc_type is KeyboardInterrupt:
        _try_again()
    elif _unraisable_before is not None:
        _unraisable_before(unraisable)


def _try_again() -> None:
    # Not threading.Thread: what was interrupted may hold its lock.
    _thread.start_new_thread(_send_again, ())


def _send_again() -> None:
    time.sleep(AGAIN_S)
    # By a signal, unlike interrupt_main(): the main thread may wait for something else by now, and is to be woken.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
