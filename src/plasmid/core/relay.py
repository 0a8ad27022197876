"""What a context does that has children, and others don't: pass frames on, tell of losses, and see to it that what is
below one child leaves room for its neighbours.

It isn't sent at boot; the router, which makes children, brings it along, and the switch takes it up with the first of
them. Everything here is a function of a Switch or of an Outbox, and touches nothing else. No I/O here.
"""

from plasmid.core import address
from plasmid.core.errors import FrameError, Overloaded, ProtocolError
from plasmid.core.flow import ASSEMBLIES_MAX, CREDIT_INITIAL, OUTBOX_SIZE_MAX, REACTIONS, WAITING_MAX, Outbox
from plasmid.core.frames import LANE_MASK, PAIR, Frame, Kind, Lane, encode_reason
from plasmid.core.link import Link, LinkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Deque, Dict, Optional

    from plasmid.core.flow import Assembly, Inbox
    from plasmid.core.node import Node
    from plasmid.core.switch import Switch
else:
    from _collections import deque

_PARENT = 0  # as PARENT in switch.py, which is what imports this
_PARTED = LANE_MASK + 1  # in place of a lane, for what waits behind the LOST of a pair

# What is held for each body that waits to be passed on, in bytes, beside its frames: its names, and its place in line.
# So short frames, of which there may be many, are counted as what they take.
FLOW_COST = 1024

# How many times in a row links may be looked at (every node.TICK_S) while a long body doesn't go on. It is more than it
# takes to notice that a link further down is dead. While bodies fill half of the room of their link here, or wait for
# it, less than GROWTH_MIN bytes are no progress, either.
STALLED_MAX = 18
GROWTH_MIN = 4096
# In how many such looks, after STALLED_MAX of grace, a body must be whole while others wait for its room that come from
# below another child of its relay.
PRESSED_MAX = 96


def pass_on(switch: "Switch", way: Link, link: Link, frame: Frame) -> None:
    """Pass on, by `way`, a frame that came by `link`. FrameError if its link floods the other."""
    # Both ways: who waits for an answer, and who is at work on one, want to hear of the other's loss.
    way.talkers.add(link.id)
    link.talkers.add(way.id)
    switch.dirty.add(way.id)
    if frame.kind == Kind.LOST:
        _push_lost(switch, way, link, frame.source, frame.target, frame.reason, PAIR)
        return
    if queue(way.outbox, frame, link.id):
        return
    found = "the link from %s towards %s can't keep up" % (address.text(switch.address), address.text(frame.target))
    if frame.kind == Kind.CALL:
        switch.refuse(link, frame, Overloaded("", "", found))
        return
    link.outbox.push(encode_reason(Kind.LOST, frame.target, frame.source, found, PAIR), REACTIONS)
    switch.dirty.add(link.id)
    _push_lost(switch, way, link, frame.source, frame.target, found, PAIR)


def tell_lost(switch: "Switch", link: Link, gone: bytes, reason: str) -> None:
    """Tell those who spoke with `link` that the context `gone`, there or below, is lost. FrameError as pass_on()."""
    for id in sorted(link.talkers):
        talker = switch.links.get(id)
        if talker is not None:
            _push_lost(switch, talker, link, gone, talker.peer, reason, 0)


def _push_lost(switch: "Switch", way: Link, link: Link, gone: bytes, target: bytes, reason: str, flags: int) -> None:
    """Queue a LOST behind all that came from `gone` by `link`: a reply that made it must not be overtaken."""
    lost = encode_reason(Kind.LOST, gone, target, reason, flags)
    queue_last(way.outbox, gone, lost, link.id, target if flags & PAIR else None)
    switch.dirty.add(way.id)
    # An honest peer stops when it is told. The parent can't be cut; what it passes on is its own peers'.
    flooded = _held(way.outbox, link.id) > 2 * OUTBOX_SIZE_MAX
    if flooded and link.id != _PARENT and link.state is not LinkState.CLOSED:
        raise FrameError("it sends more than the link to %s takes, and goes on" % address.text(way.peer))


def queue(outbox: Outbox, frame: Frame, origin: int) -> bool:
    """Queue a frame that came by link `origin`. False, and nothing is queued, where its share is used up."""
    if outbox.is_idle():
        outbox.lone = frame.raw
        outbox.lone_again = queue_behind, frame, origin
        return True
    if outbox.lone:
        outbox.line_up()
    # Requests stop at half, so that a full queue of them can't make answers vanish.
    size_max = OUTBOX_SIZE_MAX // 2 if frame.kind == Kind.CALL else OUTBOX_SIZE_MAX
    if _held(outbox, origin) + len(frame.raw) > size_max:
        return False
    queue_behind(outbox, frame, origin)
    return True


def _held(outbox: Outbox, origin: int) -> int:
    """Return how many bytes what came by link `origin` takes while it waits."""
    return outbox.shares.get(origin, 0) + FLOW_COST * len(outbox.rings.get(origin, ()))


def queue_behind(outbox: Outbox, frame: Frame, origin: int) -> None:
    """Queue such a frame behind all of its body."""
    key = frame.source, frame.target, frame.id, frame.lane
    frames = outbox.relayed.get(key)
    if frames is None:
        # Not ahead of word that these two have lost each other: that would end this as well, unheard.
        frames = outbox.relayed.get((frame.source, frame.target, 0, _PARTED))
        frames = outbox.relayed[key] = deque() if frames is None else frames
        outbox.enter(key, origin)
    frames.append(frame.raw)
    outbox.count(frame.raw, origin)


def queue_last(outbox: Outbox, gone: bytes, frame: bytes, origin: int, target: "Optional[bytes]" = None) -> None:
    """Queue a frame behind all that came from `gone` or below it: none of that may be overtaken.

    target: only what goes from `gone` itself to there. That stays behind the frame as well.
    """
    if outbox.lone:
        outbox.line_up()
    key = gone, target or b"", 0, 0 if target is None else _PARTED
    if target is not None and key in outbox.relayed:
        # They are one flow already. Who goes on can have this said often, so nothing is looked through again.
        outbox.relayed[key].append(frame)
        outbox.count(frame, origin)
        return
    all_of_it = deque()  # type: Deque[bytes]
    for each, frames in outbox.relayed.items():
        if each[0].startswith(gone) if target is None else each[:2] == (gone, target):
            # These flows are one from now on, lest what follows in one of them comes first.
            all_of_it += frames
            frames.clear()
            outbox.relayed[each] = all_of_it
    if key not in outbox.relayed:
        outbox.relayed[key] = all_of_it
        outbox.enter(key, origin)
    all_of_it.append(frame)
    outbox.count(frame, origin)


def check_share(link: Link, frame: Frame) -> None:
    """Raise Overloaded if a branch below a child has begun more than half of the bodies that the others leave it.

    The child itself may begin them all: only those below suffer, who trust it. Without a shortage nobody is refused.
    """
    assemblies, waiting = link.inbox.assemblies, link.inbox.waiting
    if (
        frame.source == link.peer
        or 2 * max(len(assemblies), len(waiting) * (ASSEMBLIES_MAX // WAITING_MAX)) < ASSEMBLIES_MAX
    ):
        return
    branch = frame.source[: len(link.peer) + 4]
    # Counting costs time, so who was refused isn't counted again before links are looked at the next time.
    if branch not in link.refused:
        own = sum(key[0].startswith(branch) for key in assemblies)
        own_waiting = sum(body.first.source.startswith(branch) for body in waiting)
        if (
            2 * own <= ASSEMBLIES_MAX - len(assemblies) + own
            and 2 * own_waiting <= WAITING_MAX - len(waiting) + own_waiting
        ):
            return
        link.refused.add(branch)
    raise Overloaded("", "", "more long bodies from below %s are on their way than is its share" % address.text(branch))


def _branch(link: Link, body: "Assembly") -> bytes:
    """Return below which child of the peer a body comes from; the peer's address for its own."""
    return body.first.source[: len(link.peer) + 4]


def _take_turns(link: Link, inbox: "Inbox") -> None:
    """Let the branches that wait for room have it in turn, whoever came first, those first that have none."""
    if len(inbox.waiting) < 2:
        return
    turns = {}  # type: Dict[bytes, int]
    for body in inbox.assemblies.values():
        if body.granted > CREDIT_INITIAL or body.total <= CREDIT_INITIAL:
            turns[_branch(link, body)] = 1
    ordered = []
    for number, body in enumerate(inbox.waiting):
        branch = _branch(link, body)
        turns[branch] = turns.get(branch, 0) + 1
        ordered.append((turns[branch], number, body))
    ordered.sort(key=lambda each: each[:2])
    inbox.waiting.clear()
    inbox.waiting.extend(body for _, _, body in ordered)


def expire(node: "Node", link: Link) -> None:
    """Give up the long bodies by a child's link that were begun and don't go on. Each time links are looked at."""
    link.refused.clear()
    for inbox in link.inbox, link.replies:
        _take_turns(link, inbox)
        is_short = bool(inbox.waiting) or 2 * inbox.held > inbox.quota
        waiting_branches = {_branch(link, body) for body in inbox.waiting}
        growth_min = GROWTH_MIN if is_short else 1
        stalled = []
        for body in inbox.assemblies.values():
            size = len(body.body)
            goes_on = size - body.seen >= min(growth_min, body.total - body.seen)
            waits = is_short and body in inbox.waiting
            body.ticks = 0 if goes_on or waits else body.ticks + 1
            body.seen = size
            # A context that sends just enough must not keep its neighbours waiting for as long as it likes.
            own = {_branch(link, body), link.peer}
            if not waits and body.first.source != link.peer and waiting_branches - own:
                body.pressed += 1
            if body.ticks > STALLED_MAX or size * PRESSED_MAX < body.total * (body.pressed - STALLED_MAX):
                stalled.append(body)
        for body in stalled:
            found = "a body stopped at %d of its %d bytes" % (len(body.body), body.total)
            first = body.first
            node.switch.grant(link, inbox.drop([(first.source, first.target, first.id, first.lane)]))
            part = node.streams if first.lane == Lane.ITEM and node.streams is not None else node.calls
            part.body_broken(link, first, ProtocolError("", "", found))
