"""Send modules to contexts before anything there needs them, so that the first call doesn't wait for them."""

import sys

from plasmid.runtime import importer, main, missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List

    from plasmid.runtime.context import Context


def preload(contexts: "Iterable[Context]", *names: str) -> None:
    """Have modules, and what they import, sent to each of the contexts, at once; nothing is imported there.

    Only a parent may. Raises ImportError that says which couldn't be sent where, and why, once all have answered; or
    how a call ended that got no answer.
    """
    calls = []
    for context in contexts:
        for name in names:
            context.runtime.permit(context.address, name)
        calls.append((context, context.send_call("f", __name__, "fetch", [[list(names)], {}])))
    failures = []
    for context, call in calls:
        assert call is not None
        failures += ["%s to %s: %s" % (name, context, why) for name, why in call.result().items()]
    if failures:
        raise ImportError("can't send " + "; ".join(failures))


def fetch(names: "List[str]") -> "Dict[str, str]":
    """Far side: ask the parent for those modules that aren't here; return which can't be had, and why."""
    own = importer.current
    if own is None or main.runtime is None or missing.current is None:
        return {}
    wanted = [name for name in names if name not in own.modules and name not in sys.modules]
    if not wanted:
        return {}
    # All of it, and not piece by piece as an import would.
    reply = main._ask_parent(main.runtime)(wanted)
    own.take(reply)
    for name in list(reply["refused"]) + reply["missing"]:
        missing.current.keep_absent(name)
    why = dict(reply["refused"])  # type: Dict[str, str]
    why.update((name, "there is no such module") for name in reply["missing"])
    return {name: why[name] for name in wanted if name in why}  # of others it is said ahead
