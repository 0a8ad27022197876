"""Throw random items at a landing and random paths at a FileService until the time is up.

    python tests/fuzz/fuzz_files.py 5 --seed 1

The items are those of a real folder, changed, cut, repeated and in another order. Correct refusals are TransferError
and OSError. Anything else ends the run with status 1 and prints what was thrown: another error, a file anywhere but at
the destination, a destination that has changed without all of it being whole, a path that leads to what isn't served, a
link that was followed since it came between a check and the use of what was checked.
"""

import argparse
import copy
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import plasmid  # noqa: E402
from plasmid.builtin.files import FileService  # noqa: E402
from plasmid.builtin.landing import Landing, TransferError  # noqa: E402
from plasmid.builtin.reading import items_of  # noqa: E402
from tests.hostile import race  # noqa: E402

CORRECT_REFUSALS = (TransferError, OSError)
NAMES = [b"a", b"b", b"..", b".", b"", b"/", b"a/b", b"../x", b"\0", b"x" * 256, b"\xff", b"f0", b"sub"]
OTHERS: "list[Any]" = [None, True, -1, 0, 1 << 40, 1 << 70, 1.5, "", "x", b"", b"x", [], [[]], {}, bytes(100), [b"up"]]
PARTS = [*NAMES, b"link", b"up", b"fifo", b"secret", b"served", b"inside", b"etc", b"passwd"]
CHANGES_MAX = 4
LANDINGS_A_RACE = 500
RACE_TRIES = 20_000


class Finding(Exception):
    """What mustn't have happened."""


def make_tree(top: Path) -> None:
    """Make what is read for real items."""
    (top / "sub" / "deep").mkdir(parents=True)
    for name, size in ("f0", 0), ("f1", 10), ("sub/f2", 70_000), ("sub/deep/f3", 3):
        (top / name).write_bytes(os.urandom(size))


def real_items(path: Path) -> "list[Any]":
    """Return the items of a file or folder."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return list(items_of(fd))
    finally:
        os.close(fd)


def changed(rng: random.Random, items: "list[Any]") -> "list[Any]":
    """Return the items with a few changes, none perhaps."""
    # One record each, so that every place can be changed.
    loose = [[record] for item in items if isinstance(item, list) for record in item] if rng.random() < 0.5 else items
    items = copy.deepcopy(loose)
    for _ in range(rng.randrange(CHANGES_MAX)):
        at = rng.randrange(len(items)) if items else 0
        what = rng.randrange(6)
        if not items or what == 0:
            items.insert(at, rng.choice([b"bytes", bytes(70_000), [["up"]], [["end", bytes(32)]], *OTHERS]))
        elif what == 1:
            del items[at]
        elif what == 2:
            items.insert(at, copy.deepcopy(rng.choice(items)))
        elif what == 3:
            rng.shuffle(items)
        else:
            change_record(rng, items[at])
    return items


def change_record(rng: random.Random, item: Any) -> None:
    """Change one part of one record."""
    if isinstance(item, list) and item and isinstance(item[-1], list) and item[-1]:
        record = rng.choice(item)
        if isinstance(record, list) and record:
            record[rng.randrange(len(record))] = rng.choice(NAMES if rng.random() < 0.5 else OTHERS)


def seen(where: Path) -> "dict[str, bytes]":
    """Return all files and folders, and what is in them."""
    paths = (Path(os.fsdecode(folder), name) for folder, folders, names in os.walk(where) for name in folders + names)
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}


def check_landing(rng: random.Random, where: Path, items: "list[Any]") -> bool:
    """Land the items; return whether they were taken. Raises Finding."""
    before = seen(where)
    out = where / rng.choice(["old", "new"])
    landing = None
    is_taken = False
    try:
        resume, skips = rng.random() < 0.2, rng.random() < 0.5
        landing = Landing("fuzz", os.fsencode(out), 1 << 20, 20, resume, skips)
        for item in items:
            landing.take(item)
        landing.finish()
        is_taken = True
    except CORRECT_REFUSALS:
        pass
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}") from error
    finally:
        if landing is not None:
            landing.close()
    kept = where / f".{out.name}.plasmid-partial"
    if not is_taken:
        kept.unlink(missing_ok=True)
    after = {path: content for path, content in seen(where).items() if not path.startswith(str(out))}
    if after != {path: content for path, content in before.items() if not path.startswith(str(out))}:
        raise Finding(f"beside the destination there is {sorted(after)}")
    if not is_taken and seen(where) != before:
        raise Finding("it wasn't taken, and the destination has changed")
    if out.is_dir():
        shutil.rmtree(out)
    elif is_taken:
        out.unlink()
    (where / "old").write_bytes(b"old")
    return is_taken


def check_path(rng: random.Random, service: FileService, served: Path) -> bool:
    """Ask for a path; return whether it was opened. Raises Finding."""
    start = rng.choice([os.fsencode(served), os.fsencode(served) + b"/inside", b"", os.fsencode(served.parent)])
    path = start + b"".join(b"/" + rng.choice(PARTS) for _ in range(rng.randrange(6)))
    try:
        fd = service._open(path, race.Sibling())  # type: ignore[arg-type]
    except OSError:
        return False
    except Exception as error:
        raise Finding(f"{path!r}: {type(error).__name__}: {error}") from error
    real = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    if not (real + "/").startswith(f"{served}/"):
        raise Finding(f"{path!r} leads to {real}")
    return True


def check_race(rng: random.Random, service: FileService, folder: Path) -> int:
    """Have links swapped in on the way to a file while it is opened; return how often. Raises Finding."""
    found = race.run(service, folder, rng.random() < 0.5, RACE_TRIES)
    shutil.rmtree(folder)
    if not set(found) <= race.CORRECT_OUTCOMES:
        raise Finding(f"a link was followed: {found}")
    return RACE_TRIES


def main() -> int:
    """Fuzz for the time given; return the exit status."""
    parser = argparse.ArgumentParser(description="Throw random items and paths at the transfer of files.")
    parser.add_argument("seconds", type=float, nargs="?", default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    counts = {"landings": 0, "taken": 0, "paths": 0, "opened": 0, "races": 0}
    with tempfile.TemporaryDirectory(prefix="plasmid-fuzz-") as name, plasmid.Router() as router:
        folder = Path(name).resolve()
        served, where = folder / "served", folder / "where"
        where.mkdir()
        (where / "old").write_bytes(b"old")
        make_tree(served / "inside")
        (folder / "secret").write_text("secret")
        (served / "link").symlink_to(folder / "secret")
        (served / "up").symlink_to("..")
        os.mkfifo(served / "fifo")
        service = FileService(router)
        service.register_prefix(served)
        seeds = [real_items(served / path) for path in ("inside", "inside/f1", "inside/sub/f2", "inside/sub")]
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            items = changed(rng, rng.choice(seeds))
            try:
                if counts["landings"] % LANDINGS_A_RACE == 0:
                    counts["races"] += check_race(rng, service, folder / "race")
                counts["landings"] += 1
                counts["taken"] += check_landing(rng, where, items)
                for _ in range(20):
                    counts["paths"] += 1
                    counts["opened"] += check_path(rng, service, served)
            except Finding as finding:
                print(f"seed {options.seed}, {counts}: {str(items)[:500]}\n{finding}")
                return 1
    print(f"seed {options.seed}: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
