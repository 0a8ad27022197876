"""What is below one child leaves room for its neighbours: a share of the room, and bodies that stop are given up."""

from plasmid.core import values
from plasmid.core.flow import CREDIT_INITIAL, RECEIVE_QUOTA, WAITING_MAX
from plasmid.core.frames import MORE, Kind, Lane
from plasmid.core.node import TICK_S
from plasmid.core.relay import GROWTH_MIN, PRESSED_MAX, STALLED_MAX
from tests.core.wire import Tree, first_body, frame

# As large as waits for nothing but room.
TOTAL = CREDIT_INITIAL + 1


def begin(tree: Tree, source: str, id: int, total: int = TOTAL) -> None:
    """Have the root take the beginning of a long call that comes from `source` by way of /1."""
    tree.feed("/", "/1", frame(Kind.CALL, MORE, id, source, "/", first_body(total, b"x")))


def refusals(tree: Tree) -> "list[tuple[str, str]]":
    """Return whom the root has refused something since last asked, and why."""
    tree.write("/", "/1")
    tree.run()
    found = [one for one in tree.sent("/", "/1") if one[0] == "ERROR"]
    return [(target, values.decode(body)[1]) for _, _, _, _, target, body in found]


def go_on(tree: Tree, seconds: float) -> None:
    """Let time pass, with all links alive."""
    for _ in range(int(seconds / TICK_S)):
        tree.pass_time(TICK_S)
        tree.run()


def test_a_context_that_begins_bodies_without_end_leaves_room_for_its_neighbours() -> None:
    # D9
    tree = Tree("/", "/1", "/1/1", "/1/2")
    for id in range(1000):
        begin(tree, "/1/1", id)
    full = "more long bodies from below /1/1 are on their way than is its share"
    told = refusals(tree)
    assert set(told) == {("/1/1", full)}
    inbox = tree.link("/", "/1").inbox
    assert WAITING_MAX // 2 <= len(inbox.waiting) < 3 * WAITING_MAX // 4
    # One that it invents below itself has the same share.
    begin(tree, "/1/1/7", 1000)
    assert refusals(tree) == [("/1/1/7", full)]
    # Its neighbour's long call waits, and goes through, whole, when what was begun and never went on is given up.
    tree.call("/1/2", "/", bytes(1_000_000))
    tree.run()
    assert tree.told("/") == []
    go_on(tree, 3 * STALLED_MAX * TICK_S)
    assert [event[0] for event in tree.told("/")] == ["CallArrived"]
    assert set(refusals(tree)) == {("/1/1", f"a body stopped at 1 of its {TOTAL} bytes")}


def test_who_was_refused_may_try_again_once_there_is_room() -> None:
    tree = Tree("/", "/1", "/1/1")
    for id in range(200):
        begin(tree, "/1/1", id)
    assert refusals(tree)
    for id in range(200):
        tree.feed("/", "/1", frame(Kind.CANCEL, 0, id, "/1/1", "/"))
    go_on(tree, TICK_S)
    begin(tree, "/1/1", 1000)
    assert refusals(tree) == []


def test_a_body_that_stops_is_given_up_and_its_sender_told() -> None:
    # D2
    tree = Tree("/", "/1", "/1/1")
    begin(tree, "/1/1", 7)
    inbox = tree.link("/", "/1").inbox
    assert inbox.held == TOTAL
    go_on(tree, (STALLED_MAX + 1) * TICK_S)
    assert (inbox.held, refusals(tree)) == (TOTAL, [])
    go_on(tree, TICK_S)
    assert inbox.held == 0
    assert refusals(tree) == [("/1/1", f"a body stopped at 1 of its {TOTAL} bytes")]


def test_a_body_that_goes_on_now_and_then_is_not_given_up() -> None:
    tree = Tree("/", "/1", "/1/1")
    begin(tree, "/1/1", 7)
    for _ in range(10):
        go_on(tree, STALLED_MAX * TICK_S)
        tree.feed("/", "/1", frame(Kind.DATA, MORE | Lane.CALL, 7, "/1/1", "/", b"x"))
    assert (tree.link("/", "/1").inbox.held, refusals(tree)) == (TOTAL, [])


def test_a_body_that_waits_for_room_is_not_given_up() -> None:
    tree = Tree("/", "/1")
    begin(tree, "/1", 1, RECEIVE_QUOTA)
    begin(tree, "/1", 2, RECEIVE_QUOTA)
    inbox = tree.link("/", "/1").inbox
    assert len(inbox.waiting) == 1
    for _ in range(2 * STALLED_MAX):
        go_on(tree, TICK_S)
        tree.feed("/", "/1", frame(Kind.DATA, MORE | Lane.CALL, 1, "/1", "/", bytes(GROWTH_MIN)))
    assert (len(inbox.assemblies), refusals(tree)) == (2, [])


def test_an_answer_that_stops_ends_its_call() -> None:
    # D2
    tree = Tree("/", "/1")
    call = tree.call("/", "/1")
    tree.run()
    tree.feed("/", "/1", frame(Kind.REPLY, MORE | Lane.REPLY, call.id, "/1", "/", first_body(TOTAL, b"x")))
    go_on(tree, (STALLED_MAX + 2) * TICK_S)
    ((*_, error),) = [event for event in tree.told("/") if event[0] == "CallEnded"]
    assert error[:2] == ("ProtocolError", f"a body stopped at 1 of its {TOTAL} bytes")
    assert tree.link("/", "/1").replies.held == 0


# As large as what a child may ask for on its own account.
LONGEST = RECEIVE_QUOTA


def dribble(tree: Tree, source: str, ids: "list[int]", ticks: int, size: int) -> None:
    """Have so many bytes come of each of these bodies, each time that links are looked at."""
    for _ in range(ticks):
        for id in ids:
            tree.feed("/", "/1", frame(Kind.DATA, MORE | Lane.CALL, id, source, "/", bytes(size)))
        go_on(tree, TICK_S)


def test_small_calls_go_through_though_a_neighbour_has_filled_the_room_with_long_ones() -> None:
    # D9
    tree = Tree("/", "/1", "/1/1", "/1/2")
    begin(tree, "/1/1", 1, LONGEST)
    assert tree.link("/", "/1").inbox.held == RECEIVE_QUOTA
    tree.call("/1/2", "/", b"small")
    tree.run()
    assert [event[0] for event in tree.told("/")] == ["CallArrived"]
    assert tree.told("/1/2") == []


def test_who_sends_just_enough_keeps_his_neighbours_waiting_for_no_longer_than_a_bound() -> None:
    # D9
    tree = Tree("/", "/1", "/1/1", "/1/2")
    for id in range(1, 4):
        begin(tree, "/1/1", id, LONGEST)
    tree.call("/1/2", "/", bytes(1_000_000))
    tree.run()
    inbox = tree.link("/", "/1").inbox
    assert [body.first.source[-1] for body in inbox.waiting] == [1, 1, 2]
    # While the first comes drop by drop, those of one who has nothing yet go ahead of the others.
    dribble(tree, "/1/1", [1], 1, GROWTH_MIN)
    assert [body.first.source[-1] for body in inbox.waiting] == [2, 1, 1]
    dribble(tree, "/1/1", [1], STALLED_MAX - 1, GROWTH_MIN)
    assert (tree.told("/"), refusals(tree)) == ([], [])
    dribble(tree, "/1/1", [1], 1, GROWTH_MIN)
    size = 1 + (STALLED_MAX + 1) * GROWTH_MIN
    assert refusals(tree) == [("/1/1", f"a body stopped at {size} of its {LONGEST} bytes")]
    tree.run()
    assert [event[0] for event in tree.told("/")] == ["CallArrived"]
    # Among those that are left nobody waits for a neighbour.
    dribble(tree, "/1/1", [2], PRESSED_MAX + 2 * STALLED_MAX, GROWTH_MIN)
    assert refusals(tree) == []


def test_who_keeps_up_is_not_given_up_while_his_neighbours_wait() -> None:
    tree = Tree("/", "/1", "/1/1", "/1/2")
    begin(tree, "/1/1", 1, LONGEST)
    tree.call("/1/2", "/", bytes(1_000_000))
    tree.run()
    dribble(tree, "/1/1", [1], PRESSED_MAX, LONGEST // (PRESSED_MAX + STALLED_MAX))
    assert (len(tree.link("/", "/1").inbox.assemblies), refusals(tree)) == (2, [])


def test_a_child_of_ones_own_is_not_hurried_for_the_sake_of_those_below_it() -> None:
    tree = Tree("/", "/1", "/1/2")
    begin(tree, "/1", 1, LONGEST)
    tree.call("/1/2", "/", bytes(1_000_000))
    tree.run()
    dribble(tree, "/1", [1], PRESSED_MAX + 2 * STALLED_MAX, GROWTH_MIN)
    assert (len(tree.link("/", "/1").inbox.assemblies), refusals(tree)) == (2, [])
