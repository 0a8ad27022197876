"""A context on this machine, as this user: another interpreter, started directly."""

import os
import sys

from plasmid.connect.connector import Connector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Union


class Local(Connector):
    """Run Python here. python_path: None for the interpreter that this program runs on."""

    scheme = "local"
    stays_here = True
    # A long body takes fewer turns of the two processes. It is gone within a millisecond, as there is no slow way here.
    buffer_size = 512 * 1024

    def __init__(
        self,
        name: str = "local",
        python_path: "Optional[Union[str, List[str]]]" = None,
        connect_timeout: float = 30.0,
    ) -> None:
        # sys.executable is empty or None in an interpreter that is embedded in another program.
        Connector.__init__(self, name, python_path or sys.executable or "python3", connect_timeout)
        self._given = python_path or None

    def spec(self) -> "Dict[str, Any]":
        """Return it as a value that can travel; None for the interpreter stays None: "here" is there then."""
        return dict(super().spec(), python_path=self._given)

    @property
    def target(self) -> str:
        return "local"

    @property
    def program(self) -> str:
        return os.path.basename(self._python_words[0])

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        argv = self._python_argv(first_stage, ps_name)
        argv[0] = os.path.expanduser(argv[0])
        return argv
