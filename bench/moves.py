"""Files there and back: what is moved, and what the machine's own programs do it with. It needs no library."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.subject import Subject

MIB = 1 << 20
SMALL_SIZE = 4096
FOLDERS = 20
# Small files go more than once. None is removed before all is measured: for 35 s after that ext4 looks at each of their
# inodes, one by one, whenever a file is made, which took 200 to 700 µs then where it takes 20.
TREE_TIMES = 5


class Copier(NamedTuple):
    """Two ways of one copy. Each takes a path and another one, where nothing is yet."""

    put: "Callable[[Path, Path], object]"
    fetch: "Callable[[Path, Path], object]"


def file_rate(subject: "Subject", mib: int, ssh_args: "Sequence[str]" = ()) -> float:
    """Return with how many MiB/s one large file goes there and back."""
    with tempfile.TemporaryDirectory(prefix="plasmid-bench-moves-") as name:
        folder = Path(name)
        return 2 * mib / seconds_there_and_back(subject, large_file(folder / "file", mib), folder, 1, ssh_args)


def tree_rate(subject: "Subject", count: int) -> float:
    """Return how many small files a second go there and back. They stay, in a folder of the one for temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="plasmid-bench-moves-"))
    return 2 * count / seconds_there_and_back(subject, tree(folder / "tree", count), folder, TREE_TIMES)


def seconds_there_and_back(
    subject: "Subject", source: Path, folder: Path, times: int, ssh_args: "Sequence[str]" = ()
) -> float:
    """Return how long a file or folder takes there and back, once a small one has gone: the median of so many times."""
    seconds = []
    small = folder / "small"
    small.write_bytes(b"small")
    with subject.copying(ssh_args) as copier:
        copier.put(small, folder / "small-there")
        copier.fetch(folder / "small-there", folder / "small-back")
        for number in range(times):
            there, back = folder / f"there-{number}", folder / f"back-{number}"
            start = perf_counter()
            copier.put(source, there)
            copier.fetch(there, back)
            seconds.append(perf_counter() - start)
            if total_size(back) != total_size(source):
                raise ValueError(f"{subject.name} brought back {total_size(back)} bytes of {total_size(source)}")
    return median(seconds)


def total_size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    return sum(each.stat().st_size for each in [path, *path.rglob("*")] if each.is_file())


def large_file(path: Path, mib: int) -> Path:
    """Make a file of so many MiB that nothing can pack, and return its path."""
    with path.open("wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    return path


def tree(path: Path, count: int) -> Path:
    """Make a folder of small files, in folders, and return its path."""
    for number in range(count):
        below = path / str(number % FOLDERS)
        below.mkdir(parents=True, exist_ok=True)
        (below / str(number)).write_bytes(os.urandom(SMALL_SIZE))
    return path


def shell(command: str) -> None:
    """Run a line of shell."""
    subprocess.run(["sh", "-euc", command], stdin=subprocess.DEVNULL, check=True)


def cat_or_tar(source: Path, there: Path) -> None:
    """Copy a file, or a folder, on this machine."""
    if source.is_dir():
        shell(f"mkdir {there}; tar -C {source} -cf - . | tar -C {there} -xf -")
    else:
        shell(f"cat {source} > {there}")


@contextlib.contextmanager
def scp(ssh_args: "Sequence[str]", folder: Path) -> "Iterator[Copier]":
    """Give what copies with scp by a connection that is there: it doesn't log in anew. folder: for its socket."""
    options = f"{' '.join(ssh_args)} -o ControlPath={folder}/control"
    shell(f"ssh {options} -MNf bench")
    try:
        yield Copier(
            lambda source, there: shell(f"scp -q -O {options} {source} bench:{there}"),
            lambda source, there: shell(f"scp -q -O {options} bench:{source} {there}"),
        )
    finally:
        shell(f"ssh {options} -q -O exit bench")
