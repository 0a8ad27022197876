"""Policies decide by the verified source of a message alone, and combine."""

from typing import Any

import pytest

from plasmid.service.policy import (
    AllowAny,
    AllowContexts,
    AllowNames,
    AllowParents,
    AllowSubtree,
    Policy,
    caller_text,
    checked_policies,
    objection,
)
from plasmid.testing import FakeContext, FakeJob


def allows(policy: Policy, source: str, name: str = "", here: str = "/1") -> bool:
    job = FakeJob("Disk", "free", source=source, here=here, caller_name=name)
    return objection([policy], None, job) is None


class Says(Policy):
    """Answers with whatever it was given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def is_authorized(self, service: Any, msg: Any) -> bool:
        return self.answer  # type: ignore[no-any-return]


# S23
@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (AllowParents(), ["/", "/1"]),
        (AllowAny(), ["/", "/1", "/1/2", "/2", "/12"]),
        (AllowSubtree("/1"), ["/1", "/1/2"]),
        (AllowSubtree(FakeContext(b"\0\0\0\2")), ["/2"]),
        (AllowSubtree(b""), ["/", "/1", "/1/2", "/2", "/12"]),
        (AllowContexts("/1/2", FakeContext(b"\0\0\0\2")), ["/1/2", "/2"]),
        (AllowContexts(), []),
        (AllowParents() & AllowContexts("/1", "/2"), ["/1"]),
        (AllowParents() | AllowContexts("/2"), ["/", "/1", "/2"]),
        (~AllowParents(), ["/1/2", "/2", "/12"]),
        (~(AllowParents() | AllowSubtree("/1")), ["/2", "/12"]),
        (~~AllowContexts("/12"), ["/12"]),
    ],
    ids=repr,
)
def test_each_policy_allows_exactly_whom_it_names(policy: Policy, allowed: "list[str]") -> None:
    assert [source for source in ("/", "/1", "/1/2", "/2", "/12") if allows(policy, source)] == allowed


def test_names_are_those_that_this_side_knows_the_callers_by() -> None:
    assert allows(AllowNames("web1", "web2"), "/7", name="web2")
    assert not allows(AllowNames("web1", "web2"), "/7", name="web")


def test_the_second_policy_of_a_pair_is_asked_only_if_it_matters() -> None:
    assert allows(AllowAny() | Says("never asked"), "/5")
    assert not allows(~AllowAny() & Says("never asked"), "/5")


@pytest.mark.parametrize("answer", [None, 1, "yes", object()])
@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: ~p, lambda p: p & AllowAny(), lambda p: ~AllowAny() | p])
def test_an_answer_that_is_no_bool_is_an_error_wherever_the_policy_stands(answer: object, wrap: Any) -> None:
    with pytest.raises(TypeError, match=r"answered with .*, not with True or False"):
        allows(wrap(Says(answer)), "/")


def test_the_first_policy_that_objects_is_named() -> None:
    first, second = AllowContexts("/2"), AllowContexts("/3")
    job = FakeJob("Disk", source="/2", here="/1")
    assert objection([first, second], None, job) is second
    assert objection([], None, job) is None


def test_policies_read_as_they_are_written() -> None:
    policy = (AllowParents() | AllowNames("a", "b")) & ~AllowSubtree("/3/1") & AllowContexts("/2", "/1")
    assert repr(policy) == (
        "(((AllowParents() | AllowNames('a', 'b')) & ~AllowSubtree('/3/1')) & AllowContexts('/1', '/2'))"
    )


def test_a_policy_class_in_place_of_an_object_is_refused_with_a_hint() -> None:
    with pytest.raises(TypeError) as error:
        checked_policies([AllowParents])
    assert str(error.value) == f"a policy is needed here, not {AllowParents!r}; write AllowParents()"


@pytest.mark.parametrize("place", [None, 3, b"abc", object()])
def test_what_is_no_context_and_no_address_is_refused(place: Any) -> None:
    with pytest.raises(TypeError, match="a Context or an address is needed here"):
        AllowSubtree(place)


def test_a_callers_name_is_escaped_and_cut_in_errors() -> None:
    job = FakeJob("Disk", source="/2", caller_name="a\x1b[31m\n" + "x" * 200)
    assert caller_text(job) == "a\\x1b[31m\\n" + "x" * 69 + " (/2)"
    assert caller_text(FakeJob("Disk", source="/2")) == "/2"
