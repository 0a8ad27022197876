"""How calls end when something happens to a host or to the network, with the usual patience of links.

    python -m tests.trials.network [TRIALS]      10 of each fault; needs root and what a lab of hosts takes

All faults of tests/real/chaos/network.py happen at once, each on a host of its own, beside a neighbour that must notice
nothing. Prints a table in Markdown. Ends with status 1 if a call ended otherwise than it may or later than is promised,
or something was left.
"""

import sys
import tempfile
from pathlib import Path

from tests.real.chaos import network
from tests.real.lab import netlab

TRIALS = 10
KNOWN_MAX_S = 40.0
ALLOWED = {"ContextLost", "NotSent"}


def main() -> int:
    """Try all faults."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    found: dict[str, list[network.Outcome]] = {fault: [] for fault in network.FAULTS}
    for number in range(trials):
        with tempfile.TemporaryDirectory(prefix="plasmid-network-") as folder:
            with netlab.running_lab(Path(folder) / "lab", len(network.FAULTS) + 1) as lab:
                for fault, outcome in network.play(lab, network.USUAL, f"trial-{number}").items():
                    found[fault].append(outcome)
    print(
        "| fault | trials | outcomes of 8 calls each | all known after, at most | gone from its host after, at most |"
    )
    print("|---|--:|---|--:|--:|")
    wrong = False
    for fault, outcomes in found.items():
        ends = {end.replace("NoneType", "a result") for outcome in outcomes for end in outcome.ends.values()}
        known_s, gone_s = max(one.known_s for one in outcomes), max(one.gone_s for one in outcomes)
        wrong = wrong or bool(ends - ALLOWED - {"a result"}) or known_s > KNOWN_MAX_S or gone_s >= network.WAIT_MAX_S
        print(f"| {fault} | {trials} | {', '.join(sorted(ends))} | {known_s:.1f} s | {gone_s:.1f} s |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
