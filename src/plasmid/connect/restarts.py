"""When a lost context is started again. No clock, thread or randomness here: `now` and `chance` come from outside.

    state      started   failed          lost            held   released   due        again      stop
    STARTING   UP        WAITING or end  -               HELD   -          -          -          STOPPED
    UP         -         -               WAITING or end  -      -          -          -          STOPPED
    WAITING    -         -               -               -      -          STARTING   STARTING   STOPPED
    HELD       -         -               -               -      STARTING   -          -          STOPPED
    GIVEN_UP   -         -               -               -      -          -          STARTING   STOPPED
    STOPPED    -         -               -               -      -          -          -          -

`end` is GIVEN_UP: after too many failures in a row, or after one that another try can't mend. `-` changes nothing: it
is word of something that was under way when the state was left.

A pause is twice as long as the one before, up to a limit; by chance it is up to half shorter, so that those who were
lost together don't come back together.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class Restart:
    """How patiently a supervised context is started again.

    first_s: the first pause. longest_s: no pause is longer. tries: after so many failures in a row it is given up, None
    for never. sound_s: a context that has lived for so long was no failure, and pauses and failures count anew.
    """

    def __init__(
        self, first_s: float = 0.5, longest_s: float = 30.0, tries: "Optional[int]" = None, sound_s: float = 30.0
    ) -> None:
        if not 0 < first_s <= longest_s:
            found = "first_s must be above 0 and at most longest_s, not %r with longest_s %r"
            raise ValueError(found % (first_s, longest_s))
        if tries is not None and tries < 1:
            raise ValueError("tries must be at least 1, or None for no end, not %r" % (tries,))
        if sound_s < 0:
            raise ValueError("sound_s must not be negative; it is %r" % (sound_s,))
        self.first_s = first_s
        self.longest_s = longest_s
        self.tries = tries
        self.sound_s = sound_s


class State:
    """Where a supervised context is."""

    STARTING = "starting"
    UP = "up"
    WAITING = "waiting"  # for its next start
    HELD = "held"  # until the context is back by way of which it is started
    GIVEN_UP = "given up"
    STOPPED = "stopped"


class Restarts:
    """The decision for one context. Owner: the lock of its Supervision.

    failures: how many starts in a row have failed, or came to a context that was lost before it had lived for sound_s.
    """

    def __init__(self, restart: Restart) -> None:
        self.restart = restart
        self.state = State.STARTING
        self.failures = 0
        self._pauses = 0
        self._due = 0.0
        self._up_since = 0.0

    def started(self, now: float) -> None:
        """Take note that the context is there."""
        if self.state == State.STARTING:
            self.state = State.UP
            self._up_since = now

    def failed(self, now: float, chance: float, is_final: bool = False) -> None:
        """Take note that a start has failed. is_final: another one would, too. chance: from 0 up to 1, at random."""
        if self.state == State.STARTING:
            self.failures += 1
            self._pause(now, chance, is_final)

    def lost(self, now: float, chance: float) -> None:
        """Take note that the context was lost."""
        if self.state != State.UP:
            return
        self.failures += 1
        if now - self._up_since >= self.restart.sound_s:
            self.failures = self._pauses = 0
        self._pause(now, chance, False)

    def _pause(self, now: float, chance: float, is_final: bool) -> None:
        restart = self.restart
        if is_final or (restart.tries is not None and self.failures >= restart.tries):
            self.state = State.GIVEN_UP
            return
        longest = min(restart.longest_s, restart.first_s * 2.0 ** min(self._pauses, 60))
        self._pauses += 1
        self._due = now + longest * (1 - chance / 2)
        self.state = State.WAITING

    def held(self) -> None:
        """Take note that the start has to wait for another context; it counts as none."""
        if self.state == State.STARTING:
            self.state = State.HELD

    def released(self) -> bool:
        """Take note that the other context is there; say whether a start is to be made now."""
        return self._start_from(State.HELD)

    def again(self) -> bool:
        """Wait no longer, or begin anew if it was given up; say whether a start is to be made now."""
        if self.state == State.GIVEN_UP:
            self.failures = self._pauses = 0
        return self._start_from(State.WAITING, State.GIVEN_UP)

    def stop(self) -> None:
        """Start nothing any more."""
        self.state = State.STOPPED

    def deadline(self) -> "Optional[float]":
        """Return when expire() must be called next, None for never."""
        return self._due if self.state == State.WAITING else None

    def expire(self, now: float) -> bool:
        """Say whether a start is to be made now."""
        return now >= self._due and self._start_from(State.WAITING)

    def _start_from(self, *states: str) -> bool:
        if self.state not in states:
            return False
        self.state = State.STARTING
        return True

    def retry_after(self, now: float) -> "Optional[float]":
        """Return in how many seconds the context may be there, None if it won't be by itself."""
        if self.state == State.WAITING:
            return max(self._due - now, 0.0)
        return self.restart.first_s if self.state in (State.STARTING, State.HELD) else None
