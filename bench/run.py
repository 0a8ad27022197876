"""Measures Plasmid against the raw limit and, where they are installed, its peers, and prints the table.

    bench/run.py                         all figures, five rounds
    bench/run.py --only call_down,hop    some figures
    bench/run.py --peers                 peers too
    bench/run.py --write docs/performance.md

The paths of the project are put on sys.path here and not by PYTHONPATH: that would be inherited by the far sides,
which must find nothing of it on this machine.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(root), str(root / "src")]
    from bench.main import main

    sys.exit(main())
