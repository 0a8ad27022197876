"""What the real tests run on far sides: functions and services. It is sent there, so it runs on Python 3.6 too.

Only what a test needs to say what happened over there; the assertions stand in the tests.
"""

import logging
import os
import signal
import sys
import threading
import time
import warnings

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from plasmid.router import Router
    from plasmid.runtime.jobs import Job  # noqa: F401 - in a comment
    from plasmid.service.interfaces import Message
    from plasmid.surroundings import ExternalContext

GATE_TIMEOUT_S = 30

noted = []  # type: list[Any]
joined = []  # type: list[Any]
gate = threading.Event()


# ---------------------------------------------------------------- functions


def echo(value: "Any") -> "Any":
    """Return the value."""
    return value


def types_in(value: "Any") -> "Any":
    """Return the value's type by name, with those of what it holds."""
    name = type(value).__name__
    if isinstance(value, dict):
        return [name, sorted([types_in(key), types_in(item)] for key, item in value.items())]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [name, sorted(map(repr, map(types_in, value)))]
    return name


def add(a: int, b: int = 10) -> int:
    """Return the sum."""
    return a + b


class Shape:
    """A class with the kinds of methods that can be called without an object."""

    sides = 4

    @staticmethod
    def twice(n: int) -> int:
        """Return n, twice."""
        return 2 * n

    @classmethod
    def describe(cls, n: int) -> str:
        """Return which class was called, with what."""
        return "%s with %d sides, %d times" % (cls.__name__, cls.sides, n)

    def area(self) -> int:
        """Return what nobody can ask from afar."""
        return 0


class Square(Shape):
    """A class that inherits its methods."""


def python_version() -> "list[int]":
    """Return the version of the Python here."""
    return list(sys.version_info[:2])


def process_ids() -> "list[int]":
    """Return the numbers of this process and of its watchdog, if there is one beside it."""
    return [os.getpid(), *child_processes()]


def open_files() -> "list[str]":
    """Return the files on disk that this process has open to write to."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink("/proc/self/fd/" + number)
            with open("/proc/self/fdinfo/" + number) as info:
                flags = int(info.read().split("flags:")[1].split()[0], 8)
        except OSError:
            continue
        if path.startswith("/") and not path.startswith(("/dev/", "/proc/")) and flags & (os.O_WRONLY | os.O_RDWR):
            found.append(path)
    return found


def child_processes() -> "list[int]":
    """Return the numbers of the processes that this one started and that run."""
    with open("/proc/self/task/%d/children" % os.getpid()) as children:
        return [int(word) for word in children.read().split()]


def allocated_blocks() -> int:
    """Return how many blocks of memory Python has given out here, without garbage."""
    import gc

    gc.collect()
    return sys.getallocatedblocks()


def lacking(names: "tuple[str, ...]") -> "list[str]":
    """Return which of these modules there aren't here."""
    import importlib.util

    return [name for name in names if importlib.util.find_spec(name) is None]


def lacking_in(module: str, names: "list[str]") -> "list[str]":
    """Return which of these names a module here hasn't got."""
    import importlib

    return [name for name in names if not hasattr(importlib.import_module(module), name)]


def set_environment(name: str, value: str) -> None:
    """Set a variable here, for what is started from here."""
    os.environ[name] = value


def thread_name() -> str:
    """Return the name of the thread that this runs on."""
    return threading.current_thread().name


def note(value: "Any") -> None:
    """Remember the value."""
    noted.append(value)


def notes() -> "list[Any]":
    """Return the values noted, and forget them."""
    found = noted[:]
    del noted[:]
    return found


def wait_at_gate(value: "Any" = None) -> "Any":
    """Return the value once Gate.open() has been called."""
    if not gate.wait(GATE_TIMEOUT_S):
        raise AssertionError("the gate was never opened")
    gate.clear()
    return value


def fail(name: str, *args: "Any") -> None:
    """Raise the built-in exception of that name."""
    import builtins

    raise getattr(builtins, name)(*args)


class FarError(Exception):
    """An exception of the program's own."""


def fail_with_own_error(*args: "Any") -> None:
    """Raise an exception of the program's own."""
    raise FarError(*args)


def fail_because() -> None:
    """Raise an exception with a cause."""
    try:
        fail("KeyError", "inner")
    except KeyError as error:
        raise ValueError("outer") from error


def return_unsendable() -> "Any":
    """Return what can't travel, deep inside."""
    return {"rows": [1, 2, threading.Lock()]}


def fail_with_lock() -> None:
    """Raise an exception with an argument that can't travel."""
    raise ValueError(threading.Lock(), 5)


def write_to_link(data: bytes) -> None:
    """Write bytes to the link to the parent, as a hostile process would."""
    from plasmid.runtime import main

    runtime = main.runtime
    assert runtime is not None
    with runtime.lock:
        # Whatever waited has been written: the lock is only let go with nothing left over, on an idle link.
        os.write(runtime.loop.ios[0].write_fd, data)


def answer_with_garbage() -> None:
    """Answer this call with what is no value."""
    job = plasmid.current_call()
    assert job is not None
    job.reply_encoded([b"\0\0\0\3\xc1\xc1\xc1"])


def leave(status: int) -> None:
    """End this process without a word."""
    os._exit(status)


def kill_own_group() -> None:
    """Kill this process and all that it started."""
    os.killpg(0, 9)


def start_sleeper() -> int:
    """Start a process that does nothing for a long time, in this one's group; return its number."""
    import subprocess

    # Not waited for: the watchdog has to end it.
    process = subprocess.Popen(["sleep", "600"])
    noted.append(process)
    return process.pid


def hold_interpreter_lock() -> None:
    """Run code that never lets another Python thread run."""
    sum(range(1 << 60))


def ignore_signals() -> None:
    """Ignore every signal that a process may ignore."""
    import signal

    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGPIPE", "SIGQUIT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def stop_myself() -> None:
    """Stop this process, as the terminal does with Ctrl-Z."""
    import signal

    os.kill(os.getpid(), signal.SIGSTOP)


def lose_patience(idle_s: float, silence_max_s: float) -> None:
    """Bear with silence for so long, rather than for 35 s."""
    from plasmid.core import link, node

    link.IDLE_S, link.SILENCE_MAX_S, node.TICK_S = idle_s, silence_max_s, idle_s / 4


@plasmid.takes_econtext
def fork_and_call(econtext: "ExternalContext") -> "list[Any]":
    """Fork; have the child call the root; return its status and what came of it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            econtext.master.call_service("x", "call")
        except Exception as error:  # noqa: BLE001 - told below
            os.write(write, ("%s: call: %s" % (type(error).__name__, getattr(error, "found", error))).encode())
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    text = os.read(read, 4096).decode()
    os.close(read)
    os.close(write)
    return [status, text]


@plasmid.takes_econtext
def fork_on_a_terminal(econtext: "ExternalContext") -> str:
    """Fork with a terminal; return what the child says there of a call to the root."""
    pid, terminal = os.forkpty()
    if pid == 0:
        try:
            econtext.master.call_service("x", "call")
        except Exception as error:  # noqa: BLE001 - told below
            os.write(1, ("in the child: %s" % type(error).__name__).encode())
        finally:
            os._exit(0)
    try:
        return os.read(terminal, 4096).decode()
    finally:
        os.waitpid(pid, 0)
        os.close(terminal)


# ---------------------------------------------------------------- calls of calls


def hold_from_here(context: "Any") -> "Any":
    """Wait for a method of `context` that only ends when it is cancelled; note how that call ended."""
    try:
        return context.service(Work).run_until_cancelled()
    except plasmid.Cancelled as error:
        noted.append(str(error))
        raise


def call_from_here_after(context: "Any") -> None:
    """Wait as hold_from_here() does, and call once more when that has been cancelled."""
    try:
        hold_from_here(context)
    except plasmid.Cancelled:
        noted.append(context.service(Work).takes_path("on and on"))


def run_stubborn(context: "Any", script: str, out: "plasmid.Sender") -> None:
    """Run a script on `context`; tell `out` the first that it prints."""
    with plasmid.commands.start(context, ["sh", "-c", script]) as command:
        out.put(next(command)[1])
        command.wait()


def run_there(context: "Any") -> int:
    """Run a program on `context`; return its status."""
    return plasmid.commands.run(context, ["true"]).status


@plasmid.takes_router
def supervise_and_kill(router: "Router") -> "list[int]":
    """Kill a supervised context below this one; return the numbers of its processes before and after."""
    import signal

    lost = threading.Event()
    below = router.supervise("local:", restart=plasmid.Restart(first_s=0.05))
    below.on_lost(lambda context, reason: lost.set())
    pids = [below.call(os.getpid)]
    os.kill(pids[0], signal.SIGKILL)
    lost.wait(GATE_TIMEOUT_S)
    pids.append(below.wait(GATE_TIMEOUT_S).call(os.getpid))
    return pids


def tell_of_loss(context: "Any", out: "plasmid.Sender") -> None:
    """Tell `out` of the loss of `context`, once there is one."""
    context.on_lost(lambda lost, reason: out.put([str(lost), reason]))


# ---------------------------------------------------------------- what is around a function


@plasmid.takes_econtext
def own_place(econtext: "ExternalContext") -> "list[Any]":
    """Return this context, its parent and the root."""
    return [econtext.myself, econtext.parent, econtext.master]


@plasmid.takes_router
def start_below(name: str, router: "Router") -> "Any":
    """Return a new context that this one started."""
    return router.local(name=name)


@plasmid.takes_router
def make_second_router(router: "Router") -> None:
    """Make a Router where there is one already."""
    plasmid.Router()


def call_from_here(context: "Any", fn_name: str, *args: "Any") -> "Any":
    """Return what the function of this module returns when it's called on `context`."""
    return context.call(globals()[fn_name], *args)


def run_and_lose_the_answer(path: str, part: str) -> None:
    """Note in a file that this ran; write that part of the answer to the link, and end."""
    from plasmid.core.frames import Kind, Lane, encode

    with open(path, "a") as file:
        file.write("once\n")
    job = plasmid.current_call()
    assert job is not None
    answer = encode(Kind.REPLY, Lane.REPLY, job.id, job.runtime.node.address, job.source, bytes(100))
    size = {"none of it": 0, "half of its head": 8, "half of its body": len(answer) - 50}[part]
    write_to_link(answer[:size])
    leave(0)


@plasmid.takes_econtext
def outcome_at_root(key: str, econtext: "ExternalContext") -> "list[Any]":
    """Return how a call of the root's Catalog ended, and whether it had been started."""
    try:
        econtext.master.service(Catalog).find(key)
    except plasmid.CallError as error:
        return [type(error).__name__, error.started]
    return ["result", True]


@plasmid.takes_econtext
def ask_catalog(key: str, econtext: "ExternalContext") -> "Any":
    """Return what the root's Catalog has under the key."""
    return econtext.master.service(Catalog).find(key)


@plasmid.takes_econtext
def send_large_call(size: int, econtext: "ExternalContext") -> int:
    """Return how many characters the root's Work gives back of so many."""
    return len(econtext.master.service(Work).takes_path("x" * size))


@plasmid.takes_econtext
def ask_seconds_left(own_s: "float | None", econtext: "ExternalContext") -> "float | None":
    """Return how much time a call to the root has that is made here under a time limit of our own."""
    with plasmid.timeout(own_s):
        return econtext.master.service(Clock).seconds_left()


def use_counter(context: "Any", amount: int) -> int:
    """Return what the Counter of another context counts to."""
    return context.service(Counter).add(amount)  # type: ignore[no-any-return]


def reset_counter(context: "Any") -> None:
    """Reset the Counter of another context."""
    context.service(Counter).reset()


# ---------------------------------------------------------------- streams


def put_all(sender: "Any", values: "list[Any]", close: bool = False) -> None:
    """Put the values, one after the other."""
    for value in values:
        sender.put(value)
    if close:
        sender.close()


def put_until_full(sender: "Any", size: int, timeout: float) -> "list[Any]":
    """Put values of so many bytes until the receiver doesn't keep up; return how many went, and the error."""
    count = 0
    while True:
        try:
            sender.put(bytes(size), timeout=timeout)
        except plasmid.PlasmidError as error:
            return [count, type(error).__name__, str(error)]
        count += 1


def double_all(other_end: "Any") -> int:
    """Join a channel and give back twice what comes, until None comes or the other end is closed; return how many."""
    count = 0
    with plasmid.Channel(other_end) as channel:
        for value in channel:
            if value is None:
                break
            if value == "leave":
                leave(1)
            count += 1
            channel.put(2 * value)
    return count


def join_and_greet(other_end: "Any") -> None:
    """Join a channel, say hello, and stay."""
    joined.append(plasmid.Channel(other_end))
    joined[-1].put("hello")


@plasmid.takes_router
def open_receiver(router: "Router") -> "Any":
    """Return a Sender to a new Receiver here."""
    receiver = plasmid.Receiver(router)
    noted.append(receiver)
    return receiver.to_sender()


@plasmid.takes_router
def open_drain(router: "Router") -> "Any":
    """Return a Sender to a new Receiver here, of which a thread takes what comes and notes how much it was."""
    receiver = plasmid.Receiver(router)

    def drain() -> None:
        size = 0
        try:
            while True:
                size += len(receiver.get(GATE_TIMEOUT_S))
        except plasmid.ReceiverClosed:
            noted.append(size)
            gate.set()

    threading.Thread(target=drain, daemon=True).start()
    return receiver.to_sender()


def drained() -> int:
    """Return how many bytes came, once all have."""
    gate.wait(GATE_TIMEOUT_S)
    gate.clear()
    return noted.pop()  # type: ignore[no-any-return]


def take_from_receiver(count: int) -> "list[Any]":
    """Return so many values of the Receiver made last."""
    receiver = noted[-1]
    return [receiver.get(timeout=GATE_TIMEOUT_S) for _ in range(count)]


# ---------------------------------------------------------------- what is printed


def print_lines(count: int) -> None:
    """Print so many numbered lines."""
    for number in range(count):
        print("line %d" % number)


def say_everything() -> None:
    """Print, warn and log, in every way there is."""
    print("printed")
    os.write(1, b"written\n")
    print("complained", file=sys.stderr)
    warnings.warn("beware", UserWarning, stacklevel=1)
    os.system("echo from a process")
    logging.getLogger("far.log").warning("logged %d of %s", 1, "them")
    logging.getLogger("far.log").debug("too low to be sent")


def say_in_turn(count: int, end: str) -> None:
    """Print and log so many numbered lines, in every way in turn, and end as told."""
    log = logging.getLogger("far.log")
    for number in range(count):
        line = "line %d" % number
        if number % 4 == 0:
            print(line)
        elif number % 4 == 1:
            sys.stderr.write(line + "\n")
        elif number % 4 == 2:
            log.warning(line)
        else:
            os.write(2, line.encode() + b"\n")
    if end == "os._exit":
        os._exit(0)
    if end == "sys.exit":
        sys.exit(3)
    if end == "an exception":
        raise KeyError(end)


def print_and_leave(text: str) -> None:
    """Print a line without its end, and end the program's main thread as soon as its parent lets it."""
    sys.stdout.write(text)


# ---------------------------------------------------------------- services


class Gate(plasmid.Service):
    """Lets wait_at_gate() go on."""

    @plasmid.expose(plasmid.AllowParents())
    def open(self) -> str:
        """Open the gate; return the thread that did."""
        gate.set()
        return threading.current_thread().name


class Mortal(plasmid.Service):
    """Dies of what it is called for."""

    @plasmid.expose(plasmid.AllowParents())
    @plasmid.idempotent()
    def survive(self, path: str, deaths: int) -> int:
        """Add a letter to a file, and die of it so many times; then return how many there are."""
        with open(path, "a", encoding="utf-8") as file:
            file.write("x")
        found = os.path.getsize(path)
        if found <= deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return found


class Counter(plasmid.Service):
    """Counts; constructed once."""

    made = 0

    def __init__(self, router: "Any") -> None:
        super().__init__(router)
        Counter.made += 1
        self.count = 0
        self.lock = threading.Lock()

    @plasmid.expose(plasmid.AllowAny())
    def add(self, amount: int = 1) -> int:
        """Return the new count."""
        with self.lock:
            self.count += amount
            return self.count

    @plasmid.expose(plasmid.AllowParents())
    def made_count(self) -> int:
        """Return how many of these were made."""
        return Counter.made

    @plasmid.expose(plasmid.AllowParents())
    def reset(self) -> None:
        """Start from 0."""
        self.count = 0

    def hidden(self) -> int:
        """Return what nobody may ask from afar."""
        return self.count

    def _private(self) -> int:
        return self.count


class Catalog(plasmid.Service):
    """Finds things, slowly, and once for everyone who asks for the same."""

    invoker_class = plasmid.service.DeduplicatingInvoker

    def __init__(self, router: "Any") -> None:
        super().__init__(router)
        self.executions = []  # type: list[str]
        self.may_answer = threading.Event()
        self.may_answer.set()

    @plasmid.expose(plasmid.AllowAny())
    def find(self, key: str) -> list:  # type: ignore[type-arg]
        """Return the key and who asked for it."""
        self.executions.append(key)
        self.may_answer.wait(GATE_TIMEOUT_S)
        return [key, self.caller.name]


class Clock(plasmid.Service):
    """Says how much time its callers have."""

    @plasmid.expose(plasmid.AllowAny())
    def seconds_left(self) -> float:
        """Return the seconds until the caller's deadline, -1 for none."""
        job = plasmid.current_call()
        assert job is not None
        return -1.0 if job.deadline is None else job.deadline - time.monotonic()


class Work(plasmid.Service):
    """Methods that end in different ways."""

    def __init__(self, router: "Any") -> None:
        super().__init__(router)
        self.held = []  # type: list[Job]
        self.running = threading.Event()
        self.seen_cancelled = threading.Event()

    @plasmid.expose(plasmid.AllowAny())
    def fail(self, name: str, text: str) -> None:
        """Raise the built-in exception of that name."""
        fail(name, text)

    @plasmid.expose(plasmid.AllowAny())
    def hold(self) -> str:
        """Leave the answer to release()."""
        job = plasmid.current_call()
        assert job is not None
        self.held.append(job)
        return plasmid.NO_REPLY  # type: ignore[no-any-return]

    @plasmid.expose(plasmid.AllowAny())
    def release(self, value: str) -> int:
        """Answer everyone who was held; return how many those were."""
        held, self.held = self.held, []
        for job in held:
            job.reply(value)
        return len(held)

    @plasmid.expose(plasmid.AllowAny())
    def drop(self) -> str:
        """Never answer."""
        return plasmid.NO_REPLY  # type: ignore[no-any-return]

    @plasmid.no_reply()
    @plasmid.expose(plasmid.AllowAny())
    def tell(self, text: str) -> None:
        """Note the text."""
        noted.append(text)

    @plasmid.expose(plasmid.AllowAny())
    def unsendable(self) -> object:
        """Return what can't travel."""
        return return_unsendable()

    @plasmid.expose(plasmid.AllowAny())
    def run_until_cancelled(self) -> bool:
        """Return when the caller has given up; say so to was_cancelled()."""
        job = plasmid.current_call()
        assert job is not None
        self.running.set()
        give_up_at = time.monotonic() + GATE_TIMEOUT_S
        while not job.cancelled and time.monotonic() < give_up_at:
            time.sleep(0.005)
        if job.cancelled:
            self.seen_cancelled.set()
        return job.cancelled

    @plasmid.expose(plasmid.AllowAny())
    def is_running(self) -> bool:
        """Return whether run_until_cancelled() has begun, once it has."""
        return self.running.wait(GATE_TIMEOUT_S)

    @plasmid.expose(plasmid.AllowAny())
    def was_cancelled(self) -> bool:
        """Return whether a call has seen that it was cancelled, once it has."""
        return self.seen_cancelled.wait(GATE_TIMEOUT_S)

    @plasmid.arg_spec({"path": str})
    @plasmid.expose(plasmid.AllowAny())
    def takes_path(self, path: str, times: int = 1) -> str:
        """Return the path."""
        return path * times


def queued(runtime: "Any") -> int:
    """Return how many bytes wait in a context to be written, on all links, but for long bodies that wait their turn."""
    with runtime.lock:
        pending = sum(len(part) for io in runtime.loop.ios.values() for part in io.pending)
        outboxes = [link.outbox for link in runtime.node.links.values()]
        return int(pending + sum(len(box.lone) + sum(box.shares.values()) for box in outboxes))


class Beside(plasmid.Service):
    """Much, and a little beside it."""

    @plasmid.expose(plasmid.AllowParents())
    def pour(self, mib: int) -> "Iterator[bytes]":
        """Give so many MiB, piece by piece."""
        piece = bytes(32768)
        for _ in range(mib * 32):
            yield piece

    @plasmid.expose(plasmid.AllowParents())
    def bytes_ahead(self) -> int:
        """Return how many bytes wait to be written here."""
        return queued(self.router.runtime)


class Older(plasmid.Service):
    """A service in the older form."""

    handle = 501
    required_args = {"path": str}
    policies = (plasmid.AllowAny(),)
    max_message_size = 1000

    def dispatch(self, args: "Any", msg: "Message") -> str:
        """Return what was asked, by whom."""
        return "%s for %s" % (args["path"], msg.caller.name)


class OlderGuarded(plasmid.Service):
    """The same with the policy that it has when it says nothing: parents only."""

    handle = 502

    def dispatch(self, args: "Any", msg: "Message") -> str:
        """Return the arguments as text."""
        return repr(args)


@plasmid.takes_econtext
def call_older_at_root(handle: int, args: "Any", econtext: "ExternalContext") -> "Any":
    """Return what a service in the older form of the root answers."""
    return plasmid.service.call(econtext.master, handle, args)


def read_text(path: str) -> str:
    """Return what is in a file here."""
    with open(path) as file:
        return file.read()


def environment() -> "dict[str, str]":
    """Return the environment here."""
    return dict(os.environ)


def error_of_url(url: str, folder: str) -> str:
    """Return what a URL is refused with here; packages of `folder` count as installed."""
    import sys

    from plasmid.connect import parse

    sys.path.insert(0, folder)
    try:
        parse(url)
    except ValueError as error:
        return str(error)
    return ""


class Relay(plasmid.Service):
    """A service of the root whose method waits for another context."""

    def __init__(self, router: "Any", context: "Any" = None) -> None:
        super().__init__(router)
        self.context = context

    @plasmid.expose(plasmid.AllowAny())
    def hold(self) -> bool:
        """Wait for a method of that context that only ends when it is cancelled."""
        return self.context.service(Work).run_until_cancelled()  # type: ignore[no-any-return]


@plasmid.takes_econtext
def ask_relay(econtext: "ExternalContext") -> None:
    """Wait for the root's Relay."""
    econtext.master.service(Relay).hold()


class Breaker(plasmid.Service):
    """Breaks the link of the context it runs in."""

    @plasmid.expose(plasmid.AllowParents())
    def write_garbage(self) -> None:
        """Write to the link what is no frame."""
        write_to_link(b"\xff" * 40)


def start_daemon() -> int:
    """Start a process that does nothing for a long time, in a session of its own; return its number."""
    import subprocess

    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    noted.append(process)
    return process.pid
