"""Whole programs, run as a user runs them: their own modules follow, and nothing is left when they end, however."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import plasmid
from tests.real import leftovers, sshd, users
from tests.real.conftest import LOCAL, SSH, one_way
from tests.real.interpreters import interpreter

SOURCES = Path(plasmid.__file__).parent.parent
TIMEOUT_S = 50
GONE_TIMEOUT_S = 2

two_ways = pytest.mark.parametrize("way", [LOCAL, SSH])

# `start(router)` for the scripts below, as the test was asked to reach its far side.
START = """\
import json, os, sys
import plasmid

def start(router, name="far"):
    options = json.loads(os.environ["START"])
    return router.ssh(name=name, **options) if options else router.local(name=name)
"""


def start_options(request: pytest.FixtureRequest, way: str) -> str:
    """Return what start() in a script needs to know."""
    if way == LOCAL:
        return json.dumps({})
    client: sshd.Client = request.getfixturevalue("ssh_client")
    return json.dumps({"hostname": client.hostname, "ssh_args": client.ssh_args})


def write(folder: Path, files: "dict[str, str]") -> None:
    """Write the files of a program; START stands at the head of its main one."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        source = textwrap.dedent(text)
        path.write_text(START + source if name in ("program.py", "tool/__main__.py") else source)


def popen(
    folder: Path, start: str = "{}", argv: "tuple[str, ...]" = ("program.py",), python: str = sys.executable
) -> "subprocess.Popen[str]":
    """Start a program."""
    return subprocess.Popen(
        [python, *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCES), "START": start},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    folder: Path, start: str = "{}", argv: "tuple[str, ...]" = ("program.py",), python: str = sys.executable
) -> "tuple[int, str, str]":
    """Return a program's exit status and what it printed."""
    process = popen(folder, start, argv, python)
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


GUARDED = """
    def where():
        return __name__, os.getpid()

    class Greeter(plasmid.Service):
        @plasmid.expose(plasmid.AllowParents())
        def greet(self, name: str) -> str:
            return "hello " + name

    class Own(Exception):
        pass

    def fail():
        raise Own("of __main__")

    if __name__ == "__main__":
        with plasmid.Router() as router:
            far = start(router)
            name, pid = far.call(where)
            print(name, pid != os.getpid(), far.service(Greeter).greet("you"))
            try:
                far.call(fail)
            except plasmid.RemoteError as error:
                print(error.type_name, error.text)
"""
# No guard: what a far side is given of it must not start another router.
UNGUARDED = """
    LIMIT = 3
    def count(to=LIMIT):
        return list(range(to))

    router = plasmid.Router()
    far = start(router)
    print(far.call(count), far.call(count, 2))
    router.close()
"""
MARKED = """
    def area(width, height):
        return width * height

    @plasmid.main()
    def main(router):
        far = start(router)
        print(far.call(area, 3, 4))
        return 7
"""


@two_ways
def test_functions_services_and_errors_of_a_guarded_program_follow_it(  # U3, U4
    request: pytest.FixtureRequest, tmp_path: Path, way: str
) -> None:
    write(tmp_path, {"program.py": GUARDED})
    status, out, err = run(tmp_path, start_options(request, way))
    assert (status, out, err) == (0, "__main__ True hello you\n__main__.Own of __main__\n", "")


@two_ways
def test_a_program_without_a_guard_works_too(request: pytest.FixtureRequest, tmp_path: Path, way: str) -> None:  # U3
    write(tmp_path, {"program.py": UNGUARDED})
    assert run(tmp_path, start_options(request, way)) == (0, "[0, 1, 2] [0, 1]\n", "")


@two_ways
def test_plasmid_main_gives_a_router_and_ends_with_the_functions_status(  # S16
    request: pytest.FixtureRequest, tmp_path: Path, way: str
) -> None:
    write(tmp_path, {"program.py": MARKED})
    assert run(tmp_path, start_options(request, way)) == (7, "12\n", "")


@one_way
def test_a_program_run_as_a_module_imports_relatively_there_too(tmp_path: Path, way: str) -> None:  # U4
    write(
        tmp_path,
        {
            "tool/__init__.py": "",
            "tool/parts/__init__.py": "from .deep import BASE\n",
            "tool/parts/deep.py": "from .. import names\nBASE = len(names.NAMES)\n",
            "tool/names.py": "NAMES = ['a', 'b']\n",
            "tool/__main__.py": """
                from . import names
                from .parts import BASE

                def both():
                    from .late import LATE
                    return BASE, names.NAMES, LATE, names.__name__

                if __name__ == "__main__":
                    with plasmid.Router() as router:
                        print(start(router).call(both))
            """,
            "tool/late.py": "LATE = 'imported late'\n",
        },
    )
    assert run(tmp_path, argv=("-m", "tool")) == (0, "(2, ['a', 'b'], 'imported late', 'tool.names')\n", "")


@two_ways
def test_a_programs_packages_follow_with_submodules_and_relative_imports(  # U4
    request: pytest.FixtureRequest, tmp_path: Path, way: str
) -> None:
    write(
        tmp_path,
        {
            "pkg/__init__.py": "from pkg.shapes import Square as Square\nVERSION = '1.0'\n",
            "pkg/shapes/__init__.py": "from .square import Square as Square\n",
            "pkg/shapes/square.py": """
                from .. import util
                from ..util import double

                class Square:
                    @staticmethod
                    def area(side):
                        from .late import squared
                        return squared(side), double(side), util.__file__.endswith("pkg/util.py")
            """,
            "pkg/shapes/late.py": "from pkg import util\n\ndef squared(n):\n    return n * n\n",
            "pkg/util.py": "import decimal\n\ndef double(n):\n    return decimal.Decimal(2) * n\n",
            "space/inner/thing.py": "def name():\n    return __name__\n",
            "lonely.py": "import pkg.util\n\ndef tell():\n    return pkg.util.double(21)\n",
            "program.py": """
                import pkg, lonely
                from space.inner import thing
                if __name__ == "__main__":
                    with plasmid.Router() as router:
                        far = start(router)
                        print(*far.call(pkg.Square.area, 3), far.call(lonely.tell), far.call(thing.name))
            """,
        },
    )
    assert run(tmp_path, start_options(request, way)) == (0, "9 6 True 42 space.inner.thing\n", "")


@one_way
def test_modules_reach_a_context_two_levels_down(tmp_path: Path, way: str) -> None:  # U4
    write(
        tmp_path,
        {
            "helper.py": "import helper_two\n\ndef told():\n    return helper_two.TEXT\n",
            "helper_two.py": "TEXT = 'from afar'\n",
            "program.py": """
                import helper
                if __name__ == "__main__":
                    with plasmid.Router() as router:
                        a = start(router, "a")
                        b = router.local(via=a, name="b")
                        c = router.local(via=b, name="c")
                        print(c.call(helper.told), b.call(helper.told))
            """,
        },
    )
    assert run(tmp_path) == (0, "from afar from afar\n", "")


@one_way
def test_a_far_traceback_shows_the_programs_own_lines(tmp_path: Path, way: str) -> None:
    write(
        tmp_path,
        {
            "work.py": "def divide(a, b):\n    return a / b  # the line to show\n",
            "program.py": """
                import work
                if __name__ == "__main__":
                    with plasmid.Router() as router:
                        start(router).call(work.divide, 1, 0)
            """,
        },
    )
    status, out, err = run(tmp_path)
    assert (status, out) == (1, "")
    assert "return a / b  # the line to show" in err
    assert 'work.py", line 2, in divide' in err
    assert err.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "The above exception was the direct cause" in err


# ---------------------------------------------------------------- ends

TREE = """
    def pids():
        with open("/proc/self/task/%d/children" % os.getpid()) as children:
            return [os.getpid()] + [int(word) for word in children.read().split()]

    def sleeper():
        import subprocess
        return subprocess.Popen(["sleep", "600"]).pid

    def stop():
        import signal
        os.kill(os.getpid(), signal.SIGSTOP)

    def spin():
        sum(range(1 << 60))

    def ignore():
        import signal
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    if __name__ == "__main__":
        router = plasmid.Router()
        far = start(router)
        below = router.local(via=far, name="below")
        found = far.call(pids) + below.call(pids) + [far.call(sleeper), below.call(sleeper)]
        how = sys.argv[1]
        if how == "stubborn":
            far.call(ignore)
            below.call(ignore)
            far.call_async(spin)
            below.call_async(stop)
        print(json.dumps(found), flush=True)
        if how in ("waits", "stubborn"):
            import threading
            threading.Event().wait()
        if how == "raises":
            raise ValueError("the program's own mistake")
        if how == "leaves":
            os._exit(4)
        if how == "exits":
            sys.exit(5)
"""


@two_ways
@pytest.mark.parametrize(("how", "status"), [("ends", 0), ("raises", 1), ("leaves", 4), ("exits", 5)])
def test_a_program_that_ends_without_close_leaves_nothing(  # U7, D11
    request: pytest.FixtureRequest, tmp_path: Path, way: str, how: str, status: int
) -> None:
    write(tmp_path, {"program.py": TREE})
    found, out, err = run(tmp_path, start_options(request, way), ("program.py", how))
    pids = json.loads(out)
    assert found == status
    assert len(pids) >= 5
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    assert ("the program's own mistake" in err) == (how == "raises")
    assert how == "raises" or err == ""


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_a_program_of_any_python_ends_quietly_without_close(tmp_path: Path, version: str) -> None:  # U7
    # From 3.12 on an interpreter that is ending starts no thread, and only then are the contexts taken leave of.
    write(tmp_path, {"program.py": TREE})
    found, out, err = run(tmp_path, argv=("program.py", "ends"), python=interpreter(version))
    assert (found, err) == (0, "")
    assert leftovers.until_empty(lambda: leftovers.running(json.loads(out)), GONE_TIMEOUT_S) == []


@two_ways
@pytest.mark.parametrize("how", ["waits", "stubborn"])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_root_had_started_is_gone_in_two_seconds(  # D11, U7
    request: pytest.FixtureRequest, tmp_path: Path, way: str, how: str, sent: signal.Signals
) -> None:
    write(tmp_path, {"program.py": TREE})
    process = popen(tmp_path, start_options(request, way), ("program.py", how))
    assert process.stdout is not None
    pids = json.loads(process.stdout.readline())
    assert len(leftovers.running(pids)) == len(pids) >= 5
    process.send_signal(sent)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -sent
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []


# Four contexts below one another, the second elsewhere, none of which can leave by itself or tell the next of the end.
LEVELS = """
    def pids():
        found = [os.getpid()]
        for thread in os.listdir("/proc/self/task"):
            with open("/proc/self/task/%s/children" % thread) as children:
                found += [int(word) for word in children.read().split()]
        return found

    def get_stuck(how, port):
        import signal, socket, time
        socket.create_connection(("127.0.0.1", port)).close()
        if how == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        if how == "in native code":
            sum(range(1 << 60))
        time.sleep(600)

    def leave_a_word(path):
        import atexit
        def word():
            with open(path, "w") as file:
                file.write("left in order")
        atexit.register(word)

    if __name__ == "__main__":
        router = plasmid.Router()
        contexts = [router.local(name="first")]
        url, options = json.loads(os.environ["START"])
        contexts.append(router.connect(url, name="second", via=contexts[0], **options))
        python = options.get("python_path")
        contexts.append(router.local(name="third", via=contexts[1], python_path=python))
        contexts.append(router.local(name="fourth", via=contexts[2], python_path=python))
        found = [pid for context in contexts for pid in context.call(pids)]
        import socket
        told = socket.socket()
        told.bind(("127.0.0.1", 0))
        told.listen(1)
        told.settimeout(20)
        # From below: nothing gets past those above once they are stuck.
        for context, how in zip(reversed(contexts), reversed(sys.argv[1].split(", "))):
            if how == "is healthy":
                context.call(leave_a_word, os.path.abspath(context.name))
                continue
            context.call_async(get_stuck, how, told.getsockname()[1])
            told.accept()[0].close()
        print(json.dumps(found), flush=True)
        import threading
        threading.Event().wait()
"""


@pytest.mark.parametrize(
    "how", ["stopped, in native code, waits, stopped", "in native code, stopped, in native code, in native code"]
)
def test_four_contexts_below_one_another_that_are_all_stuck_are_gone_two_seconds_after_the_root(  # D11, U7
    ssh_client: sshd.Client, tmp_path: Path, how: str
) -> None:
    kill_levels(tmp_path, [f"ssh://{ssh_client.hostname}", {"ssh_args": list(ssh_client.ssh_args)}], how)


@pytest.mark.parametrize("how", ["stopped, stopped, in native code, stopped", "waits, in native code, stopped, waits"])
def test_four_stuck_contexts_of_which_one_is_another_user_s_are_gone_two_seconds_after_the_root(  # D11, U7
    machine_users: users.Users, tmp_path: Path, how: str
) -> None:
    kill_levels(tmp_path, [f"sudo://{machine_users.target.name}@", {"python_path": users.PYTHON}], how)


@pytest.mark.parametrize(
    "how", ["is healthy, is healthy, is healthy, is healthy", "stopped, is healthy, is healthy, is healthy"]
)
def test_contexts_of_a_killed_root_leave_in_order_if_they_can_however_deep_they_are(  # D11, U7
    ssh_client: sshd.Client, tmp_path: Path, how: str
) -> None:
    kill_levels(tmp_path, [f"ssh://{ssh_client.hostname}", {"ssh_args": list(ssh_client.ssh_args)}], how)
    names = [name for name in ("first", "second", "third", "fourth") if (tmp_path / name).exists()]
    assert names == ["first", "second", "third", "fourth"][how.count("stopped") :]


def kill_levels(folder: Path, start: "list[object]", how: str) -> None:
    """Run a program with four contexts below one another, and kill it; all of them must be gone in time."""
    write(folder, {"program.py": LEVELS})
    process = popen(folder, json.dumps(start), ("program.py", how))
    assert process.stdout is not None
    pids = set(json.loads(process.stdout.readline()))
    assert len(leftovers.running(list(pids))) == len(pids) >= 8
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    assert leftovers.until_empty(lambda: leftovers.running(list(pids)), GONE_TIMEOUT_S) == []


# What leads to a context is stopped: the ssh of the root, that of a relay on its machine, and that of one elsewhere.
CLIENTS = """
    def children():
        found = []
        for thread in os.listdir("/proc/self/task"):
            with open("/proc/self/task/%s/children" % thread) as children:
                found += [int(word) for word in children.read().split()]
        return found

    def stop_ssh():
        import signal
        stopped = 0
        for pid in children():
            with open("/proc/%d/comm" % pid) as comm:
                if comm.read().strip() == "ssh":
                    os.kill(pid, signal.SIGSTOP)
                    stopped += 1
        return stopped

    if __name__ == "__main__":
        options = json.loads(os.environ["START"])
        router = plasmid.Router()
        relays = [router.local(name="here"), router.ssh(name="there", **options)]
        ends = [router.ssh(name="behind", via=relay, **options) for relay in relays]
        found = children()
        for context in relays + ends:
            found += [context.call(os.getpid)] + context.call(children)
        assert [context.call(stop_ssh) for context in relays] == [1, 1]
        if sys.argv[1] == "the root's too":
            assert stop_ssh() == 1
        print(json.dumps(found), flush=True)
        if sys.argv[2] == "close":
            router.close(patience_s=1)
            print(children(), flush=True)
        import threading
        threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("which", "ending"), [("those of relays", "killed"), ("the root's too", "killed"), ("the root's too", "close")]
)
def test_an_ssh_that_was_stopped_is_gone_in_two_seconds_as_all_are(  # D11, U7
    ssh_client: sshd.Client, tmp_path: Path, which: str, ending: str
) -> None:
    write(tmp_path, {"program.py": CLIENTS})
    options = {"hostname": ssh_client.hostname, "ssh_args": list(ssh_client.ssh_args)}
    process = popen(tmp_path, json.dumps(options), ("program.py", which, ending))
    assert process.stdout is not None
    pids = json.loads(process.stdout.readline())
    # The local relay, three ssh here and the two watchdogs; the others' interpreters and watchdogs.
    assert len(leftovers.running(pids)) == len(set(pids)) >= 12
    if ending == "close":
        assert process.stdout.readline() == "[]\n"
        assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []


@one_way
def test_ctrl_c_ends_the_program_and_not_its_contexts_first(tmp_path: Path, way: str) -> None:  # U7
    write(
        tmp_path,
        {
            "program.py": """
                import threading
                def again(): return "still there"
                if __name__ == "__main__":
                    with plasmid.Router() as router:
                        far = start(router)
                        try:
                            print("ready", flush=True)
                            # Not wait() alone: the kernel may give the signal to another thread just before it.
                            while not threading.Event().wait(0.1):
                                pass
                        except KeyboardInterrupt:
                            print(far.call(again))
            """
        },
    )
    process = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCES), "START": "{}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out, err) == (0, "still there\n", "")


@two_ways
def test_ctrl_c_while_a_call_is_waited_for_leaves_the_link_usable(  # U7
    request: pytest.FixtureRequest, tmp_path: Path, way: str
) -> None:
    write(
        tmp_path,
        {
            "program.py": """
                import threading
                gate = threading.Event()
                class Gate(plasmid.Service):
                    @plasmid.expose(plasmid.AllowParents())
                    def open(self) -> None:
                        gate.set()
                    @plasmid.expose(plasmid.AllowParents())
                    def close(self) -> None:
                        gate.clear()
                def wait(): return gate.wait(30)
                if __name__ == "__main__":
                    with plasmid.Router() as router:
                        far = start(router)
                        # All that is needed there is there, so that nothing else is on the link when the signal comes.
                        far.service(Gate).open()
                        far.call(wait)
                        far.service(Gate).close()
                        call = far.call_async(wait)
                        try:
                            print("ready", flush=True)
                            while True:
                                # Not for ever: the kernel may give the signal to another thread just before it.
                                try:
                                    call.result(timeout=0.1)
                                except plasmid.TimedOut:
                                    pass
                        except KeyboardInterrupt:
                            # The wait that it interrupted has cancelled the call; it may have come between two waits.
                            call.cancel()
                        print(type(call.exception(30)).__name__)
                        far.service(Gate).open()
                        print(far.call(wait))
            """
        },
    )
    process = popen(tmp_path, start_options(request, way))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out, err) == (0, "Cancelled\nTrue\n", "")


@one_way
def test_what_contexts_print_is_shown_by_the_programs_own_logging(tmp_path: Path, way: str) -> None:  # U6
    write(
        tmp_path,
        {
            "program.py": """
                import logging
                def work():
                    print("printed")
                    logging.getLogger("w").error("logged")
                if __name__ == "__main__":
                    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
                    with plasmid.Router() as router:
                        start(router).call(work)
            """
        },
    )
    status, out, err = run(tmp_path)
    assert (status, out) == (0, "")
    assert sorted(err.splitlines()) == ["ERROR plasmid.ctx.far logged", "INFO plasmid.ctx.far printed"]
