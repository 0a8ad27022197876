"""How a coroutine of asyncio waits for a call. Sent to those far sides where one does."""

from plasmid.runtime import ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generator

    from plasmid.runtime.context import Call


def wait_in_event_loop(call: "Call") -> "Generator[Any, None, None]":
    """Wait for the end of the call. A task that is cancelled meanwhile cancels it."""
    import asyncio

    loop = asyncio.get_event_loop()
    future = loop.create_future()

    def settle() -> None:
        if not future.done():
            future.set_result(None)

    def ended() -> None:
        try:
            loop.call_soon_threadsafe(settle)
        except RuntimeError:
            pass  # the event loop was closed; nobody awaits any more

    call.when_ended(ended)
    if ports.about_to_wait is not None:
        ports.about_to_wait(call)
    try:
        yield from future.__await__()
    except asyncio.CancelledError:
        call.cancel()
        raise
