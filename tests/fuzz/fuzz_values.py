"""Throw random payloads at both codecs until the time is up: `python tests/fuzz/fuzz_values.py 5 --seed 1`.

A payload is a good one that was changed, or noise. Correct refusals are: ValueDecodeError, with the same text from both
codecs. Anything else ends the run with status 1 and prints the payload: another error, a value that differs between
the codecs, or a value that doesn't arrive as itself when it is sent on. The one seed gives the same payloads again.
"""

import argparse
import collections
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from plasmid import codec  # noqa: E402
from plasmid.core import values  # noqa: E402
from plasmid.core.errors import UnsendableValue, ValueDecodeError  # noqa: E402
from tests.core.value_samples import DECLARED, EVERY_KIND, INTERESTING, Handle, send, shape  # noqa: E402

# What a decoder may answer to bytes that are no value.
CORRECT_REFUSALS = (ValueDecodeError,)
# What sending a decoded value on may end in: a value may be read that is written longer, or nested in a deeper form.
CORRECT_REFUSALS_TO_SEND = (UnsendableValue,)
SEED_SIZE_MAX = 2000
CHANGES_MAX = 6


class Finding(Exception):
    """A payload that did what it mustn't."""


def changed(seeds: "list[bytes]", rng: random.Random) -> bytes:
    """Return the next payload."""
    if rng.random() < 0.05:
        body = bytearray(rng.randbytes(rng.randrange(80)))
    else:
        body = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(CHANGES_MAX)):
        at = rng.randrange(len(body) + 1)
        what = rng.randrange(5)
        if what == 0:
            body[at:at] = rng.choice(INTERESTING)
        elif what == 1:
            body[at : at + 1] = rng.randbytes(1)
        elif what == 2:
            del body[at : at + rng.randrange(1, 9)]
        elif what == 3:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            body[at:at] = other[start : start + rng.randrange(30)]
        else:
            body[at : at + 1] = bytes([(body[at] ^ 1 << rng.randrange(8)) if at < len(body) else 0])
    if rng.random() < 0.7:
        body[:4] = max(len(body) - 4, 0).to_bytes(4, "big")
    return bytes(body)


def decoded(body: bytes, with_c: bool) -> "tuple[str, Any]":
    """Return how a payload ends under one codec."""
    if with_c:
        values.install(codec.pack_plain, codec.unpack_plain)
    else:
        values.install(None, None)
    try:
        return "value", values.decode(body, DECLARED.get, Handle)
    except CORRECT_REFUSALS as error:
        return "refused", str(error)


def check(body: bytes) -> str:
    """Return "value" or "refused", or raise Finding."""
    try:
        fast, pure = decoded(body, True), decoded(body, False)
        if fast[0] != pure[0] or shape(fast[1]) != shape(pure[1]):
            raise Finding(f"the codecs differ: {fast!r} and {pure!r}")
        if pure[0] == "value":
            try:
                again = send(pure[1])
            except CORRECT_REFUSALS_TO_SEND:
                return "value"
            if shape(values.decode(again, DECLARED.get, Handle)) != shape(pure[1]):
                raise Finding(f"sent on it arrives changed: {pure[1]!r}")
        return pure[0]
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}") from error


def main() -> int:
    """Fuzz for the time given; return the exit status."""
    parser = argparse.ArgumentParser(description="Throw random payloads at both codecs.")
    parser.add_argument("seconds", type=float, nargs="?", default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    values.install(None, None)
    seeds = [body for body in map(send, EVERY_KIND) if len(body) <= SEED_SIZE_MAX]
    seeds += [send([value, {"k": value}, (value,)]) for value in EVERY_KIND if len(send(value)) <= 300]
    ends: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        body = changed(seeds, rng)
        try:
            ends[check(body)] += 1
        except Finding as finding:
            print(f"seed {options.seed}, payload {sum(ends.values())}: {body.hex()}\n{finding}")
            return 1
    print(f"seed {options.seed}: {sum(ends.values())} payloads, {ends['value']} values, {ends['refused']} refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
