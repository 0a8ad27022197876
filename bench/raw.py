"""The raw limit: two processes, a socketpair, one frame each way, a small dict through the C codec, nothing else."""

import contextlib
import os
import platform
import select
import socket
import subprocess
import tempfile
import threading
import zlib
from _queue import SimpleQueue
from collections.abc import Iterator, Sequence
from itertools import count as count_from
from pathlib import Path
from typing import Any

import msgpack as untyped_msgpack  # type: ignore[import-untyped]

from bench import moves, raw_far
from bench.pythons import BARE_PYTHON
from bench.subject import Subject
from plasmid.boot.bundle import strip

msgpack: Any = untyped_msgpack  # what stubs some checkers bring say that packb() may return None
PACKED = zlib.compress(strip(Path(raw_far.__file__).read_bytes(), keep_annotations=False), 9)
BOOT = (
    "import os,zlib;b=b''\n"
    "while len(b)<%d:b+=os.read(%d,%d-len(b))\n"
    "g={'__name__':'raw'};exec(zlib.decompress(b),g);g['serve'](%d,%r)"
)
CODEC_FOLDER = str(Path(str(msgpack.__file__)).parent.parent)
BUFFER_SIZE = 1 << 20
NOTHING = (raw_far.TIMES, 0, b"\x90")  # what stands for the end: an empty list of times


class RawChild:
    """A child process, and this end of the socketpair to it."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        fd = far.fileno()
        size = len(PACKED)
        boot = BOOT % (size, fd, size, fd, CODEC_FOLDER)
        argv = [BARE_PYTHON, "-I", "-S", "-c", boot]
        self.boot_bytes = sum(map(len, argv)) + size
        self.process = subprocess.Popen(argv, pass_fds=[fd], stdin=subprocess.DEVNULL)
        far.close()
        self.socket = near
        self.wire = raw_far.Wire(near.fileno())
        self.wire.write(PACKED)
        self.relays: list[subprocess.Popen[bytes]] = []

    def hang_up(self) -> None:
        """Have the processes end."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        """Wait for the end of the processes."""
        self.socket.close()
        for process in [*self.relays, self.process]:
            process.wait()


class Raw(Subject):
    """The least that any library would have to do."""

    name = "raw"
    version = platform.python_version()

    def start(self) -> RawChild:
        return answered(RawChild(*socket_pair()))

    def for_threads(self) -> Subject:
        return RawWithReader()

    def stop(self, child: RawChild) -> None:
        child.hang_up()
        child.wait()

    def pid(self, child: RawChild) -> int:
        return child.process.pid

    def boot_bytes(self, child: RawChild) -> int:
        return child.boot_bytes

    def call(self, child: RawChild, n: int) -> Any:
        child.wire.write(call_frame(n))
        return msgpack.unpackb(child.wire.next())

    def calls_up(self, child: RawChild, count: int) -> "list[float]":
        child.wire.write(raw_far.frame(raw_far.CALL_UP, count, b""))
        while True:
            (what, id, body), *_ = child.wire.frames() or [NOTHING]
            if what == raw_far.TIMES:
                return list(msgpack.unpackb(body))
            child.wire.write(raw_far.frame(what, id, raw_far.answer(msgpack.packb, msgpack.unpackb, body)))

    def all_call_up(self, children: "list[RawChild]", count: int) -> None:
        """One thread answers whoever has asked."""
        wires = {child.wire.fd: child.wire for child in children}
        poller = select.poll()
        for fd, wire in wires.items():
            poller.register(fd, select.POLLIN)
            wire.write(raw_far.frame(raw_far.CALL_UP, count, b""))
        while wires:
            for fd, _ in poller.poll():
                for what, id, body in wires[fd].frames() or [NOTHING]:
                    if what == raw_far.TIMES:
                        poller.unregister(fd)
                        del wires[fd]
                    else:
                        answer = raw_far.answer(msgpack.packb, msgpack.unpackb, body)
                        wires[fd].write(raw_far.frame(what, id, answer))

    def call_each(self, children: "list[RawChild]") -> None:
        for n, child in enumerate(children):
            child.wire.write(call_frame(n))
        for child in children:
            msgpack.unpackb(child.wire.next())

    def echo(self, child: RawChild, data: bytes) -> "bytes | bytearray":
        child.wire.write(raw_far.HEAD.pack(len(data), raw_far.ECHO, 0), data)
        return child.wire.next()

    @contextlib.contextmanager
    def copying(self, ssh_args: "Sequence[str]") -> "Iterator[moves.Copier]":
        """Give what the machine's own programs do; they need no child."""
        if not ssh_args:
            yield moves.Copier(moves.cat_or_tar, moves.cat_or_tar)
            return
        with tempfile.TemporaryDirectory(prefix="plasmid-bench-") as name, moves.scp(ssh_args, Path(name)) as copier:
            yield copier

    def pipeline(self, child: RawChild, count: int, window: int) -> None:
        """One thread sends, each call in a write of its own, and takes what has come."""
        wire = child.wire
        sent = got = 0
        pending = b""
        poller = select.poll()
        poller.register(wire.fd, select.POLLIN | select.POLLOUT)
        os.set_blocking(wire.fd, False)
        while got < count:
            while not pending and sent < count and sent - got < window:
                pending = call_frame(sent)
                pending = pending[write_some(wire.fd, pending) :]
                sent += 1
            if pending:
                pending = pending[write_some(wire.fd, pending) :]
            poller.modify(wire.fd, select.POLLIN | (select.POLLOUT if pending else 0))
            if poller.poll()[0][1] & select.POLLIN:
                for _, _, body in frames_there(wire):
                    msgpack.unpackb(body)
                    got += 1
        os.set_blocking(wire.fd, True)

    def start_behind(self, hops: int) -> RawChild:
        near, far = socket_pair()
        relays = []
        for _ in range(hops):
            # Built from the far end: the last relay holds the child's socket.
            next_near, next_far = socket_pair()
            code = "import sys;sys.path.append(%r);import raw_far;raw_far.relay(%d,%d)"
            code = code % (str(Path(raw_far.__file__).parent), far.fileno(), next_near.fileno())
            fds = [far.fileno(), next_near.fileno()]
            relays.append(subprocess.Popen([BARE_PYTHON, "-I", "-S", "-B", "-c", code], pass_fds=fds))
            far.close()
            next_near.close()
            far = next_far
        child = RawChild(near, far)
        child.relays = relays
        return answered(child)


class RawWithReader(Subject):
    """The limit for callers on many threads: one more thread reads, and wakes the caller whose answer has come."""

    name = Raw.name
    version = Raw.version

    def start(self) -> "ChildWithReader":
        return ChildWithReader(answered(RawChild(*socket_pair())))

    def stop(self, child: "ChildWithReader") -> None:
        child.raw.hang_up()
        child.thread.join()
        child.raw.wait()

    def pid(self, child: "ChildWithReader") -> int:
        return child.raw.process.pid

    def call(self, child: "ChildWithReader", n: int) -> Any:
        return child.call(n)


class ChildWithReader:
    """A raw child whose answers are read by a thread."""

    def __init__(self, raw: RawChild) -> None:
        self.raw = raw
        self.waiting: dict[int, SimpleQueue[Any]] = {}
        self.ids = count_from(1)
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def call(self, n: int) -> Any:
        """Make a small call; any thread."""
        queue: SimpleQueue[Any] = SimpleQueue()
        id = next(self.ids)
        self.waiting[id] = queue
        body = msgpack.packb(["probe", "small", {"key": "key", "n": n}])
        with self.lock:
            self.raw.wire.write(raw_far.frame(raw_far.CALL, id, body))
        return msgpack.unpackb(queue.get())

    def read(self) -> None:
        """Hand out the answers until the end."""
        while True:
            came = self.raw.wire.frames()
            if came is None:
                return
            for _, id, body in came:
                self.waiting.pop(id).put(body)


def call_frame(n: int) -> bytes:
    """Return the frame of a small call."""
    body = msgpack.packb(["probe", "small", {"key": "key", "n": n}])
    return raw_far.frame(raw_far.CALL, n, body)


def answered(child: RawChild) -> RawChild:
    """Return the child once it has answered its first call, for which it loads the codec."""
    child.wire.write(call_frame(0))
    assert msgpack.unpackb(child.wire.next()) == raw_far.small("key", 0)
    return child


def socket_pair() -> "tuple[socket.socket, socket.socket]":
    """Return two sockets with room for many frames."""
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_SIZE)
    return ends


def frames_there(wire: raw_far.Wire) -> "list[raw_far.Frame]":
    """Return the whole frames that can be had without waiting."""
    try:
        return wire.frames() or [NOTHING]
    except BlockingIOError:
        return []


def write_some(fd: int, data: bytes) -> int:
    """Write what fits; return how much it was."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
