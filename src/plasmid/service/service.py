"""Service: the class that users derive from.

A subclass says with @expose what others may call; the table is made when the class is. Which pool serves it and which
thread runs a call is no business of its methods.
"""

from plasmid.service.invokers import NO_REPLY, Invoker, SerializedInvoker, current_job
from plasmid.service.methods import Method, arg_spec, expose, idempotent, make_table, no_reply
from plasmid.service.policy import AllowParents, Policy, checked_policies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple, Type

    from plasmid.router import Router
    from plasmid.runtime.context import Context
    from plasmid.runtime.select import Event, Select
    from plasmid.service.interfaces import Message
    from plasmid.service.replies import Reply
    from plasmid.service.selects import ServiceSelect

__all__ = ["NO_REPLY", "Invoker", "SerializedInvoker", "Service", "arg_spec", "expose", "idempotent", "no_reply"]


class Service:
    """Base of all services.

        class Disk(plasmid.Service):
            @plasmid.expose(plasmid.AllowParents())
            def free_bytes(self, path: str = "/") -> int:
                ...

    One object serves all calls, up to the size of the pool at once, so methods guard what they share; or set
    `invoker_class = SerializedInvoker`. The older form, `handle`, `required_args` and dispatch(), works as well.
    """

    # A name of its own for the service, besides name(); the older form uses a number.
    handle = None  # type: Any
    # What dispatch() needs, by name: types as in @arg_spec.
    required_args = {}  # type: Dict[str, Any]
    # Who may call dispatch(). All must allow; with none, nobody may.
    policies = (AllowParents(),)  # type: Tuple[Policy, ...]
    # Bytes that the arguments of one call may be; 0 leaves it to the limits that hold for all calls.
    max_message_size = 0
    invoker_class = Invoker  # type: Type[Invoker]

    # The invoker of this object, once it is in a pool: `self.invoker.forget(key)`.
    invoker = None  # type: Any
    _select = None  # type: Optional[ServiceSelect]
    # What can be called, by name; dispatch() under None. Made anew for each subclass.
    exposed = {}  # type: Dict[Optional[str], Method]

    def __init__(self, router: "Any") -> None:
        self.router = router  # type: Router

    def __init_subclass__(cls, **kwargs: "Any") -> None:
        super().__init_subclass__(**kwargs)
        checked_policies(cls.policies)
        cls.exposed = make_table(cls, Service)

    @classmethod
    def name(cls) -> str:
        """Return the name that the service is called by: `module.Class`."""
        return "%s.%s" % (cls.__module__, cls.__qualname__)

    @property
    def caller(self) -> "Context":
        """The context whose call runs in this thread. Raises PlasmidError where none does."""
        return current_job().caller

    @property
    def select(self) -> "Select":
        """The receivers of this service: a Select whose messages go to on_message_received().

        add() and remove() receivers, calls, latches and other selects at any time, from any thread; they stay until
        they have ended. Messages are taken as soon as the service is in a pool.
        """
        if self._select is None:
            from plasmid.service.selects import ServiceSelect, making

            with making:
                if self._select is None:
                    self._select = ServiceSelect(self)
            self._select.join()
        return self._select

    def watch_select(self) -> None:
        """Have the pool that this service was just put into serve its select, if it has one."""
        if self._select is not None:
            self._select.join()

    def reply_later(self) -> "Reply":
        """Return the handle by which the call that runs in this thread can be answered later, by any thread.

        The method returns NO_REPLY then. If the handle is dropped unused, the caller gets an error.
        """
        from plasmid.service.replies import Reply

        return Reply(current_job())

    def dispatch(self, args: "Any", msg: "Message") -> "Any":
        """Serve a call of the older form, one that names no method. Override it; what it returns is the answer."""
        raise NotImplementedError("%s defines no dispatch(args, msg)" % type(self).__name__)

    def on_message_received(self, event: "Event") -> None:
        """Take a message of one of the receivers in `select`: event.data from event.source. Override it.

        Called on a pool thread, once for each message, and for as many at once as the invoker allows calls; so in the
        order of their arrival only under a SerializedInvoker.
        """

    def on_message_failed(self, event: "Event") -> None:
        """Take the exception event.data that a receiver in `select` gave instead of a message. Override it.

        ReceiverClosed: one of its senders was closed or lost, or it was closed itself; nothing is done about that here.
        Other errors, of a call that failed or a value that can't be read, are logged.
        """
        from plasmid.service.backlog import report_failed

        report_failed(self, event)

    def on_shutdown(self) -> None:
        """Clean up. Called once, after the last thread of the pool has ended. Override it."""
