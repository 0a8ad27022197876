"""Answers in pieces: the far side loads the first while the near side still looks for the rest."""

import importlib.abc
import os
import select
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import plasmid
from plasmid.builtin import modules
from plasmid.builtin.ahead import Ahead
from plasmid.core.errors import PlasmidError
from tests.real import far_modules

pytestmark = pytest.mark.real

DEADLINE_S = 30
SHOP = """
import threading
if not threading:
    import shop_in_pieces_tax  # so that it will be sent along
thread = threading.Thread(target=__import__, args=["shop_in_pieces_tax"])
thread.start()
with open({fifo!r}, "wb") as file:
    file.write(b"1")
from shop_in_pieces import goods, till
thread.join()
"""


class Gate(importlib.abc.MetaPathFinder):
    """Holds up whoever looks for a module of the shop, until the far side has said that it runs the shop itself.

    was_opened: whether it said so, in time.
    """

    def __init__(self, fifo: Path) -> None:
        self._fifo = fifo
        self.was_opened = False

    def leave_open(self) -> None:
        """Hold up nobody."""
        self.was_opened = True
        self._fifo.unlink()
        self._fifo.touch()

    def find_spec(self, fullname: str, path: "Sequence[str] | None", target: "ModuleType | None" = None) -> None:
        if fullname.startswith("shop_in_pieces.") and not self.was_opened:
            fd = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            self.was_opened = bool(poll.poll(DEADLINE_S * 1000))
            os.close(fd)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Gate]":
    """Give a Gate in this process's import system, before a package of its own."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    folder = tmp_path / "shop_in_pieces"
    folder.mkdir()
    (folder / "__init__.py").write_text(SHOP.format(fifo=str(fifo)))
    (folder / "goods.py").write_text("import shop_in_pieces_tax\nprice = 7\n")
    (folder / "till.py").write_text("")
    (tmp_path / "shop_in_pieces_tax.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    gate = Gate(fifo)
    sys.meta_path.insert(0, gate)
    yield gate
    sys.meta_path.remove(gate)


@pytest.fixture
def context() -> "Iterator[plasmid.Context]":
    """Give a child that may have the shop and what it needs."""
    with plasmid.Router(allow_modules=["shop_in_pieces"]) as router:
        context = router.local(name="child")
        context.call(far_modules.questions)
        context.call(far_modules.import_all, "json")
        yield context


# U4
def test_what_was_asked_for_runs_before_the_rest_was_looked_for_and_is_waited_for_by_every_thread(
    gate: Gate, context: plasmid.Context
) -> None:
    before = context.call(far_modules.questions)
    assert context.call(far_modules.import_all, "shop_in_pieces") == 3
    assert gate.was_opened
    assert context.call(far_modules.questions) - before == 1
    assert context.call(far_modules.import_all, "shop_in_pieces_tax") == 1


SHOP_AFTER_ALL_CAME = """
import threading
from plasmid.builtin import pieces
with open({fifo!r}, "wb") as file:
    file.write(b"1")
while not any(isinstance(each, pieces.Question) for each in pieces.current.came):
    threading.Event().wait(0.01)  # there is nothing to wait on: what came waits to be taken in
try:
    import shop_in_pieces.nowhere
except ImportError:
    from shop_in_pieces import goods
"""


# U4
def test_what_was_said_not_to_come_is_not_asked_for_though_nobody_has_looked_at_that_yet(
    gate: Gate, context: plasmid.Context, tmp_path: Path
) -> None:
    text = SHOP_AFTER_ALL_CAME.format(fifo=str(tmp_path / "fifo"))
    (tmp_path / "shop_in_pieces" / "__init__.py").write_text(text)
    before = context.call(far_modules.questions)
    assert context.call(far_modules.import_all, "shop_in_pieces") == 2
    assert context.call(far_modules.questions) - before == 1


def test_what_was_announced_and_does_not_come_is_asked_for(
    gate: Gate, context: plasmid.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.leave_open()
    plain = modules.ModuleServer._push_related

    def break_off(self: modules.ModuleServer, entries: Any, request: modules.Request, in_pieces: bool) -> None:
        monkeypatch.setattr(modules.ModuleServer, "_push_related", plain)
        ahead = Ahead({"shop_in_pieces"})
        ahead.follow(["shop_in_pieces_tax"])
        assert request.send_piece("shop_in_pieces.goods", ahead)
        raise PlasmidError("it was broken off")

    before = context.call(far_modules.questions)
    monkeypatch.setattr(modules.ModuleServer, "_push_related", break_off)
    assert context.call(far_modules.import_all, "shop_in_pieces") == 3
    assert context.call(far_modules.questions) - before > 1


def test_a_question_that_fails_is_an_error_of_the_import_which_says_why(
    context: plasmid.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: modules.ModuleServer, request: modules.Request) -> None:
        raise PlasmidError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(modules.ModuleServer, "_find", fail)
        with pytest.raises(ImportError, match="asking the parent for module 'shop_in_pieces': the disk is gone"):
            context.call(far_modules.import_all, "shop_in_pieces")
    with pytest.raises(ModuleNotFoundError):
        context.call(far_modules.import_all, "shop_in_pieces")


# D12
def test_nobody_but_its_parent_can_give_a_context_modules() -> None:
    with plasmid.Router() as router:
        victim, sibling = router.local(name="victim"), router.local(name="sibling")
        below = router.local(name="below", via=victim)
        victim.call(far_modules.import_all, "json")
        for attacker in (sibling, below):
            found = attacker.call(far_modules.give_module, victim, "forged")
            assert found == "Refused: plasmid.pieces.take on victim (/1): only the parent sends modules"
        assert victim.call(far_modules.is_held, "forged") is False
