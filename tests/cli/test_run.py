"""`plasmid run`, as a process of its own, on local contexts."""

import ast
import signal
from pathlib import Path

import pytest

from tests.cli.command import plasmid, waiting
from tests.real import leftovers

pytestmark = pytest.mark.real

GONE_TIMEOUT_S = 3.0


def is_there(pid: int) -> "list[str]":
    """Return a line for the process if it is there."""
    return [str(one) for one in leftovers.processes() if one.pid == pid and one.state != "Z"]


def test_the_result_goes_to_stdout_pretty_printed(folder: Path) -> None:
    ended = plasmid("run", "local:", "tasks.py::disk", "/var", folder=folder)
    assert ended == (
        0,
        "Disk(\n    path='/var',\n    used={1, 2},\n    when=datetime.date(2024, 5, 6),\n"
        "    colour=<Colour.RED: 1>,\n    data=b'\\xff'\n)\n",
        "",
    )


def test_a_module_of_the_current_folder_can_be_named_without_its_file(folder: Path) -> None:
    assert plasmid("run", "local:", "tasks.Tool.double", "21", folder=folder) == (0, "42\n", "")
    assert plasmid("run", "local:", "tasks:Tool.title", folder=folder) == (0, "Tool\n", "")


def test_the_far_side_has_the_file_as_a_module_and_its_main_part_does_not_run(folder: Path) -> None:
    assert plasmid("run", "local:", "tasks.py::module_name", folder=folder) == (0, "tasks\n", "")


def test_arguments_are_json_or_text_and_keywords(folder: Path) -> None:
    words = ("run", "local:", "tasks.py::echo", "1", "x", '{"a": [true]}', "n=null", "s=a=b", "--", "-5", "--json")
    ended = plasmid(*words, folder=folder)
    assert (ended.status, ast.literal_eval(ended.out)) == (
        0,
        [[1, "x", {"a": [True]}, -5, "--json"], {"n": None, "s": "a=b"}],
    )


def test_json_is_one_document_for_each_target(folder: Path) -> None:
    ended = plasmid("run", "local:,local:", "tasks.py::disk", "/", "--json", folder=folder)
    documents = sorted(ended.documents, key=lambda document: str(document["context"]))
    seconds = [document.pop("seconds") for document in documents]
    result = {"path": "/", "used": [1, 2], "when": "2024-05-06", "colour": "RED", "data": "/w=="}
    common = {"target": "local:", "status": 0, "result": result, "error": None}
    assert (ended.status, documents) == (0, [{**common, "context": "local-1"}, {**common, "context": "local-2"}])
    assert all(0 < one < 30 for one in seconds)


def test_a_group_of_an_inventory_is_a_target_and_a_bad_host_fails_alone(folder: Path) -> None:
    inventory = folder / "hosts.ini"
    inventory.write_text(
        "[here]\na ansible_connection=local\nb ansible_connection=local\nbad ansible_winrm_transport=x\n"
    )
    try:
        ended = plasmid("run", "-i", "hosts.ini", "here", "tasks:Tool.title", folder=folder)
        examined = plasmid("doctor", "-i", "hosts.ini", "bad,a", folder=folder)
        unread = plasmid("run", "-i", "nothing.ini", "here", "tasks:Tool.title", folder=folder)
    finally:
        inventory.unlink()
    assert (ended.status, sorted(ended.out.splitlines())) == (3, ["a: Tool", "b: Tool"])
    assert "Plasmid can't keep to ansible_winrm_transport" in ended.err
    assert examined.status == 3
    assert "Plasmid can't keep to ansible_winrm_transport" in examined.err
    assert "say hello" in examined.out
    assert unread.status == 2
    assert "the inventory nothing.ini can't be read" in unread.err


def test_with_several_targets_each_line_begins_with_the_target_s_name(folder: Path) -> None:
    ended = plasmid("run", "local:", "local:", "tasks.py::two_lines", folder=folder)
    lines = sorted(ended.out.splitlines())
    assert (ended.status, lines) == (
        0,
        [
            "local-1: local-9: two \\x1b]0;title\\x07",
            "local-1: one",
            "local-2: local-9: two \\x1b]0;title\\x07",
            "local-2: one",
        ],
    )


def test_what_is_printed_and_logged_there_goes_to_stderr_with_the_name_of_the_context(folder: Path) -> None:
    ended = plasmid("run", "local:", "tasks.py::speak", folder=folder)
    assert (ended.status, ended.out) == (0, "said\n")
    assert sorted(ended.err.splitlines()) == ["local: WARNING tasks: logged", "local: printed \\x1b[31mred"]


def test_an_error_of_the_function_is_status_1_with_its_traceback_on_stderr(folder: Path) -> None:
    ended = plasmid("run", "local:", "tasks.py::fail", folder=folder)
    assert (ended.status, ended.out) == (1, "")
    lines = ended.err.splitlines()
    assert lines[:2] == ["local: KeyError: 'nothing'", "    Traceback (most recent call last):"]
    assert f'      File "/<sent>{folder}/tasks.py", line ' in ended.err
    assert lines[-1] == "    KeyError: 'nothing'"


def test_an_error_is_in_the_json_document_too(folder: Path) -> None:
    ended = plasmid("run", "local:", "tasks.py::fail", "--json", folder=folder)
    (document,) = ended.documents
    assert (ended.status, document["status"], document["result"]) == (1, 1, None)
    assert (document["error"]["type"], document["error"]["text"]) == ("KeyError", "'nothing'")
    assert document["error"]["traceback"].startswith("Traceback (most recent call last):\n")


def test_an_error_s_text_can_neither_forge_a_line_nor_reach_the_terminal_raw(folder: Path) -> None:
    ended = plasmid("run", "local:", "tasks.py::fail_oddly", folder=folder)
    assert ended.status == 1
    assert ended.err.splitlines()[:2] == [
        "local: tasks.Odd: oddly\\nlocal: forged \\x1b[2J",
        "    Traceback (most recent call last):",
    ]
    assert not any(letter < " " and letter != "\n" for letter in ended.err)


def test_a_result_that_can_not_be_sent_is_status_1_and_names_the_part(folder: Path) -> None:
    ended = plasmid("run", "local:", "tasks.py::unsendable", folder=folder)
    assert (ended.status, ended.out) == (1, "")
    assert "result of tasks.unsendable['rows'][1]: TextIOWrapper" in ended.err.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["local:"], "there is no function after 'local:'; it is written FILE.py::NAME or MODULE.NAME"),
        (["local:", "tasks.py::nope"], "tasks.py::nope: the module tasks has no 'nope'"),
        (["local:", "tasks.py::echo", "a=1", "a=2"], "the argument a= is there twice"),
        (["web1:port", "os.getpid"], "'web1:port': 'port' is no port number"),
        (["ssh://-x", "os.getpid"], "the host name for ssh must not start with '-'; it is '-x'"),
        (["local:", "os.getpid", "--port", "0"], "Invalid value for '--port': 0 is not in the range 1<=x<=65535."),
    ],
)
def test_a_wrong_command_line_is_status_2(folder: Path, words: "list[str]", why: str) -> None:
    ended = plasmid("run", *words, folder=folder)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.splitlines()[-1] == f"Error: {why}"


def test_a_target_that_can_not_be_reached_is_status_3_and_the_others_are_done(folder: Path) -> None:
    ended = plasmid(
        "run", "local:,ssh://me@host", "tasks.py::module_name", "--ssh-arg=-Q", "--ssh-arg=nonsense", folder=folder
    )
    assert (ended.status, ended.out) == (3, "local: tasks\n")
    assert ended.err.startswith("host: connecting to ssh://me@host: wait for the far side's first line: ssh exited ")


def test_advice_speaks_of_the_command_s_own_options() -> None:
    ended = plasmid("run", "local:", "os.getpid", "--python", "/bin/false-python")
    assert ended == (
        3,
        "",
        "local: connecting to local: start false-python: there is no program /bin/false-python here\n"
        "    Install it, or give its path.\n",
    )
    timed_out = plasmid("run", "local:", "time.sleep", "60", "--timeout", "0.2")
    assert (timed_out.status, timed_out.out) == (4, "")
    assert timed_out.err.endswith(" Allow more time with --timeout, or check first.\n")


def test_a_context_that_dies_is_status_4(folder: Path) -> None:
    ended = plasmid("run", "local:", "tasks.py::die", folder=folder)
    assert (ended.status, ended.out) == (4, "")
    assert "python exited with status 7" in ended.err.replace("python3", "python")


def test_the_status_is_the_highest_of_all_targets(folder: Path) -> None:
    ended = plasmid("run", "local:,host", "tasks.py::fail", "--ssh-arg=-Q", "--ssh-arg=nonsense", folder=folder)
    assert ended.status == 3


def test_via_starts_the_target_from_another_context() -> None:
    ended = plasmid("run", "local:", "os.getpid", "--via", "local:")
    assert (ended.status, ended.out.strip().isdigit(), ended.err) == (0, True, "")


def test_a_failure_behind_a_hop_is_status_3() -> None:
    ended = plasmid("run", "local:", "os.getpid", "--via", "local:", "--python", "/bin/false")
    assert ended == (
        3,
        "",
        "local: connecting to local: wait for the far side's first line: false exited with status 1\n",
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_command_leaves_nothing(folder: Path, number: signal.Signals, status: int) -> None:
    with waiting("run", "local:", "tasks.py::wait", folder=folder) as (process, far_pid):
        assert is_there(far_pid) != []
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (status, "", "")
    assert leftovers.until_empty(lambda: is_there(far_pid), GONE_TIMEOUT_S) == []


def test_a_command_that_is_killed_leaves_nothing(folder: Path) -> None:
    with waiting("run", "local:", "tasks.py::wait", folder=folder) as (process, far_pid):
        process.kill()
        process.communicate(timeout=20)
    assert leftovers.until_empty(lambda: is_there(far_pid), GONE_TIMEOUT_S) == []


def test_the_version_is_the_package_s() -> None:
    import plasmid as package

    assert plasmid("--version") == (0, f"plasmid {package.__version__}\n", "")


def test_the_help_has_the_exit_statuses_and_examples() -> None:
    ended = plasmid("run", "--help")
    assert ended.status == 0
    for text in ("plasmid run local: platform.node", "  3    a target couldn't be reached", "130  interrupted"):
        assert text in ended.out
