"""A program that starts contexts, has them do what is hard to end, tells their processes, and then ends as it's told.

    python -m tests.trials.orphan_root KIND ENDING COUNT [HOSTNAME SSH_ARGS_AS_JSON]

It prints one line of JSON, the numbers of all processes that were started on far sides, and ends when a line comes on
its stdin; by itself where ENDING is one it does itself.
"""

import json
import os
import signal
import sys
import threading

import plasmid
from tests.real import far

ENDINGS = ("killed", "exits", "raises", "exits-in-thread", "exits-at-once", "interrupted")


def start(router: plasmid.Router, kind: str, name: str, place: "list[str]") -> "list[int]":
    """Start one context that does what `kind` says; return its processes."""
    if place:
        context = router.ssh(place[0], ssh_args=json.loads(place[1]), name=name)
    else:
        context = router.local(name=name)
    pids = context.call(far.process_ids)
    if kind == "ignores signals":
        context.call(far.ignore_signals)
    if kind == "grandchildren":
        pids += [context.call(far.start_sleeper) for _ in range(2)]
    if kind == "a command":
        command = plasmid.commands.start(
            context, ["sh", "-c", "trap '' TERM INT HUP; echo $$; while :; do sleep 9; done"]
        )
        pids.append(int(next(command)[1]))
        running.append(command)
    if kind == "native code":
        context.call_no_reply(far.hold_interpreter_lock)
    if kind == "stopped":
        context.call_no_reply(far.stop_myself)
    return pids


running: "list[object]" = []


def end(ending: str) -> None:
    """End this program."""
    if ending == "exits":
        sys.exit(3)
    if ending == "raises":
        raise RuntimeError("on purpose")
    if ending == "exits-in-thread":
        threading.Thread(target=sys.exit).start()
        sys.exit(4)
    if ending == "exits-at-once":
        os._exit(5)
    if ending == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
    signal.pause()


def main() -> None:
    """Run the program."""
    kind, ending, count, *place = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs in the background
    router = plasmid.Router()
    pids = [pid for number in range(int(count)) for pid in start(router, kind, f"c{number}", place)]
    print(json.dumps(pids), flush=True)
    sys.stdin.readline()
    end(ending)


if __name__ == "__main__":
    main()
