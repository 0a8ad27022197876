"""What the command and the demo send to a far side runs on the oldest Python that one may have."""

import os
import re
from pathlib import Path

from tests.cli.command import plasmid
from tests.real.interpreters import interpreter

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_doctor_examines_python_3_6() -> None:
    python = interpreter("3.6")
    ended = plasmid("doctor", "local:", "--python", python)
    assert (ended.status, ended.err) == (0, "")
    assert re.search(r"^  Python:   3\.6\.\d+, ", ended.out, re.MULTILINE)


def test_the_service_of_the_demo_can_be_used_there() -> None:
    words = ("run", "local:", f"{EXAMPLES}/machine_audit.py::mounted_disks", "--python", interpreter("3.6"), "--json")
    ended = plasmid(*words)
    (document,) = ended.documents
    volume = os.statvfs("/")
    assert (ended.status, ended.err) == (0, "")
    assert ["/", volume.f_blocks * volume.f_frsize] in [[disk["path"], disk["size"]] for disk in document["result"]]
