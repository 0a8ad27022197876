"""Guess ids of others' calls and tokens of receivers until the time is up: `python tests/fuzz/fuzz_guesses.py 5`.

A hostile child at /2 sends frames of every kind that carry an id or a token, to the root and by way of it to its
honest sibling at /1, while calls between those two are in flight and one puts into a receiver of the other. The
guesses are random numbers, those near to the real ones, and the real ones; the tokens random, or wrong by a bit.
Nothing may happen but refusals, and what is in flight must end as if there had been no guesses. Anything else ends the
run with status 1. The one seed gives the same guesses again.
"""

import argparse
import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from plasmid.core.frames import Kind, Lane  # noqa: E402
from plasmid.core.streams import TOKEN_SIZE  # noqa: E402
from tests.core.wire import ID_STARTS, Tree, at, frame  # noqa: E402

BATCH = 500
NEAR = 300
RECEIVER = 9
# The secrets of this run: where the root's and the sibling's call ids begin, and the token.
SPACE = 1 << 64
KINDS = (
    (Kind.REPLY, Lane.REPLY),
    (Kind.ERROR, Lane.REPLY),
    (Kind.CANCEL, 0),
    (Kind.DATA, Lane.REPLY),
    (Kind.DATA, Lane.CALL),
    (Kind.DATA, Lane.ITEM),
    (Kind.CREDIT, Lane.REPLY),
    (Kind.CREDIT, Lane.CALL),
    (Kind.CREDIT, Lane.ITEM),
    (Kind.PUT, Lane.ITEM),
    (Kind.CLOSE, Lane.STREAM),
)


class Scene:
    """The root, an honest child, a hostile one, and what is in flight between the first two."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.token = rng.randbytes(TOKEN_SIZE)
        self.tree = tree = Tree("/", "/1", "/2")
        for context in tree.nodes:
            tree.streams(context)
        tree.streams("/").open_receiver(RECEIVER, self.token, "receiver")
        self.down = tree.call("/", "/1")
        self.up = tree.call("/1", "/")
        assert tree.streams("/1").put(at("/"), RECEIVER, self.token, [b"before"])
        tree.run()
        assert [event[0] for event in tree.told("/")] == ["CallArrived", "ItemArrived"]
        assert [event[0] for event in tree.told("/1")] == ["CallArrived"]
        self.real = (ID_STARTS, ID_STARTS + 1000, RECEIVER)

    def guess(self) -> bytes:
        """Return the next frame."""
        rng = self.rng
        kind, flags = rng.choice(KINDS)
        number = rng.choice(self.real)
        how = rng.randrange(4)
        if how == 0:
            number = rng.randrange(SPACE)
        elif how == 1:
            number = (number + rng.randrange(-NEAR, NEAR + 1)) % SPACE
        target = rng.choice(("/", "/1"))
        token = bytearray(self.token)
        token[rng.randrange(TOKEN_SIZE)] ^= 1 << rng.randrange(8)
        body = rng.choice((bytes(8), b"\xff" * 8, rng.randbytes(TOKEN_SIZE), bytes(token), b""))
        return frame(kind, flags, number, "/2", target, body)

    def play(self) -> int:
        """Have a batch of guesses arrive; return how many."""
        tree = self.tree
        tree.feed("/", "/2", b"".join(self.guess() for _ in range(BATCH)))
        tree.run()
        happened = [(context, event) for context in ("/", "/1") for event in tree.told(context)]
        assert happened == [], happened
        tree.told("/2")
        return BATCH

    def end(self) -> None:
        """End what is in flight, as it should."""
        tree = self.tree
        tree.answer("/1", "/", self.down.id, b"from below")
        tree.answer("/", "/1", self.up.id, b"from above")
        assert tree.streams("/1").put(at("/"), RECEIVER, self.token, [b"after"])
        tree.run()
        assert tree.told("/") == [
            ("CallEnded", "/1", b"from below", False, None),
            ("ItemArrived", "receiver", "/1", b"after"),
        ]
        assert tree.told("/1") == [("CallEnded", "/", b"from above", False, None)]


def run(seconds: float, seed: int) -> int:
    """Guess for so long, and at least once; return how many guesses there were."""
    scene = Scene(random.Random(seed))
    count = scene.play()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        count += scene.play()
    scene.end()
    return count


def main() -> int:
    """Fuzz for the time given; return the exit status."""
    parser = argparse.ArgumentParser(description="Guess ids and tokens of others.")
    parser.add_argument("seconds", type=float, nargs="?", default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"seed {options.seed}: {run(options.seconds, options.seed)} guesses, none had an effect")
    return 0


if __name__ == "__main__":
    sys.exit(main())
