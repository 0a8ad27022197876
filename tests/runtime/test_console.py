"""The console in real interpreters: what is printed and logged there, with a list in place of the link."""

import ast
from typing import Any

import pytest

from tests.real.interpreters import SUPPORTED
from tests.runtime.far_side import run

pytestmark = pytest.mark.real

# In the script: `sent` holds the batches, pump() is one turn of a loop, tell(value) prints to the real stdout.
LOOP = """
import os, select
real = os.dup(1)
real_error = os.dup(2)
watched, sent = {}, []

def tell(value):
    os.write(real, repr(value).encode() + b"\\n")

def pump():
    while True:
        ready = select.select(list(watched), [], [], 0)[0]
        if not ready:
            return
        for fd in ready:
            watched[fd]()

def records():
    return [record[:3] for batch in sent for record in batch]

now = [100.0]
console.monotonic = lambda: now[0]
it = console.Console(sent.append, watched.__setitem__)
sys.excepthook = lambda kind, error, tb: os.write(real_error, ("%s: %s" % (kind.__name__, error)).encode())
"""


def far(version: str, script: str) -> "list[Any]":
    """Return what the script told, each line as the value it is."""
    ended = run(version, LOOP + script, modules=("importer", "missing", "console"))
    assert (ended.errors, ended.status) == ("", 0)
    return [ast.literal_eval(line) for line in ended.output.splitlines()]


@pytest.fixture(params=SUPPORTED)
def version(request: pytest.FixtureRequest) -> str:
    """Give each supported version in turn."""
    return str(request.param)


def test_each_printed_line_becomes_a_record_of_its_stream(version: str) -> None:  # U6
    script = """
print("one\\ntwo")
sys.stderr.write("bad\\n")
pump()
tell(records())
tell([type(part).__name__ for part in sent[0][0]])
"""
    told, types = far(version, script)
    assert told == [[20, "stdout", "one"], [20, "stdout", "two"], [30, "stderr", "bad"]]
    assert types == ["int", "str", "str", "float"]


def test_what_c_code_and_child_processes_print_comes_along(version: str) -> None:  # U6
    script = """
os.write(1, b"from C\\n")
os.system("echo from a child; echo and its errors >&2")
pump()
tell(records())
"""
    assert far(version, script) == [
        [[20, "stdout", "from C"], [20, "stdout", "from a child"], [30, "stderr", "and its errors"]]
    ]


def test_an_unfinished_line_waits_for_its_end_or_for_flush(version: str) -> None:  # U6
    script = """
print("first ", end="")
sys.stdout.flush()
pump()
tell(records())
print("half")
pump()
print("last", end="")
it.flush()
tell(records())
it.flush()
tell(len(sent))
"""
    assert far(version, script) == [[], [[20, "stdout", "first half"], [20, "stdout", "last"]], 2]


def test_logging_is_attached_when_it_is_imported_and_not_before(version: str) -> None:  # U6
    script = """
missing.Missing(importer.install({})).after_import("logging", it.attach)
assert "logging" not in sys.modules
import logging
logging.getLogger("shop.till").warning("%d coins", 3)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger().exception("no change")
tell(len(sent))
pump()
first, second = records()
tell(first)
tell(second[:2] + second[2].splitlines()[:2] + second[2].splitlines()[-1:])
tell(len(sent))
"""
    assert far(version, script) == [
        0,
        [30, "shop.till", "3 coins"],
        [40, "root", "no change", "Traceback (most recent call last):", "ZeroDivisionError: division by zero"],
        1,
    ]


def test_a_warning_and_a_record_that_cannot_be_formatted_come_through_stderr(version: str) -> None:  # U6
    script = """
import logging, warnings
it.attach(logging)
warnings.warn("old way")
logging.warning("%d", "x")
pump()
texts = [text for level, logger, text in records()]
tell(any("UserWarning: old way" in text for text in texts))
tell("--- Logging error ---" in texts)
"""
    assert far(version, script) == [True, True]


def test_bytes_that_are_no_utf8_and_letters_that_cannot_be_encoded_are_shown(version: str) -> None:
    script = """
os.write(1, b"\\xff\\xe4\\r\\n")
print("\\udce4 \\u20ac")
pump()
tell(ascii(records()))
"""
    (told,) = far(version, script)
    assert ast.literal_eval(told) == [[20, "stdout", "\ufffd\ufffd"], [20, "stdout", "\\udce4 \u20ac"]]


def test_a_long_line_becomes_several_records(version: str) -> None:
    script = """
size = console.TEXT_SIZE_MAX
for text in ("x" * size, "y" * (size + 1), "z" * (size * 2 - 1)):
    print(text)
    pump()
tell([len(text) for level, logger, text in records()])
tell([text[:1] for level, logger, text in records()])
"""
    size = 16384
    sizes, letters = far(version, script)
    assert sizes == [size, size, 1, size, size - 1]
    assert "".join(letters) == "xyyzz"


def test_more_than_the_rate_is_dropped_and_told(version: str) -> None:  # U6
    script = """
for number in range(1500):
    print(number)
    if number % 100 == 0: pump()
pump()
tell((len(records()), records()[-1]))
now[0] += 1
print("again")
pump()
tell(records()[-2:])
for number in range(500):
    print(number)
    if number % 100 == 0: pump()
it.flush()
tell((len(records()), records()[-1]))
"""
    first, again, last = far(version, script)
    assert first == (1000, [20, "stdout", "999"])
    assert again == [[30, "plasmid.console", "500 records were dropped: over 200/s"], [20, "stdout", "again"]]
    assert last == (1000 + 2 + 199 + 1, [30, "plasmid.console", "301 records were dropped: over 200/s"])


def test_batches_are_bounded_and_keep_their_order(version: str) -> None:
    script = """
for number in range(20):
    it.add(20, "a" * 1000, "%02d" % number + "x" * 9998)
it.send_all()
tell([len(batch) for batch in sent])
tell([record[2][:2] for batch in sent for record in batch] == ["%02d" % number for number in range(20)])
tell(len(sent[0][0][1]))
"""
    assert far(version, script) == [[6, 6, 6, 2], True, 200]


def test_a_program_that_closes_its_stdout_keeps_nobody_busy(version: str) -> None:
    script = """
sys.stdout.close()
os.close(1)
pump()
tell(records())
sys.stderr.write("still here\\n")
pump()
it.flush()
tell(records())
os.open(os.devnull, os.O_WRONLY)
"""
    assert far(version, script) == [[], [[30, "stderr", "still here"]]]


def test_a_flush_waits_for_the_batch_that_another_thread_is_sending(version: str) -> None:  # U6
    script = """
import threading
taken, may_go_on, flushed = threading.Event(), threading.Event(), threading.Event()

def slow(batch):
    taken.set()
    may_go_on.wait(10)
    sent.append(batch)

it.send = slow
print("printed", flush=True)
sender = threading.Thread(target=pump)
sender.start()
taken.wait(10)
flusher = threading.Thread(target=lambda: (it.flush(), flushed.set()))
flusher.start()
tell(flushed.wait(0.1))
may_go_on.set()
flusher.join(10)
tell(records())
sender.join(10)
"""
    assert far(version, script) == [False, [[20, "stdout", "printed"]]]
