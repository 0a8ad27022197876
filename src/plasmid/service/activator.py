"""Activator: brings a service to life when somebody calls a name that nobody serves yet.

Runs on a pool thread that doesn't count towards the size of the pool, so a slow import delays only those who call
that very service.
"""

import sys

from plasmid.core.errors import Refused
from plasmid.service.invokers import attempt, call_text
from plasmid.service.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Type, Union

    from plasmid.service.interfaces import Message

NAME_SIZE_MAX = 512


class Activator:
    """Finds services by `module.Class` and lets only parents start them. Override its methods for other schemes."""

    def is_permitted(self, service_name: "Union[str, int]", msg: "Message") -> bool:
        """Return True if the sender of `msg` may have the service started. May be called at any time by any thread."""
        return msg.from_parent

    def activate(self, pool: "Any", service_name: "Union[str, int]", msg: "Message") -> Service:
        """Return the service object for a name: a new one, or one of the pool's. Raise Refused if there is none."""
        cls = self.find(service_name)
        return cls(pool.router)

    def find(self, service_name: "Union[str, int]") -> "Type[Service]":
        """Import and return the service class that is called `service_name`. Raises Refused on whatever is none."""
        if not isinstance(service_name, str):
            raise Refused(
                "service %d" % service_name, "", "no service has this number here; only names can be looked up"
            )
        steps = service_name.split(".")
        shown = ascii(service_name)[1:-1][:120]
        if len(service_name) > NAME_SIZE_MAX or len(steps) < 2 or not all(step.isidentifier() for step in steps):
            hint = "; a class inside a function can't be imported" if "<locals>" in service_name else ""
            raise Refused(shown, "", "this is not the name of a class, module.Class" + hint)
        found = _imported(steps, shown)
        if not isinstance(found, type) or not issubclass(found, Service) or found is Service:
            raise Refused(shown, "", "this is no service: it isn't a class derived from plasmid.Service")
        return found


def _imported(steps: "list[str]", shown: str) -> "Any":
    """Return the object that the dotted name means, from the longest part of it that is a module."""
    for count in range(len(steps) - 1, 0, -1):
        module_name = ".".join(steps[:count])
        try:
            __import__(module_name)
        except ModuleNotFoundError as error:
            # Of pkg.mod.Outer.Inner, pkg.mod.Outer is no module. A module that lacks one of its own imports is
            # another matter.
            if count > 1 and error.name == module_name:
                continue
            raise Refused(shown, "", "importing %s failed: %s" % (module_name, error)) from error
        # A far side's `__main__` is a stand-in until somebody wants something of it; then the real one takes its place.
        getattr(sys.modules[module_name], steps[count], None)
        found = sys.modules[module_name]  # type: Any
        for step in steps[count:]:
            # Only what the module or class defines itself: no attribute made up on the way, nothing inherited.
            found = vars(found).get(step) if isinstance(found, (type, type(sys))) else None
        return found
    return None


def activated(pool: "Any", job: "Message") -> Service:
    """Return the service that `job` calls, brought to life by the activator. Raises Refused that says why not."""
    service, error = attempt(pool.activator.activate, pool, job.name, job)
    if error is None and isinstance(service, Service):
        return service
    if isinstance(error, Refused):
        raise error
    if error is None:
        found = "%s.activate() returned a %s, not a service" % (type(pool.activator).__name__, type(service).__name__)
    else:
        found = "starting the service failed: %s: %s%s" % (type(error).__name__, error, _place(error))
    raise Refused(call_text(job), "", found) from error


def _place(error: BaseException) -> str:
    """Return where an error was raised, as ` (file, line 3)`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else " (%s, line %d)" % (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
