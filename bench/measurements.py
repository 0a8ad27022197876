"""What is done to a subject, and which figures come of it. Each measurement runs in a process of its own."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from bench import machine, moves, pythons, sshd
from bench.subject import NotOffered, Subject, timed_calls

KIB = 1024
MIB = KIB * KIB


class Size(NamedTuple):
    """How much is done: enough for a figure to keep still, or, quickly, only enough for one at all."""

    calls: int
    threaded_calls: int
    pipelined_calls: int
    starts: int
    at_once: int
    large_mib: int
    crowd: int
    file_mib: int
    small_files: int


FULL = Size(
    calls=2000,
    threaded_calls=300,
    pipelined_calls=8000,
    starts=5,
    at_once=20,
    large_mib=64,
    crowd=200,
    file_mib=256,
    small_files=2000,
)
QUICK = Size(
    calls=200,
    threaded_calls=30,
    pipelined_calls=1500,
    starts=1,
    at_once=4,
    large_mib=8,
    crowd=6,
    file_mib=2,
    small_files=50,
)
WARM_UP_CALLS = 200
WINDOW = 1000
THREADS = 8
STARTERS = 16  # of a crowd at once
OTHERS = 8  # interpreters that run beside a child whose memory is looked at
KEY_CALLERS = 64
IDLE_S = 0.5


class Measurement(NamedTuple):
    """One thing to do. pinned: on one core, since what a hand-off between threads costs varies with their places."""

    run: "Callable[[Subject, Size], dict[str, float]]"
    pinned: bool


def interpreter(subject: Subject, size: Size) -> "dict[str, float]":
    """Start a bare interpreter that does nothing."""
    if subject.name != "raw":
        raise NotOffered
    times = [timed(lambda: run([pythons.BARE_PYTHON, "-I", "-S", "-c", "pass"])) for _ in range(size.starts)]
    return {"interpreter_start": median(times)}


def boot(subject: Subject, size: Size) -> "dict[str, float]":
    """Start children one after the other, each asked for one small call after its first answer."""
    answers, calls, sent = [], [], []
    for _ in range(1 + size.starts):
        start = perf_counter()
        with started(subject) as child:
            answered = perf_counter()
            subject.call(child, 0)
            answers.append(answered - start)
            calls.append(perf_counter() - answered)
            sent.append(boot_bytes(subject, child))
    figures = {"first_answer_fresh": answers[0], "first_answer": median(answers[1:])}
    if subject.name != "raw":
        # The raw child has its one function from the start.
        figures["first_service"] = median(calls[1:])
    if sent[0]:
        figures["boot_bytes"] = float(median(sent))
    return figures


def memory(subject: Subject, size: Size) -> "dict[str, float]":
    """Look at a child that has answered once and is idle, with all processes that are there for it; and at one more."""
    with other_interpreters() as others:

        def there_for_it() -> "list[int]":
            return [pid for pid in machine.with_children(os.getpid())[1:] if pid not in others]

        with started(subject):
            time.sleep(IDLE_S)
            one = machine.memory_bytes(there_for_it())
            with started(subject):
                time.sleep(IDLE_S)
                both = machine.memory_bytes(there_for_it())
    return {"memory": one, "memory_more": both - one}


@contextmanager
def other_interpreters() -> "Iterator[set[int]]":
    """Run as many more of the child's interpreter as a machine in use does; give their process ids.

    What processes share counts by their parts in it. Beside one other alone a child is charged with half of the
    interpreter itself, which is a third of what a bare one takes, and is no matter of what runs in it.
    """
    with ExitStack() as stack:
        others = set()
        for _ in range(OTHERS):
            argv = [pythons.BARE_PYTHON, "-I", "-S", "-c", "print(flush=True); input()"]
            process = stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(process.communicate, b"\n")
            assert process.stdout is not None
            process.stdout.readline()
            others.add(process.pid)
        yield others


def calls_down(subject: Subject, size: Size) -> "dict[str, float]":
    """Call a child, one small call after the other."""
    with started(subject) as child:
        timed_calls(subject, child, min(WARM_UP_CALLS, size.calls))
        pids = [os.getpid(), subject.pid(child)]
        switches, cpu = machine.switches(pids), machine.cpu_seconds(pids)
        times = timed_calls(subject, child, size.calls)
        switches, cpu = machine.switches(pids) - switches, machine.cpu_seconds(pids) - cpu
    return {
        "call_down": median(times),
        "call_down_p99": sorted(times)[len(times) * 99 // 100],
        "switches_down": switches / size.calls,
        "cpu_down": cpu / size.calls,
    }


def calls_up(subject: Subject, size: Size) -> "dict[str, float]":
    """Have a child call this process, one small call after the other."""
    with started(subject) as child:
        subject.calls_up(child, min(WARM_UP_CALLS, size.calls))
        pids = [os.getpid(), subject.pid(child)]
        switches, cpu = machine.switches(pids), machine.cpu_seconds(pids)
        times = subject.calls_up(child, size.calls)
        switches, cpu = machine.switches(pids) - switches, machine.cpu_seconds(pids) - cpu
    return {
        "call_up": median(times),
        "switches_up": switches / size.calls,
        "cpu_up": cpu / size.calls,
    }


def hops(subject: Subject, size: Size) -> "dict[str, float]":
    """Call children behind none, one and two others, in turns; a hop costs what the medians differ by."""
    children = [subject.start_behind(count) for count in range(3)]
    times: list[list[float]] = [[], [], []]
    for child in children:
        timed_calls(subject, child, min(WARM_UP_CALLS, size.calls))
    for _ in range(10):
        for child, its_times in zip(children, times, strict=True):
            its_times += timed_calls(subject, child, size.calls // 20)
    for child in reversed(children):
        subject.stop(child)
    return {"hop": (median(times[2]) - median(times[0])) / 2}


def pipeline(subject: Subject, size: Size) -> "dict[str, float]":
    """Make small calls without waiting for each."""
    with started(subject) as child:
        subject.pipeline(child, WARM_UP_CALLS, WINDOW)
        seconds = timed(lambda: subject.pipeline(child, size.pipelined_calls, WINDOW))
    return {"pipeline": size.pipelined_calls / seconds}


def threads(subject: Subject, size: Size) -> "dict[str, float]":
    """Make small calls from several threads at once."""
    subject = subject.for_threads()
    with started(subject) as child:
        timed_calls(subject, child, WARM_UP_CALLS)
        seconds = timed(lambda: at_once(THREADS, lambda: timed_calls(subject, child, size.threaded_calls)))
    return {"threads": THREADS * size.threaded_calls / seconds}


def echo_1(subject: Subject, size: Size) -> "dict[str, float]":
    """Send 1 MiB there and back, again and again."""
    return {"echo_1": echo_rate(subject, 1, 20 if size is FULL else 4)}


def echo_64(subject: Subject, size: Size) -> "dict[str, float]":
    """Send 64 MiB there and back."""
    return {"echo_64": echo_rate(subject, size.large_mib, 3)}


def echo_rate(subject: Subject, mib: int, count: int) -> float:
    """Return the MiB per second that come back, and as many go there."""
    data = bytes(range(256)) * (mib * MIB // 256)
    with started(subject) as child:
        if bytes(subject.echo(child, data)) != data:
            raise ValueError(f"{subject.name} gave back other bytes than were sent")
        return mib / median([timed(lambda: subject.echo(child, data)) for _ in range(count)])


def many(subject: Subject, size: Size) -> "dict[str, float]":
    """Start many children at once, until each has answered."""
    with started(subject):
        pass  # what only the first one costs
    children: list[Any] = []
    seconds = timed(lambda: at_once(size.at_once, lambda: children.append(subject.start())))
    for child in children:
        subject.stop(child)
    return {"many": seconds}


def fan_in(subject: Subject, size: Size) -> "dict[str, float]":
    """Have many children call this process at once, one small call after the other each."""
    if type(subject).calls_up is Subject.calls_up:
        raise NotOffered
    children = started_by(size.at_once, size.at_once, subject)
    count = size.threaded_calls // 3
    all_call_up = getattr(subject, "all_call_up", None) or partial(all_call_up_on_threads, subject)
    all_call_up(children, 5)
    seconds = timed(lambda: all_call_up(children, count))
    for child in children:
        subject.stop(child)
    return {"fan_in": len(children) * count / seconds}


def all_call_up_on_threads(subject: Subject, children: "list[Any]", count: int) -> None:
    """Have each of the children call this process so many times."""
    at_once(1, *[partial(subject.calls_up, child, count) for child in children])


def crowd(subject: Subject, size: Size) -> "dict[str, float]":
    """Start very many children, a few at a time, and make one call to each."""
    if type(subject).call_each is Subject.call_each:
        raise NotOffered
    children: list[Any] = []
    seconds = timed(lambda: children.extend(started_by(STARTERS, size.crowd, subject)))
    subject.call_each(children)  # what the first of all costs
    each = median([timed(lambda: subject.call_each(children)) for _ in range(3)])
    for child in children:
        subject.stop(child)
    return {"crowd": seconds, "crowd_call": each}


def shared_key(subject: Subject, size: Size) -> "dict[str, float]":
    """Have many callers ask for one key of a method that takes 200 ms and is run once for all of them."""
    with started(subject) as child:
        seconds, runs = subject.shared_key(child, KEY_CALLERS)
    return {"shared_key": seconds, "shared_key_runs": runs}


def ssh(subject: Subject, size: Size) -> "dict[str, float]":
    """Start children over a private ssh server, in turns with a bare Python."""
    start_over_ssh = getattr(subject, "start_over_ssh", None)
    if start_over_ssh is None:
        raise NotOffered
    bare, answers = [], []
    with sshd.running() as arguments:
        for _ in range(1 + size.starts):
            bare.append(timed(lambda: run(["ssh", *arguments, "bench", "python3 -I -S -c pass"])))
            start = perf_counter()
            child = start_over_ssh("bench", arguments)
            answers.append(perf_counter() - start)
            subject.stop(child)
    return {"ssh_bare": median(bare[1:]), "ssh_extra": median(answers[1:]) - median(bare[1:])}


def file_local(subject: Subject, size: Size) -> "dict[str, float]":
    """Copy one large file there and back on this machine."""
    return {"file_local": moves.file_rate(subject, size.file_mib)}


def file_ssh(subject: Subject, size: Size) -> "dict[str, float]":
    """Copy one large file there and back over a private ssh server."""
    if type(subject).copying is Subject.copying:
        raise NotOffered
    with sshd.running() as arguments:
        return {"file_ssh": moves.file_rate(subject, size.file_mib, arguments)}


def small_files(subject: Subject, size: Size) -> "dict[str, float]":
    """Copy a folder of many small files there and back on this machine."""
    return {"small_files": moves.tree_rate(subject, size.small_files)}


MEASUREMENTS = {
    "interpreter": Measurement(interpreter, pinned=True),
    "boot": Measurement(boot, pinned=True),
    "ssh": Measurement(ssh, pinned=True),
    "many": Measurement(many, pinned=False),
    "crowd": Measurement(crowd, pinned=False),
    "fan_in": Measurement(fan_in, pinned=False),
    "shared_key": Measurement(shared_key, pinned=False),
    "memory": Measurement(memory, pinned=True),
    "calls_down": Measurement(calls_down, pinned=True),
    "calls_up": Measurement(calls_up, pinned=True),
    "hops": Measurement(hops, pinned=True),
    "pipeline": Measurement(pipeline, pinned=False),
    "threads": Measurement(threads, pinned=False),
    "echo_1": Measurement(echo_1, pinned=False),
    "echo_64": Measurement(echo_64, pinned=False),
    "file_local": Measurement(file_local, pinned=False),
    "file_ssh": Measurement(file_ssh, pinned=False),
    "small_files": Measurement(small_files, pinned=False),
}


@contextmanager
def started(subject: Subject) -> "Iterator[Any]":
    """Give a new child, which is ended afterwards."""
    child = subject.start()
    try:
        yield child
    finally:
        subject.stop(child)


def timed(act: "Callable[[], object]") -> float:
    """Return the seconds that act() takes."""
    start = perf_counter()
    act()
    return perf_counter() - start


def run(argv: "list[str]") -> None:
    """Run a program that prints nothing."""
    subprocess.run(argv, stdin=subprocess.DEVNULL, check=True)


def started_by(starters: int, count: int, subject: Subject) -> "list[Any]":
    """Return so many new children, which so many threads have started."""
    children: list[Any] = []
    left = iter(range(count))

    def start_some() -> None:
        for _ in left:
            children.append(subject.start())

    at_once(starters, start_some)
    return children


def at_once(count: int, *acts: "Callable[[], object]") -> None:
    """Call each of these on so many threads; return when all have."""
    errors: list[BaseException] = []

    def call(act: "Callable[[], object]") -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised below, on the thread that asked
            errors.append(error)

    started = [threading.Thread(target=call, args=(act,)) for act in acts for _ in range(count)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if errors:
        raise errors[0]


def boot_bytes(subject: Subject, child: Any) -> int:
    """Return how many bytes were sent to start the child, 0 if the subject doesn't say."""
    try:
        return subject.boot_bytes(child)
    except NotOffered:
        return 0
