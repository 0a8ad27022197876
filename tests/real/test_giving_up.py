"""Closing a router doesn't wait for those who won't answer: connections being made, and contexts that are busy."""

import os
import threading
import time
from pathlib import Path

import pytest

import plasmid
from tests.real import leftovers

CLOSE_MAX_S = 3.0


def program(folder: Path, line: str) -> "tuple[str, Path]":
    """Return a program that runs a line of shell, and the pipe into which that says when it has come so far."""
    said = folder / "said"
    os.mkfifo(said)
    path = folder / "silent-python"
    path.write_text(f"#!/bin/sh\n{line.format(said=said)}\n")
    path.chmod(0o755)
    return str(path), said


def connect_in_thread(router: plasmid.Router, python_path: str) -> "tuple[threading.Thread, list[Exception]]":
    """Have another thread connect; its error comes in the list."""
    errors: list[Exception] = []

    def connect() -> None:
        try:
            router.local(python_path=python_path)
        except Exception as error:  # noqa: BLE001 - the test looks at whatever it was
            errors.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    return thread, errors


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("echo yes >{said}; exec cat >/dev/null", "wait for the far side's first line"),
        # The mark passes, and then nothing more.
        ("echo yes >{said}; python3 \"$@\" | {{ head -c 40; exec cat >/dev/null; }}", "say hello"),
    ],
)  # fmt: skip
def test_a_router_that_is_closed_gives_up_the_connections_being_made(tmp_path: Path, line: str, step: str) -> None:
    path, said = program(tmp_path, line)
    router = plasmid.Router()
    thread, errors = connect_in_thread(router, path)
    assert said.read_text() == "yes\n"
    began = time.monotonic()
    router.close()
    thread.join(CLOSE_MAX_S)
    assert time.monotonic() - began < CLOSE_MAX_S
    (error,) = errors
    assert isinstance(error, plasmid.ConnectError)
    assert error.found == "it was given up, because the router here was closed"
    assert error.step in ("wait for the far side's first line", "send the program", step)
    assert leftovers.until_empty(lambda: [str(p) for p in leftovers.processes() if path in p.command], 2) == []


def test_a_closed_router_starts_nothing() -> None:
    router = plasmid.Router()
    router.close()
    with pytest.raises(plasmid.PlasmidError, match=r"^starting local: the router is closed$"):
        router.local()


def test_closing_waits_for_a_busy_context_no_longer_than_it_was_told() -> None:
    router = plasmid.Router()
    call = router.local().call_async(time.sleep, 600)
    began = time.monotonic()
    router.close(0.1)
    assert time.monotonic() - began < CLOSE_MAX_S
    assert isinstance(call.exception(0), plasmid.ContextLost)


def test_a_call_right_after_hello_can_import_from_the_parent() -> None:
    with plasmid.Router() as router:
        for _ in range(5):
            # via= is a service call that imports, and comes as the first thing after hello.
            assert router.local(via=router.local()).call(os.getppid) > 1


def test_it_is_known_how_many_modules_a_context_was_sent() -> None:
    with plasmid.Router() as router:
        context = router.local()
        assert context.call(os.getpid) > 1  # what it asks for behind its hello has been sent by then
        count_before, _ = router.modules.sent_to(context.address)
        from plasmid.cli.facts import facts

        assert context.call(facts)["pid"] == context.call(os.getpid)
        count, size = router.modules.sent_to(context.address)
        assert count >= count_before + 2  # plasmid.cli and plasmid.cli.facts, with what Plasmid itself needed for it
        assert size > count
        assert router.modules.sent_to(b"") == (count, size)
