"""The service `plasmid.children`: a parent has this context start, or end, children of its own. `via=` is this."""

import os
from time import monotonic

from plasmid.builtin import detaching
from plasmid.connect import from_spec, travelling_spec
from plasmid.connect.starting import LOOK_S
from plasmid.core.address import child as child_address
from plasmid.core.connect_error import ConnectError
from plasmid.core.errors import CallError, Refused
from plasmid.runtime.context import Context
from plasmid.runtime.ports import guard
from plasmid.surroundings import surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict

    from plasmid.connect.connector import Connector
    from plasmid.router import Router
    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime

# What a start by way of another context may take longer than it takes there: its program goes there first.
VIA_MARGIN_S = 10.0


def start_via(router: "Router", connector: "Connector", via: Context, given_up: "Callable[[], str]") -> Context:
    """Return a new context that `via` has started. given_up: see Router.start()."""
    # The connector's own timeout counts over there and says what is wrong; this is for the way there.
    deadline = monotonic() + connector.connect_timeout + VIA_MARGIN_S
    ticket = os.urandom(8)
    asked = {"spec": travelling_spec(connector), "ticket": ticket}
    call = via.send_call("s", "plasmid.children", "start", asked, deadline=deadline)
    assert call is not None
    answered = False
    try:
        while not call.done():
            with guard:
                call.wait(monotonic() + LOOK_S)
            why = "" if call.done() else given_up()
            if why:
                raise ConnectError(connector.target, "have %s start it" % via, why)
        answered = not isinstance(call.exception(), TimeoutError)
        try:
            address = call.result()
        except ConnectError as error:
            # On its way here the line breaks between what was printed were escaped, as in any text.
            error.output = error.output.replace("\\n", "\n")
            raise
    finally:
        if not answered:
            # It may be there all the same, its address on the way to us.
            call.cancel()
            try:
                via.send_call("s", "plasmid.children", "forget", {"ticket": ticket}, no_reply=True)
            except CallError:
                pass  # it is lost, and with it what it has started
    router.runtime.names[address] = connector.name
    return Context(router.runtime, address, connector.name)


def handle(runtime: "Runtime", job: "Job") -> None:
    """Serve one call.

    start(spec, ticket) returns the new context's address, shut_down(number, wait) ends a child, and forget(ticket) ends
    the one that was started with that ticket, for a caller that has cancelled start() and may have missed its answer.
    detach(number) lets a child go on by itself; go_on() is the word of that to the child.
    """
    if not job.from_parent:
        raise Refused("", "", "only a parent may start or end the children of a context")
    if job.method == "go_on":
        detaching.go_on(runtime, job)
        return
    router = surroundings(runtime).router
    args = job.args()
    if job.method == "start":
        router.starters.run(_start, (router, job, args))
    elif job.method == "forget":
        for child in list(router.children.values()):
            if child.ticket == args["ticket"]:
                router.shut_down(child, False)
        job.reply(None)
    elif job.method == "detach":
        address = child_address(runtime.node.address, args["number"])
        job.reply(detaching.detach(Context(runtime, address), router))
    elif job.method == "shut_down":
        wanted = router.children.get(args["number"])
        if wanted is not None:
            router.shut_down(wanted, bool(args["wait"]))
        job.reply(None)
    else:
        raise Refused("", "", "plasmid.children has no method %.60r" % (job.method,))


def _start(router: "Router", job: "Job", args: "Dict[str, Any]") -> None:
    try:
        child = router.start_child(
            from_spec(args["spec"]), given_up=lambda: "it was cancelled" if job.cancelled else ""
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
        job.fail(error)
        return
    child.ticket = args["ticket"]
    # Cancelled by now, it will be forgotten by nobody else. Cancelled later, it is found by its ticket.
    if job.cancelled:
        router.shut_down(child, False)
    job.reply(child.context.address)
