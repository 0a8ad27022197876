"""local.py: the command, by default with the interpreter that runs this."""

import os
import sys

from plasmid.connect.local import Local


def test_the_command_runs_this_interpreter_by_default() -> None:
    connector = Local()
    assert connector.argv("text", "plasmid:local") == [sys.executable, "-S", "-c", "text", "plasmid:local"]
    assert (connector.target, connector.program) == ("local", os.path.basename(sys.executable))
    assert (connector.name, connector.connect_timeout) == ("local", 30.0)


def test_the_python_may_be_words_and_in_the_home_folder() -> None:
    home = os.path.expanduser("~")
    assert Local(python_path=["nice", "python3"]).argv("t", "p") == ["nice", "python3", "-S", "-c", "t", "p"]
    assert Local(python_path="~/py").argv("t", "p") == [f"{home}/py", "-S", "-c", "t", "p"]


def test_its_spec_names_every_parameter() -> None:
    assert Local(name="a", python_path="b", connect_timeout=3).spec() == {
        "scheme": "local",
        "name": "a",
        "python_path": "b",
        "connect_timeout": 3,
    }
