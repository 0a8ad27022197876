"""Frames: a decoder that any peer may feed."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasmid.core import address, frames
from plasmid.core.address import ADDRESS_SIZE_MAX
from plasmid.core.errors import FrameError
from plasmid.core.frames import (
    CHUNK_SIZE,
    FLAGS_MASK,
    FRAME_BODY_SIZE_MAX,
    HEADER,
    HEADER_SIZE,
    KINDS,
    LANE_MASK,
    MORE,
    REASON_SIZE_MAX,
    FrameDecoder,
    Kind,
    Lane,
)
from tests.core.wire import PlainFrame, at, frame, plain_frame, plain_frames, read_frame

THREE = [
    ("PING", 0, 0, "/3", "/", b""),
    ("CALL", MORE, 2**64 - 1, "/3/1", "/", b"a call's body"),
    ("LOST", 0, 7, "/3", "/4/5/6", b"x" * 300),
]
THREE_RAW = (
    frame(Kind.PING, 0, 0, "/3", "/")
    + frame(Kind.CALL, MORE, 2**64 - 1, "/3/1", "/", b"a call's body")
    + frame(Kind.LOST, 0, 7, "/3", "/4/5/6", b"x" * 300)
)


def decoded(decoder: FrameDecoder) -> "list[PlainFrame]":
    """Return the frames that are whole now."""
    found = []
    while (one := decoder.next_frame()) is not None:
        found.append(plain_frame(one))
    return found


def refusal(decoder: FrameDecoder) -> str:
    """Return what the decoder finds wrong, the same each time it is asked."""
    with pytest.raises(FrameError) as caught:
        decoder.next_frame()
    with pytest.raises(FrameError) as again:
        decoder.next_frame()
    assert caught.value.found == again.value.found
    return caught.value.found


def test_a_frame_is_sixteen_bytes_and_what_they_announce() -> None:
    raw = frame(Kind.CALL, 0x0C, 0x0102030405060708, "/3/1", "/9", b"body")
    assert raw == (
        b"\0\0\0\4" + b"\x08" + b"\x0c" + b"\x08" + b"\x04" + b"\1\2\3\4\5\6\7\x08"
        b"\0\0\0\3\0\0\0\1" + b"\0\0\0\x09" + b"body"
    )
    assert plain_frame(read_frame(raw)) == ("CALL", 0x0C, 0x0102030405060708, "/3/1", "/9", b"body")


def test_a_head_is_a_frame_less_its_body() -> None:
    head = frames.encode_head(Kind.DATA, Lane.REPLY, 5, at("/1"), at("/2"), 4)
    assert head + b"body" == frame(Kind.DATA, Lane.REPLY, 5, "/1", "/2", b"body")


def test_a_frame_knows_its_lane_and_gives_its_body_uncopied() -> None:
    one = read_frame(frame(Kind.DATA, Lane.ITEM | MORE, 5, "/1", "/2", b"body"))
    assert one.lane == Lane.ITEM
    assert one.body.obj is one.raw


def test_the_kinds_and_flags_on_the_wire_are_these() -> None:
    assert {name: value for name, value in vars(Kind).items() if name.isupper()} == {
        "HELLO": 1,
        "PING": 2,
        "PONG": 3,
        "GOODBYE": 4,
        "CALL": 8,
        "REPLY": 9,
        "ERROR": 10,
        "CANCEL": 11,
        "PUT": 12,
        "CLOSE": 13,
        "DATA": 14,
        "CREDIT": 15,
        "LOST": 16,
    }
    assert (LANE_MASK, MORE, frames.NO_REPLY) == (0x03, 0x04, 0x08)
    assert (Lane.CALL, Lane.REPLY, Lane.ITEM, Lane.STREAM) == (0, 1, 2, 3)


def test_a_reason_is_cut_to_its_limit_and_read_whatever_it_is() -> None:
    long = "é" * REASON_SIZE_MAX
    raw = frames.encode_reason(Kind.LOST, at("/1"), at("/"), long)
    assert len(raw) == HEADER_SIZE + 4 + REASON_SIZE_MAX
    assert read_frame(raw).reason == "é" * (REASON_SIZE_MAX // 2)
    assert read_frame(frames.encode_reason(Kind.LOST, b"", b"", "x" + long)).reason[-2:] == "é\ufffd"
    assert read_frame(frames.encode_reason(Kind.GOODBYE, b"", b"", "\udc80")).reason == "?"
    assert read_frame(frame(Kind.LOST, 0, 0, "/", "/", b"y" * 5000)).reason == "y" * REASON_SIZE_MAX


# -- cuts


@pytest.mark.parametrize("cut", range(len(THREE_RAW) + 1))
def test_the_frames_do_not_depend_on_where_the_input_was_cut(cut: int) -> None:
    decoder = FrameDecoder(at("/3"))
    decoder.feed(THREE_RAW[:cut])
    found = decoded(decoder)
    decoder.feed(THREE_RAW[cut:])
    assert found + decoded(decoder) == THREE


@pytest.mark.parametrize("size", [1, 2, 7, 16, 17, 100])
def test_frames_come_out_of_pieces_of_any_size(size: int) -> None:
    decoder = FrameDecoder(b"")
    found = []
    for start in range(0, len(THREE_RAW), size):
        decoder.feed(THREE_RAW[start : start + size])
        found += decoded(decoder)
    assert found == THREE


def test_frames_not_yet_taken_are_still_there_after_the_next_feed() -> None:
    decoder = FrameDecoder(b"")
    decoder.feed(THREE_RAW)
    first = decoder.next_frame()
    assert first is not None
    assert plain_frame(first) == THREE[0]
    decoder.feed(THREE_RAW)
    assert decoded(decoder) == [*THREE[1:], *THREE]


@pytest.mark.parametrize("left", range(1, 40))
def test_an_end_in_the_middle_of_a_frame_gives_no_frame(left: int) -> None:
    raw = frame(Kind.REPLY, 1, 1, "/3/1", "/2", b"0123456789")
    decoder = FrameDecoder(b"")
    decoder.feed(raw[:-left])
    assert decoder.next_frame() is None
    decoder.feed(b"")
    assert decoder.next_frame() is None


@given(st.lists(st.binary(max_size=80), max_size=8), st.lists(st.integers(0, 600)))
def test_any_bodies_come_out_as_they_went_in(bodies: "list[bytes]", cuts: "list[int]") -> None:
    raw = b"".join(frame(Kind.DATA, 0, number, "/1", "/2", body) for number, body in enumerate(bodies))
    decoder = FrameDecoder(b"")
    found = []
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    for start, end in itertools.pairwise(edges):
        decoder.feed(raw[start:end])
        found += decoded(decoder)
    assert found == [("DATA", 0, number, "/1", "/2", body) for number, body in enumerate(bodies)]


# -- limits, judged by the header alone


@pytest.mark.parametrize("kind", range(256))
def test_every_kind_is_either_known_or_refused(kind: int) -> None:
    decoder = FrameDecoder(b"")
    decoder.feed(HEADER.pack(0, kind, 0, 0, 0, 1))
    if kind in KINDS:
        assert [one[1:] for one in decoded(decoder)] == [(0, 1, "/", "/", b"")]
    else:
        assert refusal(decoder) == "kind %d is unknown" % kind


@pytest.mark.parametrize("flags", range(256))
def test_every_flag_is_either_known_or_refused(flags: int) -> None:
    decoder = FrameDecoder(b"")
    decoder.feed(HEADER.pack(0, Kind.CALL, flags, 0, 0, 1))
    if flags & ~FLAGS_MASK:
        assert refusal(decoder) == "flags 0x%02x are unknown" % flags
    else:
        assert decoded(decoder) == [("CALL", flags, 1, "/", "/", b"")]


def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_refused_unseen() -> None:
    decoder = FrameDecoder(b"")
    body = bytes(FRAME_BODY_SIZE_MAX)
    decoder.feed(frame(Kind.PUT, 0, 1, "/", "/", body))
    assert decoded(decoder) == [("PUT", 0, 1, "/", "/", body)]
    decoder.feed(HEADER.pack(FRAME_BODY_SIZE_MAX + 1, Kind.PUT, 0, 0, 0, 1))
    assert refusal(decoder) == "a body of 262145 bytes was announced; the limit is 262144"


def test_the_limit_is_the_decoders_own() -> None:
    decoder = FrameDecoder(b"", body_size_max=3)
    decoder.feed(frame(Kind.PUT, 0, 1, "/", "/", b"abc"))
    assert decoded(decoder) == [("PUT", 0, 1, "/", "/", b"abc")]
    decoder.feed(frame(Kind.PUT, 0, 1, "/", "/", b"abcd"))
    assert refusal(decoder) == "a body of 4 bytes was announced; the limit is 3"


def test_what_is_sent_in_one_chunk_with_its_announcement_is_within_the_limit() -> None:
    assert CHUNK_SIZE + 8 <= FRAME_BODY_SIZE_MAX


def test_a_huge_announcement_is_refused_before_its_body_comes() -> None:
    decoder = FrameDecoder(b"")
    decoder.feed(HEADER.pack(0xFFFFFFFF, Kind.DATA, 0, 0, 0, 0))
    assert refusal(decoder) == "a body of 4294967295 bytes was announced; the limit is 262144"


@pytest.mark.parametrize("size", range(256))
def test_addresses_are_whole_steps_up_to_the_deepest(size: int) -> None:
    for source_size, target_size in (size, 4), (4, size):
        decoder = FrameDecoder(b"")
        decoder.feed(HEADER.pack(0, Kind.CALL, 0, source_size, target_size, 1) + bytes([1]) * (size + 4))
        if size % 4 == 0 and size <= ADDRESS_SIZE_MAX:
            found = decoder.next_frame()
            assert found is not None
            assert (len(found.source), len(found.target)) == (source_size, target_size)
        else:
            assert refusal(decoder) == "addresses of %d and %d bytes; the limit is 128, in steps of 4" % (
                source_size,
                target_size,
            )


def test_a_frame_before_a_bad_header_is_still_delivered() -> None:
    decoder = FrameDecoder(b"")
    decoder.feed(THREE_RAW + HEADER.pack(0, 99, 0, 0, 0, 0) + THREE_RAW)
    for expected in THREE:
        found = decoder.next_frame()
        assert found is not None
        assert plain_frame(found) == expected
    assert refusal(decoder) == "kind 99 is unknown"


def test_a_decoder_that_has_refused_goes_on_refusing_whatever_follows() -> None:
    decoder = FrameDecoder(b"")
    decoder.feed(HEADER.pack(0, 99, 0, 0, 0, 0))
    assert refusal(decoder) == "kind 99 is unknown"
    decoder.feed(THREE_RAW)
    assert refusal(decoder) == "kind 99 is unknown"


# -- the source check


@pytest.mark.parametrize("source", ["/3", "/3/1", "/3/4294967295/2"])
def test_a_peer_may_speak_for_itself_and_those_below_it(source: str) -> None:
    decoder = FrameDecoder(at("/3"))
    decoder.feed(frame(Kind.CALL, 0, 1, source, "/9"))
    assert decoded(decoder) == [("CALL", 0, 1, source, "/9", b"")]


@pytest.mark.parametrize("source", ["/", "/4", "/4/3", "/30", "/2/3", "/1"])
def test_a_peer_may_speak_for_nobody_else(source: str) -> None:
    # D12
    decoder = FrameDecoder(at("/3"))
    decoder.feed(frame(Kind.CALL, 0, 1, source, "/9"))
    assert refusal(decoder) == (
        "the peer at /3 sent a frame in the name of %s; it may speak only for itself and those below it" % source
    )


def test_a_forged_source_is_refused_before_the_body_comes() -> None:
    decoder = FrameDecoder(at("/3"))
    raw = frame(Kind.CALL, 0, 1, "/4", "/9", bytes(1000))
    decoder.feed(raw[: HEADER_SIZE + 7])
    assert decoder.next_frame() is None
    decoder.feed(raw[HEADER_SIZE + 7 : HEADER_SIZE + 8])
    assert refusal(decoder).startswith("the peer at /3 sent a frame in the name of /4;")


def test_the_parent_may_pass_on_what_anybody_says() -> None:
    assert plain_frames(frame(Kind.CALL, 0, 1, "/7/7", "/3")) == [("CALL", 0, 1, "/7/7", "/3", b"")]
    assert address.ROOT == b""
