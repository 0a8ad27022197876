"""A program that joins the tree of a test and does there what it is told: `python -m tests.real.joiner PATH`.

A line of JSON on standard input names one of the functions below and its arguments; the answer is a line of JSON,
["ok", value] or ["error", type, text]. It leaves at the end of its input.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import plasmid
from plasmid.core.address_text import parse
from plasmid.joining import Joined
from plasmid.service import Pool
from tests.real import far, far_joining

router: Joined
held: "dict[str, Any]" = {}


def context(address: str) -> plasmid.Context:
    """Return the context there, whoever it is."""
    return plasmid.Context(router.runtime, parse(address))


def facts() -> Any:
    """Tell who this is in the tree, and what was lent."""
    return [str(router.myself()), str(router.parent), router.authority, os.getpid()]


def call(address: str, name: str, *args: Any) -> Any:
    """Call a function of far_joining there."""
    return context(address).call(getattr(far_joining, name), *args)


def start_call(address: str, name: str, *args: Any) -> None:
    """Start such a call."""
    held["call"] = context(address).call_async(getattr(far_joining, name), *args)


def await_call() -> Any:
    """Wait for what was started."""
    return held["call"].result()


def ask(address: str, method: str, *args: Any) -> Any:
    """Call a method of far_joining.Desk there; of a generator, return the list of its items."""
    found = getattr(context(address).service(far_joining.Desk), method)(*args)
    return found if isinstance(found, (int, str, list, type(None))) else list(found)


def start_by(address: str, **options: Any) -> Any:
    """Have the context there start another one."""
    return str(router.connect("local:", via=context(address), **options))


def shut_down(address: str) -> None:
    """End the context there."""
    context(address).shutdown()


def main_function(address: str) -> Any:
    """Call a function of this program's own there."""
    return context(address).call(facts)


def contexts() -> Any:
    """Tell what the listener has started."""
    return [str(found) for found in router.contexts()]


def start_here() -> Any:
    """Start a context below this one."""
    return str(router.local())


def listen() -> Any:
    """Let others join here."""
    return router.listen("/tmp/plasmid-test-joiner/s")


def serve() -> None:
    """Have a pool here."""
    held["pool"] = Pool(router, services=[far_joining.Desk(router)], size=2)


def receive(address: str) -> Any:
    """Have the context there put values to a receiver of ours, and return them."""
    receiver = plasmid.Receiver(router)
    context(address).call(far_joining.put_numbers, receiver.to_sender(), 3)
    return [receiver.get(timeout=30) for _ in range(3)]


def leave() -> None:
    """Leave the tree."""
    router.close()


def die() -> None:
    """End without a word."""
    os._exit(1)


ACTIONS: "dict[str, Callable[..., Any]]" = {
    fn.__name__: fn
    for fn in (
        *(facts, call, start_call, await_call, ask, start_by, shut_down, main_function, contexts, start_here, listen),
        *(serve, receive, leave, die, far.add),
    )
}


def answer(line: str) -> Any:
    """Do what the line says, and return the answer."""
    name, args, options = json.loads(line)
    try:
        return ["ok", ACTIONS[name](*args, **options)]
    except Exception as error:  # noqa: BLE001 - the test wants to hear of it
        return ["error", type(error).__name__, str(error)]


def main() -> None:
    """Join, and do what comes."""
    global router
    try:
        router = plasmid.join(sys.argv[1])
    except plasmid.ConnectError as error:
        print(json.dumps(["error", error.target, error.step, error.found, error.advice]), flush=True)
        return
    with router:
        print(json.dumps(["ok", facts()]), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(line)), flush=True)


if __name__ == "__main__":
    main()
