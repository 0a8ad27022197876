"""Losses: who wants to hear that a context is lost. Behind Context.on_lost().

A context that is no child of this one is told of only where it has been spoken with; so it is spoken with once, when
somebody first asks for it.
"""

import sys
import threading

from plasmid.core import address as addresses
from plasmid.core.errors import ContextLost, NotSent
from plasmid.core.events import LinkEnded
from plasmid.core.switch import PARENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Tuple

    from plasmid.runtime.context import Call, Context
    from plasmid.runtime.runtime import Runtime

    # Called with the context and the reason.
    OnLost = Callable[[Context, str], object]

GONE = "it is gone already"

_making = threading.Lock()


class Losses:
    """Those of one runtime. wanted: who is to be told, by address. Guarded by the router lock."""

    def __init__(self, runtime: "Runtime") -> None:
        self.runtime = runtime
        self.wanted = {}  # type: Dict[bytes, List[Tuple[Context, OnLost]]]
        runtime.on_gone.append(self.gone)
        runtime.on_link.append(self._on_link)

    def add(self, context: "Context", fn: "OnLost") -> None:
        """Have fn(context, reason) called once, on a helper thread, when the context is lost; soon if it is."""
        runtime, address = self.runtime, context.address
        own = runtime.node.address
        if own == address:
            raise ValueError("a context hears nothing of its own end; see Service.on_shutdown()")
        is_child = addresses.parent(address) == own
        with runtime.lock:
            is_new = address not in self.wanted
            self.wanted.setdefault(address, []).append((context, fn))
            is_gone = is_child and addresses.number_below(own, address) not in runtime.node.links
        if runtime.loop.closed:
            self.gone(address, GONE)
        elif is_gone:
            runtime.defer(self.gone, address, GONE)
        elif is_new and not is_child:
            self._speak_with(context)

    def _speak_with(self, context: "Context") -> None:
        try:
            # No more than a sign of life. Who may not call functions there is refused, which will do.
            call = context.send_call("f", "os", "getpid", [[], {}])
        except NotSent as error:
            self.runtime.defer(self.gone, context.address, error.found)
            return
        assert call is not None
        call.when_ended(lambda: self.runtime.defer(self._take_answer, call))

    def _take_answer(self, call: "Call") -> None:
        error = call.exception(0)
        if isinstance(error, (NotSent, ContextLost)):
            # What else was lost with it, its own loss says.
            self.gone(call.context.address, error.found, False)

    def gone(self, address: bytes, reason: str, with_all_below: bool = True) -> None:
        """Tell those who wanted to hear of the context at `address`, or of one below it. Not for the loop's thread."""
        runtime = self.runtime
        with runtime.lock:
            lost = [each for each in self.wanted if each == address or (with_all_below and each.startswith(address))]
            told = {each: self.wanted.pop(each) for each in lost}
        if not told:
            return
        end = runtime.explain_loss(address) if runtime.explain_loss is not None else ""
        if end and end not in reason:
            reason += " (%s)" % end
        for each, those in told.items():
            for context, fn in those:
                why = reason if each == address else "%s was lost: %s" % (addresses.text(address), reason)
                if runtime.loop.closed:  # and the helpers are ending
                    _call(fn, context, why)
                else:
                    runtime.defer(fn, context, why)

    def _on_link(self, event: "Any") -> None:
        """With the parent all is lost that isn't below this context. Under the router lock."""
        if isinstance(event, LinkEnded) and event.link.id == PARENT:
            own = self.runtime.node.address
            for address in self.wanted:
                if not address.startswith(own):
                    self.runtime.defer(self.gone, address, "the parent was lost: " + event.reason)


def on_lost(context: "Context", fn: "OnLost") -> None:
    """Have fn(context, reason) called when the context is lost."""
    runtime = context.runtime
    with _making:
        owners = [getattr(one, "__self__", None) for one in runtime.on_gone]
        losses = next((owner for owner in owners if isinstance(owner, Losses)), None) or Losses(runtime)
    losses.add(context, fn)


def _call(fn: "OnLost", context: "Context", reason: str) -> None:
    try:
        fn(context, reason)
    except BaseException as error:  # noqa: BLE001 - as on a helper thread: shown, and the next is called
        sys.excepthook(type(error), error, error.__traceback__)
