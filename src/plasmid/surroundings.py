"""What surrounds a program in its context: its router, its parent, the root. The runtime finds it here by name."""

import threading

from plasmid.core import address as addresses
from plasmid.core.errors import ContextLost, PlasmidError
from plasmid.runtime.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple

    from plasmid.router import Router
    from plasmid.runtime.runtime import Runtime


class ExternalContext:
    """What surrounds a function that runs on a far side: `econtext` of plasmid.takes_econtext.

    master: the root. parent: the context that started this one. myself: this one. router: to start children from it.
    """

    def __init__(self, runtime: "Runtime", router: "Optional[Router]" = None) -> None:
        self._runtime = runtime
        self._router = router
        self._lock = threading.Lock()

    @property
    def router(self) -> "Router":
        """The Router of this context."""
        from plasmid.router import Router

        with self._lock:
            if self._router is None:
                self._router = Router(_runtime=self._runtime)
            return self._router

    @property
    def econtext(self) -> "ExternalContext":
        """This object."""
        return self

    @property
    def master(self) -> Context:
        """The root."""
        return Context(self._runtime, addresses.ROOT)

    @property
    def parent(self) -> "Optional[Context]":
        """The context that started this one, None at the root."""
        above = addresses.parent(self._runtime.node.address)
        return None if above is None else Context(self._runtime, above)

    @property
    def myself(self) -> Context:
        """This context."""
        return self._runtime.myself


_surroundings = {}  # type: Dict[int, Tuple[Runtime, ExternalContext]]
_surroundings_lock = threading.Lock()


def surroundings(runtime: "Runtime") -> ExternalContext:
    """Return the ExternalContext of this runtime, always the same."""
    with _surroundings_lock:
        found = _surroundings.get(id(runtime))
        if found is None:
            found = _surroundings[id(runtime)] = runtime, ExternalContext(runtime)
        return found[1]


def remember(runtime: "Runtime", router: "Router") -> None:
    """Take note of a root's router, which is there before anybody asks for it."""
    _surroundings[id(runtime)] = runtime, ExternalContext(runtime, router)


def forget(runtime: "Runtime") -> None:
    """Undo remember()."""
    del _surroundings[id(runtime)]


def forget_all() -> None:
    """Undo all of it, in a process that has no part in what is here."""
    _surroundings.clear()


def shut_down(context: Context, wait: bool) -> None:
    """End a context in order: one of ours directly, another by asking its parent."""
    runtime = context.runtime
    above = addresses.parent(context.address)
    if above is None:
        raise PlasmidError("the root can't be shut down from here; close its Router")
    if above != runtime.node.address:
        number = addresses.number_below(above, context.address)
        asked = {"number": number, "wait": wait}
        call = Context(runtime, above).send_call("s", "plasmid.children", "shut_down", asked, no_reply=not wait)
        if call is not None:
            call.result()
        return
    child = surroundings(runtime).router.child(context)
    if child is not None:
        try:
            surroundings(runtime).router.shut_down(child, wait)
        except ContextLost:
            pass


def detach(context: Context) -> int:
    """Let a context go on by itself: one of ours, or another by asking its parent. Return its process id there."""
    runtime = context.runtime
    above = addresses.parent(context.address)
    if above is None:
        raise PlasmidError("the root has no parent to be detached from")
    if above != runtime.node.address:
        number = addresses.number_below(above, context.address)
        asked = {"number": number}
        call = Context(runtime, above).send_call("s", "plasmid.children", "detach", asked)
        assert call is not None
        return call.result()  # type: ignore[no-any-return]
    from plasmid.builtin import detaching

    return detaching.detach(context, surroundings(runtime).router)
