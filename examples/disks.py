"""Ask a machine about its disks: `python examples/disks.py web1`, or without a host for this machine.

`disk` below is a client that type checkers know as a Disk; its methods run on the other machine.
"""

import os
import sys

import plasmid


class Disk(plasmid.Service):
    """Watches the disks of the machine that it runs on."""

    @plasmid.expose(plasmid.AllowParents())
    def free_bytes(self, path: str = "/") -> int:
        """Return how many bytes an ordinary user may still write under `path`."""
        volume = os.statvfs(path)
        return volume.f_bavail * volume.f_frsize


@plasmid.main()
def main(router: plasmid.Router) -> None:
    """Print the free space of one machine."""
    host = router.ssh(sys.argv[1]) if len(sys.argv) > 1 else router.local()
    disk = host.service(Disk, timeout=10)
    for path in ("/", "/tmp"):
        print(f"{host.name}: {disk.free_bytes(path) / 2**30:.1f} GiB free under {path}")
