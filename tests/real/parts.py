"""What a real test needs of this machine, and what happens when it isn't there.

On a user's machine a missing part skips the tests that need it, by name. Under PLASMID_TEST_REQUIRE=all, as in
continuous integration, it fails them, so that nothing is left out unseen.
"""

import os
import shutil
import sys
from typing import NoReturn

import pytest

# Where servers are installed; an ordinary user's PATH often leaves these folders out.
SERVER_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def all_parts_required() -> bool:
    """Return whether a missing part is a failure here."""
    return os.environ.get("PLASMID_TEST_REQUIRE", "") == "all"


def require(part_name: str, available: object) -> None:
    """Return if the part is available; otherwise skip the test, or fail it where all parts are required.

    part_name is what a user would have to install or do, written so that it can follow "this machine lacks".
    """
    if not available:
        _missing(part_name)


def _missing(part_name: str) -> NoReturn:
    text = f"this machine lacks {part_name}"
    if all_parts_required():
        pytest.fail(f"{text}, and PLASMID_TEST_REQUIRE=all allows no part to be missing", pytrace=False)
    pytest.skip(text)


def program(name: str) -> "str | None":
    """Return the path of a program on PATH or where servers are installed, or None."""
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), *SERVER_FOLDERS])
    return shutil.which(name, path=folders)


def required_program(name: str, comes_with: str = "") -> str:
    """Return the path of a program that the test can't do without."""
    path = program(name)
    if path is None:
        _missing(f"{name} ({comes_with})" if comes_with else name)
    return path


def require_linux() -> None:
    """Skip what reads /proc where there is none. Not a part that could be installed, so it never fails."""
    if sys.platform != "linux":
        pytest.skip("needs Linux")
