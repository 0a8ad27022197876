"""A hostile child sends what are no files, asks for others' files, and swaps links: nothing comes of it."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plasmid
from plasmid import files
from plasmid.builtin.files import TRANSFERS_MAX, FileService
from plasmid.builtin.landing import SKIPPED_MAX
from tests.hostile import evil_files, race
from tests.hostile.raw_child import Memory

pytestmark = pytest.mark.real

SEED = 20_000
PATHS = 500
# As many as take a second or two; the fuzzer goes on for as long as it is told to.
RACE_TRIES = 20_000
GROWTH_MAX = 64 << 20


@pytest.fixture
def router() -> "Iterator[plasmid.Router]":
    with plasmid.Router(allow_modules=["tests"]) as router:
        yield router


@pytest.fixture
def evil(router: plasmid.Router) -> plasmid.Context:
    """Give a child that answers for FileService as it likes."""
    context = router.local(name="evil")
    context.call(evil_files.turn_evil)
    return context


def everything_in(folder: Path) -> "dict[str, bytes | None]":
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.glob("**/*"))
    }


# U8, D10, D12
def test_nothing_that_a_hostile_child_sends_gets_out_of_the_destination_or_changes_it(
    evil: plasmid.Context, tmp_path: Path
) -> None:
    where = tmp_path / "where"
    where.mkdir()
    (where / "file").write_text("old")
    (tmp_path / "beside").write_text("beside")
    with Memory() as memory:
        for what in evil_files.SENDING.keys() - {"signs of life"}:
            evil.call(evil_files.do, what)
            for destination in where / "file", where / "new":
                with pytest.raises((plasmid.PlasmidError, OSError)) as caught:
                    files.fetch(evil, "/etc/hostname", destination, size_max=64 << 20, count_max=5000)
                assert not isinstance(caught.value, plasmid.Refused)  # it was the attack that failed
                assert str(caught.value).isprintable()
                assert len(str(caught.value)) < 2000
            assert everything_in(tmp_path) == {"beside": b"beside", "where": None, "where/file": b"old"}, what
    assert memory.growth <= GROWTH_MAX


# D6: signs of life are none of progress
def test_a_child_that_only_gives_signs_of_life_is_left_in_time(evil: plasmid.Context, tmp_path: Path) -> None:
    evil.call(evil_files.do, "signs of life")
    with pytest.raises(plasmid.DeadlineExceeded), Memory() as memory:
        files.fetch(evil, "/etc/hostname", tmp_path / "new", timeout=0.5)
    assert os.listdir(tmp_path) == []
    assert memory.growth <= GROWTH_MAX


def test_what_a_child_says_that_it_left_out_is_counted_and_kept_to_a_limit(
    evil: plasmid.Context, tmp_path: Path
) -> None:
    evil.call(evil_files.do, "links without end")
    with pytest.raises(files.TransferError, match="count_max"), Memory() as memory:
        files.fetch(evil, "/etc/hostname", tmp_path / "new", skip_special=True, count_max=SKIPPED_MAX + 1)
    assert os.listdir(tmp_path) == []
    assert memory.growth <= GROWTH_MAX


# D12
@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("no place", "it doesn't say where the items are to go"),
        ("nothing at all", "its answer ended before it said what became of what was put there"),
        ("an end after the place", "its answer ended before it said what became of what was put there"),
        ("a wrong place", "it doesn't say where the items are to go"),
        ("a place before the beginning", "it doesn't say where the items are to go"),
        ("a closed place", "it was taken, but what is said of it isn't what a FileService says"),
        ("lies", "it was taken, but what is said of it isn't what a FileService says"),
    ],
)
def test_a_child_that_does_not_take_what_is_put_there_is_found_out(
    evil: plasmid.Context, tmp_path: Path, what: str, found: str
) -> None:
    evil.call(evil_files.do, what)
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises((plasmid.ProtocolError, files.TransferError), match=found):
        files.put(evil, tmp_path / "file", "/there")


# D10, D12
@pytest.mark.parametrize("what", evil_files.HANDING)
def test_a_descriptor_that_is_not_of_the_file_is_found_out(evil: plasmid.Context, tmp_path: Path, what: str) -> None:
    evil.call(evil_files.do, what)
    (tmp_path / "file").write_bytes(bytes(2 << 20))
    before = sorted(os.listdir("/proc/self/fd"))
    if "file" not in what or "system" in what:  # the others would take what is put there
        with pytest.raises((files.TransferError, OSError)):
            files.put(evil, tmp_path / "file", "/there")
    with pytest.raises((files.TransferError, OSError)) as caught:
        files.fetch(evil, "/there", tmp_path / "new")
    expected = {
        "nothing": "it says that it has handed over a descriptor, and none has come",
        "a file that may not be read": "Bad file descriptor",
    }
    assert expected.get(what, "what it has handed over isn't the file that it has announced") in str(caught.value)
    assert everything_in(tmp_path) == {"file": bytes(2 << 20)}
    assert sorted(os.listdir("/proc/self/fd")) == before


# S24, D12: a descriptor is more than a file's content
def test_no_descriptor_is_handed_to_a_child(router: plasmid.Router, tmp_path: Path) -> None:
    (tmp_path / "served").write_bytes(bytes(1 << 20))
    service = FileService(router)
    service.register_prefix(tmp_path)
    with plasmid.Pool(router, services=[service], size=2):
        child = router.local(name="evil")
        path = os.fsencode(tmp_path / "served")
        kinds, taken = child.call(evil_files.ask_for_descriptor, path, tmp_path.stat().st_dev)
    assert (set(kinds), taken) == ({"begin", "bytes", "end"}, -1)


def test_what_a_child_says_of_what_was_put_there_is_shown_escaped(evil: plasmid.Context, tmp_path: Path) -> None:
    evil.call(evil_files.do, "a place far behind the end")
    (tmp_path / "file").write_bytes(bytes(100_000))
    arrived = files.put(evil, tmp_path / "file", "/there")
    assert arrived == files.Arrived(1, 1, "ff", ["7", "\\x1b[2J"], 1)


def bad_paths(served: Path) -> "list[Any]":
    """Return paths of which none leads to a file outside, whatever is made of it."""
    choose = random.Random(SEED)
    parts = [b"..", b".", b"", b"link", b"up", b"inside", b"secret", b"etc", b"passwd", b"\0", b"%2e%2e", b"..\0"]
    parts += [
        "\u2024\u2024".encode(),
        "\uff0e\uff0e".encode(),
        b"\xc0\xae\xc0\xae",
        b"x" * 300,
        b"~",
        b"\\..",
        b"*",
        b"\n",
    ]
    paths: list[Any] = [None, 7, "text", [b"a"], {b"a": 1}, True, b"", b"/", b"x" * 5000, b"/" * 5000, b"/x" * 2000]
    starts = [os.fsencode(served), os.fsencode(served) + b"/inside", b"", b".", os.fsencode(served.parent)]
    while len(paths) < PATHS:
        chosen = [choose.choice(parts) for _ in range(choose.randint(1, 6))]
        paths.append(choose.choice(starts) + b"/" + b"/".join(chosen))
    return paths


# S24, U8, D12
def test_no_path_leads_out_of_what_was_registered(router: plasmid.Router, tmp_path: Path) -> None:
    served = tmp_path / "served"
    (served / "inside").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (served / "link").symlink_to(tmp_path / "secret")
    (served / "up").symlink_to("..")
    os.mkfifo(served / "inside" / "etc")
    service = FileService(router)
    service.register_prefix(served)
    service.register(tmp_path / "up")
    with plasmid.Pool(router, services=[service], size=2):
        child = router.local(name="evil")
        paths = bad_paths(served)
        answers = child.call(evil_files.ask, paths)
    assert len(answers) == PATHS
    errors = {"PermissionError", "FileNotFoundError", "Refused", "OSError"}
    wrong = [(path, answer) for path, answer in zip(paths, answers, strict=True) if str(answer) not in errors]
    # What is inside may be had.
    assert {path for path, _ in wrong} <= {os.fsencode(served) + b"/inside"}
    assert "secret" not in str(answers)
    assert answers.count("PermissionError") > PATHS // 2


# U8, D12
@pytest.mark.parametrize("swaps_folder", [True, False])
def test_a_link_that_is_swapped_in_behind_a_check_is_never_followed(
    router: plasmid.Router, tmp_path: Path, swaps_folder: bool
) -> None:
    found = race.run(FileService(router), tmp_path / "race", swaps_folder, RACE_TRIES)
    assert sum(found.values()) == RACE_TRIES
    # All of them, or there was no race.
    assert set(found) == race.CORRECT_OUTCOMES


# D9, D12
def test_many_streams_that_nobody_reads_stop_nobody_else(router: plasmid.Router, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "small").write_bytes(b"small")
    service = FileService(router)
    service.register_prefix(tmp_path)
    with plasmid.Pool(router, services=[service], size=2), Memory() as memory:
        greedy = router.local(name="greedy")
        outcomes = greedy.call(evil_files.hold_streams, os.fsencode(tmp_path / "large"), 60)
        honest = router.local(name="honest")
        ((answer,),) = honest.call(evil_files.ask, [os.fsencode(tmp_path / "small")])
        assert answer[0][4] == b"small"
        greedy.shutdown()
    assert outcomes.pop("begin") == TRANSFERS_MAX
    assert [(text, count) for text, count in outcomes.items() if "32 transfers are under way" not in text] == []
    assert memory.growth <= GROWTH_MAX
