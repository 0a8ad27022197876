"""Faults that a random world showed, each as small as it can be. Seeds change their meaning; these don't."""

from plasmid.core.flow import CREDIT_INITIAL
from tests.core.wire import Tree, at


def test_a_long_call_without_reply_that_is_refused_leaves_nothing_behind_at_its_sender() -> None:
    tree = Tree("/", "/1")
    node = tree.nodes["/1"]
    node.calls.call(at("/7"), b"head", [bytes(2 * CREDIT_INITIAL)], tree.clock.now, no_reply=True)
    tree.run()
    assert node.switch.outgoing == {}
    assert tree.link("/1", "/").outbox.flows_size == 0


def test_a_short_call_without_reply_that_is_refused_is_not_answered() -> None:
    tree = Tree("/", "/1")
    tree.nodes["/1"].calls.call(at("/7"), b"head", [b"payload"], tree.clock.now, no_reply=True)
    tree.run()
    assert tree.sent("/", "/1") == []
