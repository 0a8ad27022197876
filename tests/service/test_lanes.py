"""Whose request is next among the callers of one service, and who makes room when there is none."""

import pytest

from plasmid.core import address
from plasmid.core.address_text import parse
from plasmid.service.invokers import Request
from plasmid.service.lanes import Lanes, lane_of
from plasmid.testing import FakeJob


def request(name: str, lane: str = "a") -> Request:
    return Request(FakeJob(name), lane.encode())


def names(lanes: Lanes) -> str:
    return " ".join(str(one.job.name) for one in lanes.pop_many(len(lanes)))


# S21
def test_callers_take_turns_and_each_ones_requests_keep_their_order() -> None:
    lanes = Lanes(keeps_order=False)
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        lanes.push(request(name, name[0]))
    assert len(lanes) == 6
    assert names(lanes) == "a1 b1 c1 a2 b2 a3"
    assert len(lanes) == 0


# S8
def test_where_the_order_of_arrival_counts_it_is_kept() -> None:
    lanes = Lanes(keeps_order=True)
    order = ("a1", "a2", "b1", "a3", "c1", "b2")
    for name in order:
        lanes.push(request(name, name[0]))
    assert names(lanes) == " ".join(order)


@pytest.mark.parametrize("keeps_order", [True, False])
def test_who_has_the_most_waiting_makes_room_for_who_has_fewer(keeps_order: bool) -> None:
    lanes = Lanes(keeps_order)
    for name in ("a1", "a2", "a3", "a4", "b1"):
        lanes.push(request(name, name[0]))
    squeezed = [lanes.squeeze(b"c"), lanes.squeeze(b"b"), lanes.squeeze(b"b"), lanes.squeeze(b"a")]
    assert [one and one.job.name for one in squeezed] == ["a4", "a3", None, None]
    assert names(lanes) == ("a1 a2 b1" if keeps_order else "a1 b1 a2")
    assert lanes.squeeze(b"a") is None


@pytest.mark.parametrize(
    ("source", "here", "lane"),
    [
        ("/", "/1", "/"),
        ("/1", "/1", "/1"),
        ("/1/5", "/1", "/1/5"),
        ("/1/5/2/3", "/1", "/1/5"),
        ("/2", "/1", "/2"),
        ("/2/7/9", "/1", "/2"),
        ("/1/2/3", "/1/4/4", "/1/2"),
        ("/", "/", "/"),
        ("/3", "/", "/3"),
        ("/3/1", "/", "/3"),
    ],
)
def test_all_that_stands_below_one_neighbour_shares_a_lane(source: str, here: str, lane: str) -> None:
    assert address.text(lane_of(parse(source), parse(here))) == lane
