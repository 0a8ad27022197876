"""What takes too long for `make test` of what a hostile side may try: a race of links, and a crowd of hostile children.

    python -m tests.trials.hostile [TRIES [CHILDREN]]      1,000,000 tries to slip a link in; 500 hostile children

The children come while this process may have 64 descriptors: each breaks the protocol in one way or another, or floods.
All the while an honest sibling calls. Ends with status 1 if a try led outside, or the sibling noticed anything.
"""

import collections
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import plasmid
from plasmid.builtin.files import FileService
from tests.hostile import race
from tests.hostile.raw_child import RawChild, Scene
from tests.real import leftovers

TRIES = 1_000_000
CHILDREN = 500
DESCRIPTORS = 64
AT_ONCE = 12
ATTACKS = (
    *("forged_source", "loss_of_a_sibling", "garbage", "too_large", "hello_twice", "goodbye_at_once", "garbage_first"),
    *("hello_in_anothers_name", "hello_and_goodbye", "announced_bodies", "refused_calls", "pings", "silent"),
)


def run_race(tries: int) -> bool:
    """Race for a file's name and for its folder's; return whether nothing outside was ever opened."""
    found: collections.Counter[str] = collections.Counter()
    with plasmid.Router() as router:
        for swaps_folder in True, False:
            with tempfile.TemporaryDirectory(prefix="plasmid-race-") as folder:
                found.update(race.run(FileService(router), Path(folder) / "race", swaps_folder, tries // 2))
    print(f"{sum(found.values())} tries: " + ", ".join(f"{count} {name}" for name, count in sorted(found.items())))
    return set(found) == race.CORRECT_OUTCOMES


def run_crowd(count: int) -> bool:
    """Have so many hostile children come, some at once; return whether the sibling noticed nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ends: collections.Counter[str] = collections.Counter()
    choose = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="plasmid-crowd-") as folder, plasmid.Router(name="root") as router:
        played = Scene(router, Path(folder) / "report")
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
        there: collections.deque[plasmid.Context] = collections.deque()
        slowest_s = 0.0
        try:
            for _ in range(count):
                attack = choose.choice(ATTACKS)
                try:
                    context = router.start(RawChild(attack, Path(folder) / "report"))
                    context.send_call("s", "go", None, {}, no_reply=True)
                    there.append(context)
                    ends["connected"] += 1
                except (plasmid.ConnectError, plasmid.NotSent) as error:
                    ends[type(error).__name__] += 1
                begun = time.monotonic()
                played.sibling_goes_on()
                slowest_s = max(slowest_s, time.monotonic() - begun)
                while len(there) > AT_ONCE:
                    child = router.child(there.popleft())
                    if child is not None:
                        router.shut_down(child, wait=False)
            for context in there:
                context.shutdown()
            played.end()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    left = leftovers.descendants(os.getpid())
    print(
        f"{count} hostile children with {DESCRIPTORS} descriptors: "
        + ", ".join(f"{number} {name}" for name, number in sorted(ends.items()))
        + f"; 20 calls of the sibling took {slowest_s:.2f} s at most; {len(left)} processes left"
    )
    return left == []


def main() -> int:
    """Run both."""
    tries = int(sys.argv[1]) if len(sys.argv) > 1 else TRIES
    children = int(sys.argv[2]) if len(sys.argv) > 2 else CHILDREN
    outcomes = [run_race(tries), run_crowd(children)]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
