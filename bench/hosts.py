"""Fifty hosts connected to at once, against ssh that starts a Python on the same fifty at once.

    bench/hosts.py                       50 hosts, five rounds
    bench/hosts.py --hosts 12 --rounds 3

ssh is measured twice: until every Python there has printed a line, which is what a context needs at the least; and
until every ssh has ended. Each ssh has a session of its own, as Plasmid's have: a kernel that shares the processor out
by session would favour one side otherwise. The hosts are namespaces of this machine, each with an sshd, so both sides
of every connection take turns on its cores: the figures say little about any other machine, the ratio more. Needs
root, iproute2 and iptables.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:1] = [str(ROOT), str(ROOT / "src")]

import plasmid  # noqa: E402
from tests.real.lab import netlab  # noqa: E402

ROUNDS = 5
HOSTS = 50
FAN_OUT = 8
TIMEOUT_S = 120.0
FIRST_LINE = "ssh host python3 -ISc 'print(1)', line"


def main() -> int:
    """Measure and print; 1 if a host failed."""
    parser = argparse.ArgumentParser(description="Measure connecting to many hosts at once.")
    parser.add_argument("--hosts", type=int, default=HOSTS, metavar="N", help=f"how many; {HOSTS} unless told")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"{ROUNDS} unless told")
    options = parser.parse_args()
    ways = {
        FIRST_LINE: ssh_first_line,
        "ssh host python3 -ISc pass": ssh_alone,
        "connect_all()": connect,
        f"connect_all(fan_out={FAN_OUT})": connect_as_tree,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="plasmid-bench-") as folder:
        with netlab.running_lab(Path(folder) / "lab", options.hosts) as lab:
            for number in range(options.rounds):
                # Every other round in the other order, so that none always has the better place.
                for name in sorted(ways, key=list(ways).index, reverse=bool(number % 2)):
                    seconds[name].append(ways[name](lab))
    base = statistics.median(seconds[FIRST_LINE])
    print(f"{options.hosts} hosts at once, medians of {options.rounds} interleaved rounds")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        spread = f"{min(taken):.2f} to {max(taken):.2f}"
        print(f"{name:36}{median:8.2f} s   {median / base:5.2f} x the first   ({spread})")
    return 0


def start_ssh(lab: netlab.Lab, command: str) -> "list[subprocess.Popen[bytes]]":
    """Start an ssh that runs this command for every host."""
    return [
        subprocess.Popen(
            [str(lab.ssh), "-T", name, command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        for name in lab.names
    ]


def ssh_first_line(lab: netlab.Lab) -> float:
    """Return how long it takes until a Python on every host has printed a line."""
    begun = perf_counter()
    running = start_ssh(lab, "exec python3 -ISc 'print(1)'")
    lines = [process.stdout.readline() for process in running if process.stdout is not None]
    taken = perf_counter() - begun
    for process in running:
        process.communicate()
    if lines != [b"1\n"] * len(running):
        raise SystemExit(f"ssh brought {lines}")
    return taken


def ssh_alone(lab: netlab.Lab) -> float:
    """Return how long it takes to run a Python that does nothing on every host."""
    begun = perf_counter()
    running = start_ssh(lab, "python3 -ISc pass")
    for process in running:
        process.communicate()
    taken = perf_counter() - begun
    if any(process.returncode for process in running):
        raise SystemExit("ssh failed")
    return taken


def connect(lab: netlab.Lab, fan_out: "int | None" = None) -> float:
    """Return how long it takes until every host has a context that has said hello."""
    with plasmid.Router() as router:
        begun = perf_counter()
        found = router.connect_all(
            lab.names, limit=len(lab.names), fan_out=fan_out, ssh_path=str(lab.ssh), connect_timeout=TIMEOUT_S
        )
        taken = perf_counter() - begun
        for error in found.failures.values():
            raise error
    return taken


def connect_as_tree(lab: netlab.Lab) -> float:
    """Return the same for a tree."""
    return connect(lab, FAN_OUT)


if __name__ == "__main__":
    sys.exit(main())
