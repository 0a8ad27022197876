"""The loop's own thread: it leads whenever nobody else does for a while, and looks every now and then whether it must.

While threads come and go that lead, it looks at the clock alone. Where one leads for long, or was away for a single
call, it sleeps: until that one leaves, and then on until something comes while nobody leads, or is due. It isn't needed
before a far side has said hello: until then one thread does all.
"""

import os
import select
import threading
from time import monotonic, sleep

from plasmid.core.bulk import Intake
from plasmid.core.node import TICK_S
from plasmid.runtime.loop import READ, READ_SIZE, pipe, write_byte
from plasmid.runtime.ports import Parking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from plasmid.runtime.loop import Loop

# How long it is before it looks again. What comes while nobody leads may wait for twice as long.
LOOK_S = 0.001

# How often others lead, within so many looks, for it to look rather than be told each time that one leaves.
OFTEN, OFTEN_LOOKS = 8, 2
OFTEN_BY_LOOK = OFTEN // OFTEN_LOOKS

# How many descriptors it sleeps with: its pipe, and the loop's poller. Room is made for so many results at each wait.
BOTH = 2
ONCE = READ | 1 << 30  # select.EPOLLONESHOT, where that exists

_NEVER = float("inf")


class Standby:
    """The thread. Guarded by the router lock.

    parking: where it leads; it is never released. looks: whether it looks again within LOOK_S, unasked. While it
    sleeps and nobody leads it counts as the leader, and is woken as one. help: called at each look, with whether nobody
    has led since the last one, until it returns False; see Jobs.hold().
    """

    def __init__(self, loop: "Loop") -> None:
        self.parking = Parking()
        self._loop, poller = loop, loop.poller
        # What it waits with. With epoll that is a look at the loop's poller from outside, and a pipe of its own: so it
        # can be told to leave, and nothing that it was told can be taken by the thread that leads then.
        self._poller = select.poll() if hasattr(select, "epoll") else poller
        self._wake_read, self._wake_write = pipe()
        self._poller.register(self._wake_read, READ)
        # What it sleeps with: the same, but for the loop's poller only once, and only while it is asked for. None
        # without epoll.
        self.sleeper = None  # type: Any
        if self._poller is not poller:
            self._poller_fd = poller.fileno()  # type: int
            self._poller.register(self._poller_fd, READ)
            self.sleeper = select.epoll()
            self.sleeper.register(self._wake_read, READ)
        self._asleep_until = _NEVER  # no later than the next tick
        self._is_watching = False  # the sleeper knows of the loop's poller
        self._has_turns = False  # threads went on one after the other since the last look
        self._often_at = 0  # see _is_led_often()
        self._often_by = 0.0
        self._is_shut = False
        self.help = None  # type: Optional[Callable[[bool], bool]]
        self._look_at = 0.0  # the next look, while it leads itself
        self.looks = True
        self.thread = threading.Thread(target=self._run, name="plasmid-loop", daemon=True)
        self._intakes = {}  # type: Dict[int, Intake]

    def start(self) -> None:
        """Be the loop's own thread from now on."""
        loop = self._loop
        loop.standby, loop.read_rest, loop.release = self, self._read_rest, self.release_in_turn
        self.thread.start()

    def hold(self, help: "Callable[[bool], bool]") -> None:
        """Call help() at each look until it returns False; until then answers may wait for the next look."""
        self.help = help
        self._look_at = monotonic() + LOOK_S
        self._loop.node.calls.holds = True
        if not self.looks:
            self.wake()

    def release_in_turn(self, parking: Parking) -> None:
        """End the wait of a thread: now, or when another thread that runs is about to wait. Under the router lock."""
        loop = self._loop
        if parking.wake_fd >= 0 or not self.looks or loop.leader is self.parking or loop.closed:
            parking.release()
        else:
            parking.is_released = self._has_turns = True
            loop.woken.append(parking)

    def _release_all(self) -> None:
        """Have all threads go on whose wait is over. Under the router lock."""
        while self._loop.woken:
            self._loop.woken.pop(0).release()

    def release(self) -> None:
        """Have those answers sent now. Under the router lock."""
        node = self._loop.node
        node.dirty.update(node.calls.held)
        node.calls.held.clear()
        self._loop.settle()

    def wake(self) -> None:
        """Have it come out of its wait, where it leads or did so until now."""
        write_byte(self._wake_write)

    def _read_rest(self, fd: int, left: int) -> "Optional[bytes]":
        """Read what is known to come next from a link; return what is to be fed to the node of it, None for nothing."""
        loop = self._loop
        link = loop._by_fd[fd].link
        intake = self._intakes.get(link.id)
        if intake is None or intake.link is not link:
            self._intakes = {id: each for id, each in self._intakes.items() if id in loop.ios}
            intake = self._intakes[link.id] = Intake(loop.node, link)
        buffers = intake.buffers()
        if not buffers:
            return os.read(fd, link.decoder.left or READ_SIZE)
        size = os.readv(fd, buffers)
        return intake.took(size, buffers, monotonic()) if size else b""

    def makes_way(self, parking: Parking) -> bool:
        """Whether a thread may lead though another does, or there is no epoll. That other one is told to leave."""
        loop = self._loop
        if parking is self.parking:
            return loop.leader is None
        if loop.leader is not self.parking or not self.sleeper:
            return False
        if self.looks:
            self.wake()  # it finds that it doesn't lead any more
        else:
            self.sleeper.modify(self._poller_fd, 0)  # it sleeps on
        return True

    def left(self) -> None:
        """Take note that nobody leads. Needn't be called if it looks by itself."""
        loop = self._loop
        if loop.closed:
            self._shut()
        elif not self.looks:
            # First it leads, then errands are looked for: who has one, and no lock, looks for a leader after that.
            loop.leader = self.parking
            until = loop._wake_at = self._asleep_until
            node = loop.node
            due = node.deadline() if node.calls.made.deadlines else node.tick_at
            is_due = loop._errands or (due is not None and due < until)
            if is_due or (loop.leads >= self._often_at and self._is_led_often()):
                loop.leader = None
                self.looks = True
                self.wake()
            elif self._is_watching:
                self.sleeper.modify(self._poller_fd, ONCE)
            else:
                self._is_watching = True
                self.sleeper.register(self._poller_fd, ONCE)

    def _is_led_often(self) -> bool:
        """Whether others come and go so often that looks cost less. Asked each time that they did so OFTEN times."""
        now, by = monotonic(), self._often_by
        self._often_at = self._loop.leads + OFTEN
        self._often_by = now + OFTEN_LOOKS * LOOK_S
        return now < by

    def wait(self, wait_s: "Optional[float]") -> "List[Tuple[int, int]]":
        """Return (descriptor, mask) of what is ready in the loop's poller."""
        if self.help is not None:
            if self._look_at <= monotonic():
                with self._loop.lock:
                    self._give_help(False)
            wait_s = LOOK_S if wait_s is None else min(LOOK_S, wait_s)
        ready = self._poller.poll(None if wait_s is None else wait_s * 1000)
        if (self._wake_read, READ) in ready:
            os.read(self._wake_read, 4096)
        if self.sleeper:
            # Nothing, if it was told to leave: then the poller is somebody else's.
            return self._loop.poll(0) if self._loop.leader is self.parking else []
        return [each for each in ready if each[0] != self._wake_read]

    def _run(self) -> None:
        loop = self._loop
        seen = loop.leads
        while True:
            with loop.lock:
                self._release_all()
                if loop.closed:
                    return
                leads = loop.leader is None and loop.leads == seen
                # A leader who has been there since the last look, or was away for few calls, may stay long. It says so
                # when it leaves.
                self.looks = leads or not self.sleeper or loop.leader is None or loop.leads > seen + OFTEN_BY_LOOK
                if self._has_turns:
                    self._has_turns, self.looks = False, True
                if self.help is not None:
                    # All that help can, if nobody has led since the last look: what was begun then takes long.
                    self._give_help(leads)
                    self.looks = True
                seen = loop.leads
                until = None if self.help is None else monotonic() + LOOK_S
                if not self.looks:
                    self._fall_asleep()
            if leads:
                loop.park(self.parking, until, self.wait)
            else:
                while not self.looks:
                    self._sleep()
                    seen = loop.leads
                # Whoever has just left is mostly back before long: so no look at once.
                sleep(LOOK_S)

    def _fall_asleep(self) -> None:
        """Sleep from now on. Under the router lock."""
        now, tick_at = monotonic(), self._loop.node.tick_at
        # A tick that is due now is the leader's.
        self._asleep_until = _NEVER if tick_at is None else tick_at if tick_at > now else now + TICK_S

    def _sleep(self) -> None:
        """Sleep for as long as nothing wakes this thread, and find out whether that was meant for it."""
        loop, until = self._loop, self._asleep_until
        ready = self.sleeper.poll(None if until == _NEVER else max(0.0, until - monotonic()) + 0.001, BOTH)
        with loop.lock:
            if (self._wake_read, READ) in ready:
                os.read(self._wake_read, 4096)
            if loop.leader is self.parking:
                loop.leader = None
                self.looks = True
            elif loop.closed or self.help is not None:
                self.looks = True
            # While the loop's poller is watched from outside, all that comes costs whoever leads more.
            if self._is_watching and not loop.closed:
                self._is_watching = False
                self.sleeper.unregister(self._poller_fd)
            if not self.looks:
                self._fall_asleep()

    def _give_help(self, everyone: bool) -> None:
        """Do what a look does for those at work. Under the router lock."""
        if self.help is not None and not self.help(everyone):
            self.help = None
            self._loop.node.calls.holds = False
        self._look_at = monotonic() + LOOK_S
        self.release()

    # -- the end

    def close(self, reason: str) -> None:
        """End every link, and the thread. All that waits on a link is told `reason`."""
        loop = self._loop
        with loop.lock:
            if loop.closed:
                return
            loop.closed = True
            for id in list(loop.ios):
                loop.node.link_closed(id, reason, monotonic())
            loop.settle()
            loop.wake()
            self.wake()
        if self.thread is not threading.current_thread():
            self.thread.join()
        with loop.lock:
            for fd in self._wake_read, self._wake_write:
                os.close(fd)
            self.looks = True
            if self.sleeper:
                self.sleeper.close()
            if loop.leader is None:
                self._shut()

    def _shut(self) -> None:
        """Close the loop's poller, once nobody can wait in it any more."""
        loop = self._loop
        if not self._is_shut:
            self._is_shut = True
            os.close(loop.wake_read)
            os.close(loop.wake_write)
            loop.wake_write = -1
            if self.sleeper:
                loop.poller.close()


def watch(loop: "Loop", fd: int, callback: "Callable[[], None]") -> None:
    """Have whoever leads call `callback`, without the lock, whenever `fd` can be read; -1 never can."""
    if fd < 0:
        return
    with loop.lock:
        loop.watched[fd] = callback
        loop.poller.register(fd, READ)
        loop.wake()


def unwatch(loop: "Loop", fd: int) -> None:
    """Undo watch(). The descriptor stays the caller's."""
    with loop.lock:
        if loop.watched.pop(fd, None) is not None:
            loop.poller.unregister(fd)
