"""Long bodies: how they are cut, and that a long blob becomes its value without a copy."""

import random
from io import BytesIO
from typing import Any

import pytest

from plasmid.core import flow, values
from plasmid.core.bulk import Body, Intake, Outgoing
from plasmid.core.errors import Cancelled, ValueDecodeError
from plasmid.core.flow import CREDIT_INITIAL
from plasmid.core.frames import CHUNK_SIZE, MORE, Kind, Lane
from tests.core.value_samples import DECLARED, EVERY_KIND, Handle, send, shape
from tests.core.wire import Tree, at, call_body, first_body, frame

BLOB = random.Random(7).randbytes(CHUNK_SIZE + 11)


def cut(payload: bytes, at_byte: int) -> Body:
    """Return a payload as it comes when its first frame ends there."""
    rest = BytesIO()
    rest.write(payload[at_byte:])
    return Body(memoryview(payload[:at_byte]), rest)


def sizes(*part_sizes: int) -> "list[int]":
    """Return how much of a body of such parts each of its frames holds."""
    size = sum(part_sizes)
    made = Outgoing(Kind.CALL, 0, 1, b"", at("/1"), [bytes(one) for one in part_sizes], size)
    made.grant(size)
    found = []
    while made.ready:
        before = made.sent
        made.next_chunk()
        found.append(made.sent - before)
    return found


# -- on the way out


@pytest.mark.parametrize(
    ("parts", "frames"),
    [
        ([10, CHUNK_SIZE], [10, CHUNK_SIZE]),
        ([10, 20, 2 * CHUNK_SIZE + 1], [30, CHUNK_SIZE - 30, CHUNK_SIZE, 31]),
        ([10, CHUNK_SIZE - 10, 5], [CHUNK_SIZE, 5]),
        ([10, CHUNK_SIZE - 9, 5], [10, CHUNK_SIZE - 4]),
        ([CHUNK_SIZE + 1], [CHUNK_SIZE, 1]),
        ([CHUNK_SIZE + 1, 3], [CHUNK_SIZE, 4]),
    ],
)
def test_the_first_frame_holds_the_parts_that_fit_whole(parts: "list[int]", frames: "list[int]") -> None:
    assert sizes(*parts) == frames


@pytest.mark.parametrize("grants", [[], [7 * CHUNK_SIZE], [CREDIT_INITIAL + 9, 5 * CHUNK_SIZE + 9, 8 * CHUNK_SIZE]])
@pytest.mark.parametrize(
    "part_sizes", [[10, 9 * CHUNK_SIZE], [9 * CHUNK_SIZE - 10, 10, 0], [3 * CHUNK_SIZE - 1, CHUNK_SIZE, 3 * CHUNK_SIZE]]
)
def test_a_body_that_is_alone_is_cut_as_it_is_among_others(part_sizes: "list[int]", grants: "list[int]") -> None:
    parts = [random.Random(size).randbytes(size) for size in part_sizes]
    written = []
    for size in 0, 4 * CHUNK_SIZE:
        made = Outgoing(Kind.CALL, 0, 1, b"", at("/1"), parts, sum(part_sizes))
        made.after = frame(Kind.CLOSE, 0, 1, "/", "/1", b"token")
        turns: list[bytes] = []
        for credit in [0, *grants, made.size]:
            made.grant(credit)
            while made.ready:
                turns.append(b"".join(made.next_chunk(size)))
        written.append(turns)
    assert b"".join(written[0]) == b"".join(written[1])
    assert len(written[1]) < len(written[0])
    assert max(map(len, written[1])) < 6 * CHUNK_SIZE


def test_a_link_that_could_not_take_all_is_given_half_as_much_at_once() -> None:
    # What was taken out of the outbox and can't be written goes ahead of every small call.
    tree = Tree("/", "/1")
    call = tree.call("/", "/1", bytes(4 << 20))
    node, link = tree.nodes["/"], tree.link("/", "/1")
    node.next_buffers(link.id)
    node.switch.take_grant((at("/1"), Lane.CALL, call.id), 4 << 20)
    node.next_buffers(link.id)  # to the end of a chunk
    sizes = []
    for is_blocked in False, True, False:
        node.wrote(link.id, tree.clock.now, True, is_blocked)
        sizes.append(sum(map(len, node.next_buffers(link.id))) // CHUNK_SIZE)
    assert sizes == [8, 4, 8]


# -- on the way in


def test_a_blob_that_is_all_of_the_rest_is_given_out_as_it_is() -> None:
    front, blob = values.encode([{"key": "value"}, BLOB])
    body = cut(bytes(front) + blob, len(front))
    found = values.decode(body)
    assert found == [{"key": "value"}, BLOB]
    assert found[1] is body.rest


@pytest.mark.parametrize("value", [*EVERY_KIND, [BLOB, b"x" * 5000, bytearray(BLOB)], [memoryview(b"y" * 9000), BLOB]])
def test_a_value_is_the_same_wherever_its_first_frame_ends(value: Any) -> None:
    payload = send(value)
    blobs_at = 4 + int.from_bytes(payload[:4], "big")
    for end in {0, 1, 4, 5, blobs_at - 1, blobs_at, blobs_at + 1, blobs_at + 5000, len(payload) - 1, len(payload)}:
        if 0 <= end <= len(payload):
            assert shape(values.decode(cut(payload, end), DECLARED.get, Handle)) == shape(value)


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("end", [0, 30, 3000, 5050])
def test_a_blob_too_long_or_too_short_is_refused_wherever_the_first_frame_ends(end: int, change: int) -> None:
    payload = b"".join(values.encode([b"x" * 5000, b"y" * 6000]))
    wrong = payload + b"z" if change > 0 else payload[:-1]
    with pytest.raises(ValueDecodeError) as expected:
        values.decode(wrong)
    with pytest.raises(ValueDecodeError) as found:
        values.decode(cut(wrong, end))
    assert str(found.value) == str(expected.value)


def test_a_body_says_how_long_it_is_and_is_cut_in_front() -> None:
    body = cut(b"abcdefgh", 3)
    assert (len(body), bytes(body), bytes(body[2:]), len(body[3:])) == (8, b"abcdefgh", b"cdefgh", 5)


@pytest.mark.parametrize("kind", [Body, bytearray])
@pytest.mark.parametrize("cuts", [[1], [5], [6, 3], [CHUNK_SIZE]])
def test_a_call_arrives_whole_wherever_its_sender_cut_it(
    cuts: "list[int]", kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "new_body", kind)  # bytearray is what it is before a far side has all of core
    tree = Tree("/", "/1")
    body = call_body(BLOB)
    pieces = [first_body(len(body), body[: cuts[0]])]
    at_byte = cuts[0]
    for size in [*cuts[1:], CHUNK_SIZE, CHUNK_SIZE]:
        pieces.append(body[at_byte : at_byte + size])
        at_byte += size
    frames = [piece for piece in pieces if piece]
    for number, piece in enumerate(frames):
        kind = Kind.DATA if number else Kind.CALL
        tree.feed("/1", "/", frame(kind, MORE if number < len(frames) - 1 else 0, 9, "/", "/1", piece))
    (event,) = tree.told("/1")
    assert event[:4] == ("CallArrived", "/", 9, b"head")
    assert bytes(event[4]) == BLOB


# -- read to its place


class Mouth:
    """Reads what comes by a link as a context's loop does: to its place what can be, some at a time."""

    def __init__(self, tree: Tree, context: str, other: str, chance: random.Random) -> None:
        self.tree, self.context, self.other = tree, context, other
        self.link = tree.link(context, other)
        self.intake = Intake(tree.nodes[context], self.link)
        self.chance = chance
        self.placed = 0
        self.most = 0  # how much a read gives, 0 for any number

    def read(self, stream: bytes) -> None:
        """Take all of it in."""
        while stream:
            most = self.most or self.chance.choice([1, 19, 32768, 98304, 1 << 20])
            buffers = self.intake.buffers() if self.link.decoder.left else []
            if not buffers:
                size = min(most, self.link.decoder.left or 98304)
                assert size > 0
                self.tree.feed(self.context, self.other, stream[:size])
                stream = stream[size:]
                continue
            size = 0
            for buffer in buffers:
                piece = stream[size : size + min(len(buffer), most - size)]
                buffer[: len(piece)] = piece
                size += len(piece)
            del buffer
            data = self.intake.took(size, buffers, self.tree.clock.now)
            del buffers
            if data is None:
                self.placed += size
            else:
                assert stream[:size].endswith(data)
                self.placed += size - len(data)
                self.tree.feed(self.context, self.other, data)
            stream = stream[size:]


def any_stream(chance: random.Random) -> bytes:
    """Return what a parent may send: bodies, whole or not, in order or not, and short frames between their frames."""
    queues = []
    for id in range(chance.randrange(1, 4)):
        body = call_body(chance.randbytes(chance.choice([70_000, CREDIT_INITIAL, 5 * CHUNK_SIZE - 12, 600_000])))
        made = Outgoing(Kind.CALL, 0, id, b"", at("/1"), [body[:20], body[20:]], len(body))
        made.grant(made.size if chance.random() < 0.95 else made.size + 1)
        frames = []
        while made.ready:
            frames.append(b"".join(made.next_chunk()))
        if chance.random() < 0.1:
            del frames[chance.randrange(1, len(frames)) :]
        if chance.random() < 0.1:
            frames.insert(chance.randrange(1, len(frames) + 1), frame(Kind.CANCEL, 0, id, "/", "/1", b""))
        if chance.random() < 0.1:
            frames.append(frame(Kind.DATA, MORE, id, "/", "/1", bytes(CHUNK_SIZE)))
        queues.append(frames)
    queues.append([frame(Kind.CALL, 0, 50 + n, "/", "/1", call_body(b"small")) for n in range(chance.randrange(4))])
    stream = []
    while any(queues):
        frames = chance.choice([each for each in queues if each])
        for _ in range(chance.choice([1, 1, 3, 9])):
            stream += frames[:1]
            del frames[:1]
    return b"".join(stream)


def held(tree: Tree) -> "list[Any]":
    """Return what /1 holds because of its parent."""
    inbox = tree.link("/1", "/").inbox
    bodies = {key: (bytes(body.body)[: len(body.body)], body.total) for key, body in inbox.assemblies.items()}
    return [inbox.held, bodies, len(inbox.waiting)]


@pytest.mark.parametrize("seed", range(60))
def test_what_comes_of_a_body_is_the_same_where_it_is_read_to_its_place(seed: int) -> None:
    # D9
    chance = random.Random(seed)
    pair = [Tree("/", "/1") for _ in range(2)]
    mouth = Mouth(pair[1], "/1", "/", chance)
    stream = any_stream(chance)
    pair[0].feed("/1", "/", stream)
    mouth.read(stream)
    told = [[[bytes(x) if isinstance(x, Body) else x for x in event] for event in tree.told("/1")] for tree in pair]
    assert told[0] == told[1]
    assert held(pair[0]) == held(pair[1])


@pytest.mark.parametrize("size", [700_000, 1 << 20, 9_000_000])
def test_all_of_a_long_body_but_its_beginning_is_read_to_its_place(size: int) -> None:
    tree = Tree("/", "/1")
    blob = BLOB * (size // len(BLOB) + 1)
    mouth = Mouth(tree, "/1", "/", random.Random(1))
    mouth.most = 1 << 20
    call = tree.nodes["/"].calls.call(at("/1"), b"head", [b"front", blob], 0.0)
    assert call is not None
    while not tree.nodes["/1"].events:
        came = tree.write("/", "/1")
        tree.pending.clear()
        mouth.read(came)
        tree.feed("/", "/1", tree.write("/1", "/"))
        tree.pending.clear()
    (event,) = tree.told("/1")
    assert event[4] == b"front" + blob
    assert mouth.placed > len(blob) - 3 * CHUNK_SIZE


@pytest.mark.parametrize("total", [1 << 20, 4 << 20])
@pytest.mark.parametrize("size", [2, 100, CHUNK_SIZE - 30])
def test_room_is_made_for_no_more_than_eight_times_what_has_come_of_a_body(size: int, total: int) -> None:
    # D9
    tree = Tree("/", "/1")
    mouth = Mouth(tree, "/1", "/", random.Random(1))
    begin = frame(Kind.CALL, MORE, 9, "/", "/1", first_body(total, bytes(30)))
    mouth.read(begin + frame(Kind.DATA, MORE, 9, "/", "/1", bytes(size))[:-1])
    tree.told("/1")
    buffers = mouth.intake.buffers()
    (body,) = mouth.link.inbox.assemblies.values()
    room = len(body.body.rest) + 30  # type: ignore[union-attr]
    assert room == 8 * (size + 30)
    assert max(map(len, buffers)) <= CHUNK_SIZE


def test_what_is_missing_of_a_frame_whose_body_was_given_up_is_passed_over() -> None:
    tree = Tree("/", "/1")
    blob = bytes(8 * CHUNK_SIZE)
    call = tree.call("/1", "/")
    made = Outgoing(Kind.REPLY, Lane.REPLY, call.id, b"", at("/1"), [b"head", blob], 4 + len(blob))
    made.grant(made.size)
    stream = b"".join(b"".join(made.next_chunk(4 * CHUNK_SIZE)) for _ in iter(lambda: made.ready, False))
    mouth = Mouth(tree, "/1", "/", random.Random(1))
    mouth.most = 1 << 20
    mouth.read(stream[: 6 * CHUNK_SIZE])
    assert (mouth.placed > 4 * CHUNK_SIZE, mouth.link.decoder.left > 0) == (True, True)
    tree.nodes["/1"].calls.cancel(call, Cancelled("", "", "not wanted any more"))
    mouth.link.replies.drop(list(mouth.link.replies.assemblies))
    tree.told("/1")
    mouth.read(stream[6 * CHUNK_SIZE :] + frame(Kind.CALL, 0, 7, "/", "/1", call_body(b"next")))
    assert [event[:3] for event in tree.told("/1")] == [("CallArrived", "/", 7)]
