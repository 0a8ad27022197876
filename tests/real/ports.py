"""Loopback ports that behave badly: one where nobody listens, and ones where nobody answers."""

import contextlib
import socket
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port that was free a moment ago. Whoever binds it must be ready to find it taken."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return _port(probe)


@contextlib.contextmanager
def refusing_port() -> "Iterator[int]":
    """Give a port that refuses connections for as long as it is held: bound, so nobody else takes it, not listening."""
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        yield _port(holder)


@contextlib.contextmanager
def silent_port() -> "Iterator[int]":
    """Give a port on which connections are made and then nothing is ever said."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen(8)
        yield _port(listener)


@contextlib.contextmanager
def black_hole_port() -> "Iterator[int]":
    """Give a port on which not even a connection comes about: its queue is full, so the kernel drops what arrives."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        # Linux queues one more than the backlog says; connections beyond that hang, which is what's wanted.
        for _ in range(3):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((LOOPBACK, _port(listener)))
        yield _port(listener)


def _port(bound: socket.socket) -> int:
    port = bound.getsockname()[1]
    assert isinstance(port, int)
    return port
