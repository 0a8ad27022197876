"""Whether a small service call costs more instructions than it did when that was last recorded.

    python bench/gate.py            # exit status 1 if it does
    python bench/gate.py --record   # write down what it costs now, into bench/instructions.json

What is recorded is the ratio to the raw limit, counted in the same way, for each version of Python. Both come out the
same each time, whatever else the machine does. Needs valgrind.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "instructions.json"
COUNTS = 100, 400
# Other builds of one version of Python differ by about so much.
TOLERANCE = 0.05


def instructions(what: str) -> int:
    """Return how many instructions one call takes: what more of them take, shared among these."""
    totals = [count_all(what, count) for count in COUNTS]
    return (totals[1] - totals[0]) // (COUNTS[1] - COUNTS[0])


def count_all(what: str, calls: int) -> int:
    """Return how many instructions a process takes that makes so many calls."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    script = [sys.executable, "-S", "-B", str(HERE / "instructions.py"), what, str(calls)]
    argv = ["env", "-i", "PYTHONHASHSEED=0", f"PYTHONPATH={packages}", "setarch", "-R", *valgrind, *script]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", result.stderr)
    if found is None:
        raise SystemExit(f"no instructions were counted: {result.stderr.strip()}")
    return int(found.group(1))


def main() -> int:
    """Count, and compare or record; return the exit status."""
    own, raw = instructions("own"), instructions("raw")
    ratio = round(own / raw, 2)
    version = "%d.%d" % sys.version_info[:2]
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    print(f"a small service call: {own:,} instructions on both sides, {ratio} x the raw limit's {raw:,}")
    if "--record" in sys.argv:
        RECORD.write_text(json.dumps({**recorded, version: ratio}, indent=1) + "\n")
        return 0
    limit = recorded.get(version)
    if limit is None:
        print(f"nothing is recorded for Python {version}, so nothing is compared")
        return 0
    print(f"recorded for Python {version}: {limit} x")
    if ratio > limit * (1 + TOLERANCE):
        print("that is more than it was; see where it comes from, or record it with --record and say why")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
