"""What a context says of its services, to its parents."""

from typing import Any

import pytest

import plasmid
from plasmid.core.errors import Refused
from plasmid.service import AllowAny, AllowNames, AllowParents, Pool, Service, expose, no_reply
from plasmid.service.directory import Directory, ServiceInfo, described
from plasmid.testing import FakeRouter


class Disk(Service):
    """Watch the disks.

    In two lines.
    """

    handle = 77

    @expose(AllowParents())
    def free(self, msg, path: str = "/", *, unit: "int | None" = None, **rest: int) -> "dict[str, int]":  # type: ignore[no-untyped-def]
        """Return how much is free."""
        return {}

    @expose(AllowAny())
    @expose(~AllowNames("web"))
    @no_reply()
    def note(self, text): ...  # type: ignore[no-untyped-def]

    def hidden(self) -> None: ...


class Older(Service):
    handle = 500

    def dispatch(self, args: Any, msg: Any) -> Any: ...


def test_a_parent_gets_names_methods_signatures_docstrings_and_policies(router: plasmid.Router) -> None:
    disk = Disk(router)
    with Pool(router, [disk, Older(router)]) as pool:
        pool.add(disk, name="disks")
        found = router.myself().services()
    assert [(one.names, one.class_name, one.doc, one.invoker) for one in found] == [
        (
            (Disk.name(), 77, "disks"),
            Disk.name(),
            "Watch the disks.\n\nIn two lines.",
            "plasmid.service.invokers.Invoker",
        ),
        ((Older.name(), 500), Older.name(), "", "plasmid.service.invokers.Invoker"),
    ]
    methods = [(one.name, one.signature, one.doc, one.kind, one.policies, one.is_no_reply) for one in found[0].methods]
    assert methods == [
        (
            "free",
            "free(path: str = '/', *, unit: int | None = None, **rest: int) -> dict[str, int]",
            "Return how much is free.",
            "a plain method",
            ("AllowParents()",),
            False,
        ),
        ("note", "note(text)", "", "a plain method", ("AllowAny()", "~AllowNames('web')"), True),
    ]
    (dispatch,) = found[1].methods
    assert dispatch.name is None
    assert dispatch.signature == "dispatch(args: Any) -> Any"
    assert repr(found[0]) == f"<ServiceInfo {Disk.name()} with 2 methods>"


def test_only_a_parent_is_told() -> None:
    router = FakeRouter("/1")
    with Pool(router, [Disk(router)]):
        assert router.submit(Directory, "describe", source="/").result()[0]["names"] == [Disk.name(), 77]
        error = router.submit(Directory, "describe", source="/2").exception()
    assert isinstance(error, Refused)
    assert "AllowParents() doesn't allow it" in str(error)


def test_a_context_that_describes_itself_badly_is_an_error() -> None:
    class Hostile:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def __str__(self) -> str:
            return "web (/2)"

        def call_service(self, service: Any, method: str) -> Any:
            return self.answer

    from plasmid.service.directory import services_of

    answers: list[Any] = [5, [5], [{}], {"names": 1}]
    for answer in answers:
        with pytest.raises(plasmid.ProtocolError, match="it doesn't describe its services as it should"):
            services_of(Hostile(answer))


def test_what_is_said_is_plain_data() -> None:
    router = FakeRouter()
    with Pool(router, [Disk(router)]):
        assert isinstance(ServiceInfo(described(router.jobs.pool.active()[0][0], ["a"])), ServiceInfo)
