"""A process that joins as it should, and then isn't what it should be. Run by itself.

    python -S raw_joiner.py PATH ATTACK REPOSITORY REPORT

After the answer to its request it does to the link what the function of that name in attacks.py says.
"""

import os
import socket
import sys

if __name__ == "__main__":
    sys.path[:0] = [sys.argv[3], os.path.join(sys.argv[3], "src")]

from plasmid.core import values
from tests.hostile import attacks

REQUEST = b"PLASMID JOIN 1\n"


def main() -> None:
    path, attack, _, report_path = sys.argv[1:]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    os.dup2(connection.fileno(), 0)
    os.dup2(connection.fileno(), 1)
    attacks.write_all(REQUEST)
    told = values.unpack(attacks.read_exactly(int.from_bytes(attacks.read_exactly(4), "big")))
    try:
        getattr(attacks, attack)(attacks.Peer(told["address"], report_path))
    except OSError:
        pass  # the link was cut while this wrote to it


if __name__ == "__main__":
    main()
