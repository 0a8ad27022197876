"""The service `plasmid.children`: a parent has this context start, or end, children of its own. `via=` is this."""

from plasmid.connect import from_spec
from plasmid.core.errors import Refused
from plasmid.router import surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime


def handle(runtime: "Runtime", job: "Job") -> None:
    """Serve one call: start(spec) returns the new context's address, shut_down(number, wait) ends a child."""
    if not job.from_parent:
        raise Refused("", "", "only a parent may start or end the children of a context")
    router = surroundings(runtime).router
    args = job.args()
    if job.method == "start":
        job.reply(router.start_child(from_spec(args["spec"])).context.address)
    elif job.method == "shut_down":
        child = router.children.get(args["number"])
        if child is not None:
            router.shut_down(child, bool(args["wait"]))
        job.reply(None)
    else:
        raise Refused("", "", "plasmid.children has the methods start and shut_down, no %.60r" % (job.method,))
