"""What one small service call costs in instructions, both sides together: the same number each time it is counted.

    valgrind --tool=callgrind python -S bench/instructions.py COUNT [raw]

Both contexts are in this process, on one thread: the caller sends, then the far side's pool thread takes the call in,
runs it and writes the answer, then the caller takes that in. All of it is what a program runs, and none of it waits.
"""

import socket
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root), str(root / "src")]

from bench import raw_far
from plasmid import codec
from plasmid.core import address, short_values, values
from plasmid.core.switch import PARENT
from plasmid.runtime.context import Context
from plasmid.runtime.runtime import Runtime
from plasmid.service import AllowAny, Pool, Service, expose
from plasmid.service.crew import Worker
from plasmid.service.proxy import Proxy

FAR = address.child(address.ROOT, 1)


class Probe(Service):
    """A service as small as can be."""

    @expose(AllowAny())
    def small(self, key: str, n: int) -> "dict[str, Any]":
        """Return a small dict."""
        return {"key": key, "n": n, "ok": True}


class Host:
    """What a pool needs of a router."""

    def __init__(self, runtime: Runtime) -> None:
        self.jobs = runtime.jobs
        self.myself = lambda: runtime.myself


class Rested(Exception):
    """The pool's thread has nothing more to do."""


class SteppedPool(Pool):
    """A pool whose one thread is this one: step() does what it does for one call that has come."""

    def __init__(self, host: Host) -> None:
        super().__init__(host, services=[Probe(host)], size=1)
        self._park = self._park_once  # type: ignore[method-assign]
        self.worker = Worker(lambda worker: None, "", lambda worker: None, lambda worker: None)
        self._crew.workers.add(self.worker)
        self.has_parked = False

    def step(self) -> None:
        """Take the call in, run it, answer it, and look for another."""
        self.has_parked = False
        try:
            self._work(self.worker)
        except Rested:
            self._crew.idle.remove(self.worker)

    def _park_once(self, parking: Any) -> None:
        if self.has_parked:
            raise Rested
        self.has_parked = True
        self.router.jobs.park(parking)


def own(count: int) -> None:
    """Make so many calls with Plasmid."""
    near = Runtime(address.ROOT, "near", {})
    far = Runtime(FAR, "far", {})
    ends = [end.detach() for end in socket.socketpair()]
    near.loop.attach(1, ends[0], ends[0])
    far.loop.attach(PARENT, ends[1], ends[1])
    for runtime in near, far:
        runtime.use_express()  # as start() does, which would start threads
    pool = SteppedPool(Host(far))
    probe = Proxy(Context(near, FAR), Probe)
    for n in range(count):
        codec.install()
        call = probe.small.start(key="key", n=n)
        values.install(short_values.pack_short, short_values.unpack_short)  # a far side has no C extension
        pool.step()
        codec.install()
        assert call.result() == {"key": "key", "n": n, "ok": True}


def raw(count: int) -> None:
    """Do the same with frames alone, and the C codec at both ends."""
    near, far = (raw_far.Wire(end.detach()) for end in socket.socketpair())
    packb, unpackb = raw_far.codec(str(Path(codec.__file__).parent))
    for n in range(count):
        near.write(raw_far.frame(raw_far.CALL, n, packb(["probe", "small", {"key": "key", "n": n}])))
        for what, id, body in far.frames() or []:
            far.write(raw_far.frame(what, id, raw_far.answer(packb, unpackb, body)))
        assert unpackb(near.next()) == {"key": "key", "n": n, "ok": True}


if __name__ == "__main__":
    {"own": own, "raw": raw}[sys.argv[1]](int(sys.argv[2]))
