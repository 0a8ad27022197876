"""What must be true of a simulated world: while it runs, and at its end."""

from typing import TYPE_CHECKING

from plasmid.core import address as addresses
from plasmid.core.flow import RECEIVE_QUOTA
from tests.sim.machine import Machine
from tests.sim.pool import CLOSED, FULL
from tests.sim.records import NOT_STARTED, REFUSE, CallRecord, Violation

if TYPE_CHECKING:
    from plasmid.core.node import Node
    from tests.sim.world import World

SILENCE_NOTICED_S = 40.0
LOSS_TOLD_S = 1.0


def check_call_ended(world: "World", record: CallRecord) -> None:
    """Check that a call may have ended as it did."""
    outcome = record.outcome.replace("Unstarted", "")
    now = world.clock.now
    if record.started and (record.outcome in NOT_STARTED or record.outcome.endswith("Unstarted")):
        raise Violation("%s had been started" % record)
    if outcome == "DeadlineExceeded" and (record.deadline is None or now < record.deadline - 0.0015):
        raise Violation("%s ended at %f, its deadline is %s" % (record, now, record.deadline))
    if record.deadline is not None and now > record.deadline + 0.0015:
        raise Violation("%s ended at %f, after its deadline %s" % (record, now, record.deadline))
    if not record.target_honest or outcome in ("result", "error", "DeadlineExceeded"):
        return
    if outcome == "Refused":
        allowed = record.behaviour == REFUSE
    elif outcome == "Cancelled":
        allowed = record.cancel_asked or "dropped" in record.found
    elif outcome == "Overloaded":
        allowed = world.quota != RECEIVE_QUOTA or world.outbox_max is not None
        allowed = allowed or (bool(record.service) and record.found == FULL)
    elif outcome in ("NotSent", "ContextLost"):
        path = world.path(record.caller, record.target)
        allowed = record.target not in world.machines or any(wire.excuse for wire in path)
        # Who sends more than a link takes is told that it has lost the other end.
        allowed = allowed or world.outbox_max is not None
        allowed = allowed or (bool(record.service) and record.found == CLOSED and is_closed(world, record.target))
    else:
        allowed = False
    if not allowed:
        raise Violation("%s: nothing that happened allows that" % record)


def is_closed(world: "World", address: bytes) -> bool:
    """Return whether the pool of a context was closed."""
    machine = world.machines[address]
    return isinstance(machine, Machine) and machine.application.pool.is_closed


def check_loss_told(world: "World", where: bytes, gone: bytes, waiting: "list[CallRecord]") -> None:
    """Check that those who waited on a context heard of its loss, where nothing hindered that."""
    since = world.clock.now - LOSS_TOLD_S
    for record in waiting:
        caller = world.machines[record.caller]
        # A slow link may have more queued than a second's worth, and one that stalled even more.
        if world.slow or record.ended_at is not None or record.caller.startswith(gone) or not caller.alive:
            continue
        path = world.path(record.caller, where)
        if any(wire.excuse or max(wire.up.stalled_until, wire.down.stalled_until) > since for wire in path):
            continue
        raise Violation("%s still waits %.1f s after the loss of %s" % (record, LOSS_TOLD_S, addresses.text(gone)))


def check_silence_noticed(world: "World", address: bytes, sides: "tuple[bool, bool]") -> None:
    """Check that the ends of a silent wire (parent, child) that hear nothing have cut it."""
    parent, child = world.machines[address[:-4]], world.machines[address]
    number = int.from_bytes(address[-4:], "big")
    deaf = [(parent, number)] * sides[0] + [(child, 0)] * sides[1]
    for machine, link_id in deaf:
        if machine.alive and link_id in machine.wires:
            raise Violation("%s hasn't noticed the silence of link %d" % (addresses.text(machine.address), link_id))


def check_end(world: "World") -> None:
    """Check that every call has ended, every stream has arrived, and nothing is held any more."""
    for record in world.calls.values():
        made = record.out is not None
        if made and record.ended_at is None and not record.caller_died:
            raise Violation("%s never ended" % record)
        if record.started and record.outcome in NOT_STARTED:
            raise Violation("%s was started after all" % record)
    check_streams(world)
    for machine in world.machines.values():
        if isinstance(machine, Machine) and machine.alive:
            check_books(machine)


def check_streams(world: "World") -> None:
    """Check that what was put has arrived, wherever nothing was lost."""
    for stream in world.streams.values():
        source, home = world.machines[stream.source], world.machines[stream.target]
        sound = source.alive and home.alive and not any(w.excuse for w in world.path(stream.source, stream.target))
        if not sound or stream.over:
            continue
        limits_lowered = world.quota != RECEIVE_QUOTA or world.outbox_max is not None
        if limits_lowered and (stream.state not in ("open", "done") or stream.seen == "lost"):
            continue  # refused for want of room; that its values came without a gap was checked as they came
        if stream.state != "done" or stream.arrived != len(stream.sizes) or (stream.seen == "closed") != stream.closes:
            raise Violation("%s: it isn't whole" % stream)


def room_kept(node: "Node", link: int) -> int:
    """Return for how much that may still be put, by way of this link, room is kept."""
    receivers = node.streams.receivers.values() if node.streams is not None else ()
    streams = [stream for receiver in receivers for stream in receiver.sources.values()]
    return sum(stream.granted - stream.taken for stream in streams if stream.is_kept and stream.link == link)


def check_books(machine: Machine) -> None:
    """Check that a context holds nothing now that nothing goes on."""
    node = machine.node
    held = {
        "calls made": [len(node.calls.made)],
        "calls served": [len(node.calls.served)],
        "long bodies going out": [len(node.switch.outgoing)],
        "events": [len(node.events)],
        "its pool": machine.application.pool.held(),
    }
    for link in node.links.values():
        outbox = link.outbox
        held["link %d" % link.id] = [
            *(sum(outbox.shares.values()), outbox.flows_size, len(outbox.relayed), len(outbox.rings)),
            *(len(outbox.turns), len(outbox.urgent), len(outbox.finished)),
        ]
        for inbox, kept in (link.inbox, room_kept(node, link.id)), (link.replies, 0):
            size = inbox.held - kept - sum(inbox.kept.values())
            held["link %d" % link.id] += [size, inbox.calls, len(inbox.assemblies), len(inbox.waiting)]
    left = {what: held[what] for what in held if any(held[what])}
    if left:
        raise Violation("%s still holds %s" % (addresses.text(machine.address), left))
