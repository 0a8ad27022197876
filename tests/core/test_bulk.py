"""Long bodies: how they are cut, and that a long blob becomes its value without a copy."""

import random
from io import BytesIO
from typing import Any

import pytest

from plasmid.core import flow, values
from plasmid.core.bulk import Body, Outgoing
from plasmid.core.errors import ValueDecodeError
from plasmid.core.frames import CHUNK_SIZE, MORE, Kind
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
        ([10, 20, 2 * CHUNK_SIZE + 1], [30, CHUNK_SIZE, CHUNK_SIZE, 1]),
        ([10, CHUNK_SIZE - 10, 5], [CHUNK_SIZE, 5]),
        ([10, CHUNK_SIZE - 9, 5], [10, CHUNK_SIZE - 4]),
        ([CHUNK_SIZE + 1], [CHUNK_SIZE, 1]),
        ([CHUNK_SIZE + 1, 3], [CHUNK_SIZE, 4]),
    ],
)
def test_the_first_frame_holds_the_parts_that_fit_whole(parts: "list[int]", frames: "list[int]") -> None:
    assert sizes(*parts) == frames


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
