"""Ctrl-C is raised in a program's own code and where it waits, and put off within core and runtime."""

import signal
import sys
from types import CodeType, FrameType

import pytest

import plasmid
from plasmid import interrupts


def frame_in(module: str, function: str, owner: "type | None" = None) -> FrameType:
    """Return a frame of a function of that name in a module of that name, called by this test."""
    names: dict[str, object] = {"__name__": module, "sys": sys}
    exec(f"def {function}(self): return sys._getframe()", names)
    made = names[function]
    assert callable(made)
    found = made(None if owner is None else owner())
    assert isinstance(found, FrameType)
    return found


class Parking:
    """Called as the class of ports.py is."""


@pytest.mark.parametrize(
    ("module", "function", "owner", "allowed"),
    [
        ("program", "work", None, True),
        ("plasmid.router", "close", None, True),
        ("plasmid.core.node", "feed", None, False),
        ("plasmid.runtime.loop", "settle", None, False),
        ("plasmid.runtime.ports", "wait", None, False),
        ("plasmid.runtime.ports", "wait", Parking, True),
    ],
)
def test_only_what_waits_in_core_and_runtime_is_interrupted(
    module: str, function: str, owner: "type | None", allowed: bool
) -> None:
    assert interrupts.may_interrupt(frame_in(module, function, owner)) is allowed


def test_the_functions_in_which_it_is_allowed_are_those_that_wait() -> None:
    from plasmid.runtime import loop, ports

    found = {name: getattr(loop, name, None) or getattr(ports, name, None) for name, _ in interrupts.WAITS}
    codes = [getattr(getattr(found[name], function, None), "__code__", None) for name, function in interrupts.WAITS]
    # That of the borrower, or that of the leader: one of them is how a thread waits for a link.
    assert len([code for code in codes if isinstance(code, CodeType)]) >= 2


def test_the_last_router_puts_the_handler_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with plasmid.Router():
            with plasmid.Router():
                assert signal.getsignal(signal.SIGINT) is interrupts.handle
            assert signal.getsignal(signal.SIGINT) is interrupts.handle
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_python_lets_go_of_is_told_to_the_programs_own_hook() -> None:
    told: list[object] = []

    class Failing:
        def __del__(self) -> None:
            raise ValueError(len(told))

    def tell(unraisable: "sys.UnraisableHookArgs") -> None:
        told.append(str(unraisable.exc_value))

    def pass_on(unraisable: "sys.UnraisableHookArgs") -> None:
        told.append("passed on")
        inner(unraisable)

    handled_before = signal.signal(signal.SIGINT, signal.default_int_handler)
    before, sys.unraisablehook = sys.unraisablehook, tell
    try:
        with plasmid.Router():
            Failing()
            inner, sys.unraisablehook = sys.unraisablehook, pass_on
            Failing()
        with plasmid.Router():  # the hook that was put around ours, and stays, isn't put into itself
            Failing()
        sys.unraisablehook = inner
        with plasmid.Router():
            Failing()
        assert sys.unraisablehook is tell
    finally:
        sys.unraisablehook = before
        signal.signal(signal.SIGINT, handled_before)
    assert told == ["0", "passed on", "1", "passed on", "3", "5"]


def test_a_handler_of_the_programs_own_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with plasmid.Router():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
