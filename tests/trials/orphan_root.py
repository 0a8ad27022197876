"""A program that starts contexts, has them do what is hard to end, tells their processes, and then ends as it's told.

    python -m tests.trials.orphan_root KIND ENDING COUNT NAME URL OPTIONS_AS_JSON

Its contexts are reached by URL, and called NAME0, NAME1 and so on. It prints one line of JSON, the numbers that all
processes which were started on far sides have there, and ends when a line comes on its stdin; by itself where ENDING is
one it does itself.
"""

import json
import os
import signal
import sys
import threading

import plasmid
from tests.real import far

ENDINGS = ("killed", "exits", "raises", "exits-in-thread", "exits-at-once", "interrupted")


def occupy(context: plasmid.Context, kind: str) -> "list[int]":
    """Have a context do what `kind` says; return the processes that this takes there, besides its own."""
    if kind == "ignores signals":
        context.call(far.ignore_signals)
    if kind == "grandchildren":
        return [context.call(far.start_sleeper) for _ in range(2)]
    if kind == "a command":
        command = plasmid.commands.start(
            context, ["sh", "-c", "trap '' TERM INT HUP; echo $$; while :; do sleep 9; done"]
        )
        running.append(command)
        return [int(next(command)[1])]
    if kind == "native code":
        context.call_no_reply(far.hold_interpreter_lock)
    if kind == "stopped":
        context.call_no_reply(far.stop_myself)
    return []


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
    kind, ending, count, name, url, options = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs in the background
    router = plasmid.Router()
    contexts = [router.connect(url, name=f"{name}{number}", **json.loads(options)) for number in range(int(count))]
    pids = [pid for context in contexts for pid in context.call(far.process_ids)]
    # Once all are there: one that is stopped, or holds the interpreter lock, is given up after 35 s.
    for context in contexts:
        pids += occupy(context, kind)
    if kind == "client stopped":
        for child in router.children.values():
            os.kill(child.process.pid, signal.SIGSTOP)
    print(json.dumps(pids), flush=True)
    sys.stdin.readline()
    end(ending)


if __name__ == "__main__":
    main()
