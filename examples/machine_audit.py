"""The demo's service of the far sides: looks at the machine that it was sent to.

Goes to far sides, and so runs on Python 3.6 as well.
"""

import logging
import os
import platform
import sys
from typing import Dict, List, NamedTuple

import plasmid
from tree_catalog import Catalog, hash_of

FILES_MAX = 50000  # looked at for the largest packages
LARGEST_COUNT = 10

log = logging.getLogger("audit")
log.setLevel(logging.INFO)


class Disk(NamedTuple):
    """One mounted disk."""

    path: str
    size: int
    free: int


class Thing(NamedTuple):
    """One package or file that Python there could import."""

    name: str
    size: int


class Report(NamedTuple):
    """What was found on one machine. same, differing, missing: files of the root's catalog, and those here."""

    host: str
    system: str
    python: str
    executable: str
    pid: int
    disks: List[Disk]
    largest: List[Thing]
    same: int
    differing: int
    missing: int


class Audit(plasmid.Service):
    """Says what there is on the machine that it runs on."""

    @plasmid.expose(plasmid.AllowParents())
    def report(self) -> Report:
        """Return what was found, having asked the caller's Catalog what its own Python consists of."""
        machine = os.uname()
        disks = mounted_disks()
        print("looking around on %s" % machine.nodename)
        wanted = self.caller.service(Catalog).hashes()
        same, differing, missing = compare(wanted, os.path.dirname(os.__file__))
        log.info("%d files of the root's Python are the same here, %d are not", same, differing + missing)
        return Report(
            machine.nodename,
            "%s %s" % (machine.sysname, machine.machine),
            platform.python_version(),
            sys.executable,
            os.getpid(),
            disks,
            largest_things(),
            same,
            differing,
            missing,
        )

    @plasmid.expose(plasmid.AllowParents())
    def first_line(self, path: str) -> str:
        """Return the first line of a file."""
        with open(path) as file:
            return file.readline()


def mounted_disks() -> List[Disk]:
    """Return the disks, and whatever is mounted as the root."""
    paths = {"": "/"}
    if os.path.exists("/proc/mounts"):
        with open("/proc/mounts") as mounts:
            for device, path in (line.split()[:2] for line in mounts):
                if device.startswith("/dev/") and os.path.isdir(path):
                    paths.setdefault("" if path == "/" else device, path)
    disks = []
    for path in sorted(set(paths.values())):
        volume = os.statvfs(path)
        disks.append(Disk(path, volume.f_blocks * volume.f_frsize, volume.f_bavail * volume.f_frsize))
    return disks


def largest_things() -> List[Thing]:
    """Return the largest packages and files that Python could import here, the largest first."""
    sizes: Dict[str, int] = {}
    count = 0
    for folder in filter(os.path.isdir, sys.path):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if name in ("site-packages", "dist-packages", "lib-dynload", "__pycache__") or count > FILES_MAX:
                continue
            paths = [path]
            if os.path.isdir(path):
                paths = [os.path.join(place, inner) for place, _, files in os.walk(path) for inner in files]
            count += len(paths)
            sizes[path] = sum(os.lstat(each).st_size for each in paths)
    largest = sorted(sizes, key=lambda path: sizes[path], reverse=True)[:LARGEST_COUNT]
    return [Thing(os.path.basename(path)[:30], sizes[path]) for path in largest]


def compare(wanted: Dict[str, bytes], folder: str) -> List[int]:
    """Return how many of the files wanted are the same in this folder, how many differ, how many aren't there."""
    counts = [0, 0, 0]
    for path, digest in wanted.items():
        own = os.path.join(folder, path)
        counts[2 if not os.path.exists(own) else int(hash_of(own) != digest)] += 1
    return counts
