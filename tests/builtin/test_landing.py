"""What arrives, as a state machine: whole and in its place, or nothing of it anywhere."""

import hashlib
import os
import shutil
import stat
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plasmid.builtin.landing import DEPTH_MAX, Landing, State, TransferError
from plasmid.builtin.place import umask

MTIME_NS = 1_600_000_000_123_456_789
NOBODY = 65534
SEEN = "fetch '/x' from web1 (/1)"


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def check(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def small(name: bytes = b"", data: bytes = b"data", mode: int = 0o640) -> "list[Any]":
    return ["file", name, mode, MTIME_NS, data, check(data)]


def begin(name: bytes = b"", size: int = 4, start: int = 0) -> "list[Any]":
    return ["begin", name, 0o600, MTIME_NS, size, start]


def folder(name: bytes = b"", mode: int = 0o750) -> "list[Any]":
    return ["dir", name, mode, MTIME_NS]


UP = ["up"]


def packed(*files: "tuple[bytes, bytes]", checked_by: "Callable[[bytes], bytes]" = check) -> "list[Any]":
    """Return the record of several small files, given as name and data."""
    parts = [
        struct.pack(">HIHq", len(name), len(data), 0o640, MTIME_NS) + checked_by(data) + name + data
        for name, data in files
    ]
    return ["files", b"".join(parts)]


# One of each, for the table; the check fits what comes in FILE.
EVENTS: "dict[str, Any]" = {
    "file": [small()],
    "files": [packed((b"f", b"data"))],
    "begin": [begin()],
    "bytes": b"data",
    "end": [["end", check(b"data")]],
    "dir": [folder()],
    "up": [UP],
    "skip": [["skip", b"l", "a symbolic link"]],
    "nothing": [],
}
MEMBERS = {"file": [small(b"f")], "begin": [begin(b"f")], "dir": [folder(b"d")]}
LEADING: "dict[str, list[Any]]" = {
    State.NOTHING: [],
    State.FOLDER: [[folder()]],
    State.FILE: [[begin()]],
    State.WHOLE: [[small()]],
}
TABLE = {
    State.NOTHING: {"file": State.WHOLE, "begin": State.FILE, "dir": State.FOLDER},
    State.FOLDER: {
        "file": State.FOLDER,
        "files": State.FOLDER,
        "begin": State.FILE,
        "dir": State.FOLDER,
        "up": State.WHOLE,
        "skip": State.FOLDER,
    },
    State.FILE: {"bytes": State.FILE, "end": State.WHOLE},
    State.WHOLE: {},
}


class Arrival:
    """A Landing at `out` in an empty folder of its own, and what is to be seen there."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.out = where / "out"

    def land(self, *items: Any, **options: Any) -> Landing:
        """Feed it, finish and close."""
        landing = Landing(SEEN, os.fsencode(self.out), **options)
        try:
            for item in items:
                landing.take(item)
            landing.finish()
        finally:
            landing.close()
        return landing

    def refused(self, *items: Any, **options: Any) -> str:
        """Return why these items are refused; nothing may be left of them."""
        before = self.names()
        with pytest.raises(TransferError) as caught:
            self.land(*items, **options)
        assert self.names() == before
        assert caught.value.what == SEEN
        return caught.value.found

    def names(self) -> "list[str]":
        return sorted(os.listdir(self.where))


@pytest.fixture(params=["a file without a name", "a hidden file", "no /proc"])
def arrival(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arrival:
    """Give an Arrival, on a system that has files without a name, and on one that hasn't."""
    if request.param == "a hidden file":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    if request.param == "no /proc":
        # A file without a name couldn't be given one.
        monkeypatch.setattr(os.path, "isdir", lambda path: False)
    where = tmp_path / "where"
    where.mkdir()
    return Arrival(where)


@pytest.fixture(autouse=True)
def no_descriptor_left() -> "Iterator[None]":
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_does_in_every_state_what_the_table_says(arrival: Arrival, state: str, event: str) -> None:
    landing = Landing(SEEN, os.fsencode(arrival.out), skips=True)
    try:
        for leading in LEADING[state]:
            landing.take(leading)
        item: Any = MEMBERS.get(event, EVENTS[event]) if state == State.FOLDER else EVENTS[event]
        wanted = state if event == "nothing" else TABLE[state].get(event)
        if state == State.FILE and event == "end":
            landing.take(b"data")
        if wanted is None:
            with pytest.raises(TransferError, match="its parts came in a wrong order"):
                landing.take(item)
        else:
            landing.take(item)
            assert landing.state == wanted
    finally:
        landing.close()
    assert arrival.names() == []


# U8, D10
def test_a_file_arrives_with_its_permissions_and_time_and_nothing_beside_it(arrival: Arrival) -> None:
    arrival.out.write_text("old")
    landed = arrival.land([begin(size=6)], b"da", b"ta", b"..", [["end", check(b"data..")]])
    assert landed.facts() == [6, 1, b"", [], 0]
    status = arrival.out.stat()
    assert (arrival.out.read_bytes(), status.st_mtime_ns) == (b"data..", MTIME_NS)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert arrival.names() == ["out"]


@pytest.mark.parametrize("has_advice", [True, False])
def test_a_file_that_is_flushed_on_its_way_arrives_as_any_other(
    arrival: Arrival, has_advice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_advice:
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
    block = os.urandom(1 << 19)
    data = block * 35  # 17.5 MiB: it is flushed twice, and then once more at its end
    arrival.land([begin(size=len(data))], *[block] * 35, [["end", check(data)]], flush=True)
    assert digest(arrival.out.read_bytes()) == digest(data)
    assert arrival.names() == ["out"]


# D10
def test_by_digest_the_check_is_the_sha_256_and_nothing_less(arrival: Arrival) -> None:
    landed = arrival.land([begin()], b"data", [["end", digest(b"data")]], by_digest=True)
    assert landed.facts() == [4, 1, digest(b"data"), [], 0]
    expected = "what arrived isn't what was sent: its digest differs"
    assert arrival.refused([begin()], b"data", [["end", check(b"data")]], by_digest=True) == expected
    assert arrival.refused([begin()], b"data", [["end", check(b"data")]], resume=True) == expected
    arrival.out.unlink()
    arrival.land([folder(), ["file", b"f", 0o600, MTIME_NS, b"data", digest(b"data")], UP], by_digest=True)
    assert (arrival.out / "f").read_text() == "data"


def test_no_file_arrives_setuid_or_with_what_umask_takes(arrival: Arrival) -> None:
    arrival.land([small(mode=0o6777)])
    assert stat.S_IMODE(arrival.out.stat().st_mode) == 0o777 & ~umask()
    assert umask() != 0


def test_until_it_is_whole_nobody_else_may_read_it_and_its_place_is_as_it_was(arrival: Arrival) -> None:
    arrival.out.write_text("old")
    landing = Landing(SEEN, os.fsencode(arrival.out))
    landing.take([["begin", b"", 0o644, MTIME_NS, 4, 0]])
    landing.take(b"data")
    landing.take([["end", check(b"data")]])
    hidden = [name for name in arrival.names() if name != "out"]
    assert [stat.S_IMODE((arrival.where / name).stat().st_mode) for name in hidden] in ([], [0o600])
    assert arrival.out.read_text() == "old"
    landing.close()
    assert (arrival.names(), arrival.out.read_text()) == (["out"], "old")


# U8
def test_a_folder_arrives_with_all_that_is_in_it(arrival: Arrival) -> None:
    landed = arrival.land(
        [folder(), small(b"a", b"1"), folder(b"sub", 0o500), begin(b"large", 5)],
        b"12345",
        [["end", check(b"12345")], folder(b"empty"), UP, UP, small(b"\xff\n", b"")],
        [["skip", b"l", "a symbolic link"], UP],
        skips=True,
    )
    assert landed.facts() == [6, 7, b"", ["l"], 0]
    found = {
        os.path.relpath(path, os.fsencode(arrival.where)): (
            stat.S_IMODE(os.stat(path).st_mode),
            os.stat(path).st_mtime_ns,
        )
        for path, _, _ in os.walk(os.fsencode(arrival.where))
    }
    del found[b"."]
    assert found == {b"out": (0o750, MTIME_NS), b"out/sub": (0o500, MTIME_NS), b"out/sub/empty": (0o750, MTIME_NS)}
    assert (arrival.out / "a").read_bytes() == b"1"
    assert (arrival.out / "sub" / "large").read_bytes() == b"12345"
    assert stat.S_IMODE((arrival.out / "a").stat().st_mode) == 0o640 & ~umask()
    assert (arrival.out / "a").stat().st_mtime_ns == MTIME_NS
    assert os.listdir(os.fsencode(arrival.out / "sub" / "empty")) == []


def test_an_empty_folder_in_the_place_is_replaced_and_nothing_else_is(arrival: Arrival) -> None:
    arrival.out.mkdir()
    arrival.land([folder(), small(b"a"), UP])
    with pytest.raises(FileExistsError, match="a folder with something in it is in its place"):
        arrival.land([folder(), UP])
    with pytest.raises(IsADirectoryError, match="a folder is in its place"):
        arrival.land([small()])
    assert arrival.names() == ["out"]
    (arrival.where / "file").write_text("old")
    arrival.out = arrival.where / "file"
    with pytest.raises(FileExistsError, match="a file is in its place"):
        arrival.land([folder(), UP])
    assert arrival.out.read_text() == "old"


def test_a_link_in_the_place_is_replaced_and_what_it_leads_to_is_as_it_was(arrival: Arrival, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    arrival.out.symlink_to(tmp_path / "target")
    arrival.land([small()])
    assert (arrival.out.is_symlink(), arrival.out.read_text()) == (False, "data")
    assert (tmp_path / "target").read_text() == "old"


def test_a_destination_needs_a_name_and_a_folder_that_is_there(arrival: Arrival) -> None:
    with pytest.raises(IsADirectoryError, match="name what arrives, not only its folder"):
        Landing(SEEN, os.fsencode(arrival.where) + b"/")
    with pytest.raises(FileNotFoundError):
        Landing(SEEN, os.fsencode(arrival.where / "none" / "out"))


# U8, D12
@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"", "it has an empty part"),
        (b"..", "it holds '..', which isn't a name"),
        (b".", "it holds '.', which isn't a name"),
        (b"../out2", "a name in it holds a slash"),
        (b"/etc/passwd", "a name in it holds a slash"),
        (b"a\0b", "a name in it holds a NUL byte"),
        (b"x" * 256, "a name in it is longer than 255 bytes"),
    ],
)
@pytest.mark.parametrize("make", [small, begin, folder, lambda name: ["skip", name, "a link"]])
def test_no_member_is_called_what_is_no_name(arrival: Arrival, make: Any, name: bytes, found: str) -> None:
    expected = f"a member has an impossible name: {found}"
    assert arrival.refused([folder(), make(name)], skips=True) == expected
    assert arrival.names() == []


def test_what_was_asked_for_keeps_the_name_that_it_is_given_here(arrival: Arrival) -> None:
    expected = "what was asked for has no name of its own, but /etc/cron.d/evil came"
    for record in small(b"/etc/cron.d/evil"), begin(b"/etc/cron.d/evil"), folder(b"/etc/cron.d/evil"):
        assert arrival.refused([record]) == expected


def test_two_members_of_one_name_are_refused(arrival: Arrival) -> None:
    for second in small(b"a"), folder(b"a"), begin(b"a"):
        with pytest.raises(FileExistsError):
            arrival.land([folder(), small(b"a"), second])
    assert arrival.names() == []


# D10
def test_what_arrives_otherwise_than_it_was_sent_is_refused(arrival: Arrival) -> None:
    arrival.out.write_text("old")
    expected = "what arrived isn't what was sent: its checksum differs"
    assert arrival.refused([begin()], b"dat4", [["end", check(b"data")]]) == expected
    assert arrival.refused([["file", b"", 0o600, 1, b"dat4", check(b"data")]]) == expected
    assert arrival.refused([begin()], b"data", [["end", b""]]) == expected
    assert arrival.refused([begin()], b"dat", [["end", check(b"data")]]) == "1 bytes of a file are missing"
    assert arrival.refused([begin()], b"data") == "it ended before all had come"
    assert arrival.refused() == "it ended before all had come"
    assert arrival.out.read_text() == "old"
    arrival.out.unlink()
    assert arrival.refused([folder(), small(b"a")]) == "it ended before all had come"


# D12
def test_no_more_is_written_than_was_announced_and_no_more_announced_than_is_allowed(arrival: Arrival) -> None:
    more = "more came of a file than the 4 bytes that were announced"
    assert arrival.refused([begin()], b"data!") == more
    assert arrival.refused([folder(), begin(b"a")], b"data!") == more
    too_large = "it has 5 bytes or more, and 4 are allowed; size_max= allows more"
    assert arrival.refused([begin(size=5)], size_max=4) == too_large
    assert arrival.refused([folder(), small(b"a"), small(b"b", b"1")], size_max=4) == too_large
    assert arrival.refused([begin(size=-1)]).startswith("it has -1 bytes or more")
    too_many = "it has more than 2 files and folders; count_max= allows more"
    assert arrival.refused([folder(), small(b"a"), small(b"b")], count_max=2) == too_many
    assert arrival.refused([folder(), folder(b"a"), UP, folder(b"b")], count_max=2) == too_many
    assert arrival.refused([folder(), small(b"a"), ["skip", b"b", "x"]], count_max=2, skips=True) == too_many
    arrival.land([folder(), small(b"a"), UP], size_max=4, count_max=2)


def test_folders_are_nested_to_a_limit(arrival: Arrival) -> None:
    deep = [folder(), *(folder(b"d") for _ in range(DEPTH_MAX - 1))]
    assert arrival.refused([*deep, folder(b"d")]) == "folders are nested more than 100 deep"
    arrival.land([*deep, *([UP] * DEPTH_MAX)])


@pytest.mark.parametrize(
    "item",
    [
        None,
        "data",
        bytearray(b"data"),
        {"file": 1},
        [None],
        [[]],
        [["file"]],
        [["rm", b"x"]],
        [[b"up"]],
        [["dir", "name", 0, 0]],
        [["dir", b"", True, 0]],
        [["dir", b"", 0, 1 << 62]],
        [["begin", b"", 0, 0, "4", 0]],
        [["file", b"", 0, 0, "text", b""]],
        [["end", "digest"]],
        [["skip", b"", None]],
        [["fail", b"bytes"]],
        [["up", 1]],
    ],
)
def test_what_is_no_item_is_refused(arrival: Arrival, item: Any) -> None:
    found = arrival.refused(item)
    no_item = f"an item of the type {type(item).__name__} came"
    assert found == ("what came isn't a file, a folder or a part of one" if type(item) is list else no_item)


def test_why_the_sender_gives_up_is_said_and_can_not_drive_a_terminal(arrival: Arrival) -> None:
    assert arrival.refused([begin()], b"da", [["fail", "it was changed\x1b[2J\n"]]) == "it was changed\\x1b[2J\\n"
    error = TransferError(SEEN, "it was changed while it was read")
    assert str(error) == f"{SEEN}: it was changed while it was read. The destination is as it was"


def test_a_link_in_a_folder_is_refused_unless_it_may_be_left_out(arrival: Arrival) -> None:
    found = arrival.refused([folder(), folder(b"sub"), ["skip", b"l\n", "a symbolic link"]])
    assert found == "sub/l\\n in it is a symbolic link; skip_special=True leaves such things out"


def test_a_folder_that_nobody_may_enter_is_taken_away_again_by_whom_it_belongs_to() -> None:
    where = tempfile.mkdtemp(prefix="plasmid-nobody-", dir="/tmp")  # a place that every user can reach
    others = os.fork()
    if not others:
        try:
            if os.getuid() == 0:
                os.chown(where, NOBODY, NOBODY)
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            landing = Landing(SEEN, os.fsencode(where) + b"/out")
            landing.take([folder(), folder(b"a"), folder(b"b"), small(b"c"), ["up"], ["dir", b"d", 0, 0], ["up"]])
            landing.take([["up"], ["dir", b"e", 0, 0], small(b"f"), ["up"]])
            landing.close()
            os._exit(len(os.listdir(where)))
        except BaseException:  # noqa: BLE001 - no test goes on in this process
            os._exit(99)
    status = os.waitpid(others, 0)[1]
    shutil.rmtree(where)
    assert status == 0


class TestPacked:
    """Small files that came together."""

    # U8
    def test_each_arrives_as_if_it_had_come_alone(self, arrival: Arrival) -> None:
        landed = arrival.land(
            [folder(), packed((b"a", b"data"), (b"\xff\n", b"")), packed(), packed((b"c", b"."))], [UP]
        )
        assert landed.facts() == [5, 4, b"", [], 0]
        found = {os.fsencode(path.name): path.read_bytes() for path in arrival.out.iterdir()}
        assert found == {b"a": b"data", b"\xff\n": b"", b"c": b"."}
        status = (arrival.out / "a").stat()
        assert (status.st_mtime_ns, stat.S_IMODE(status.st_mode)) == (MTIME_NS, 0o640 & ~umask())
        arrival.out.rename(arrival.where / "first")
        arrival.land([folder(), packed((b"a", b"data"), checked_by=digest), UP], by_digest=True)
        assert (arrival.out / "a").read_bytes() == b"data"

    # D12: whatever it was cut to, it is no more than what came
    def test_what_is_cut_short_is_refused_wherever_it_was_cut(self, arrival: Arrival) -> None:
        whole = packed((b"name", b"data"))[1]
        for size in range(1, len(whole)):
            for sizes in (size, whole[:size]), (size, whole + whole[:size]):
                found = arrival.refused([folder(), ["files", sizes[1]]])
                assert found == "a file among others is longer than what came of it"
        huge = struct.pack(">HIHq", 1, 0xFFFFFFFF, 0, 0) + bytes(4) + b"n"
        assert arrival.refused([folder(), ["files", huge]]) == "a file among others is longer than what came of it"

    # D10, D12
    def test_each_is_checked_as_if_it_had_come_alone(self, arrival: Arrival) -> None:
        for name in b"..", b".", b"", b"/etc/evil", b"../evil", b"a\0b", b"x" * 300:
            found = arrival.refused([folder(), packed((b"good", b""), (name, b"evil"))])
            assert found.startswith("a member has an impossible name")
        wrong = packed((b"a", b"data"), checked_by=lambda data: check(b"dat4"))
        assert arrival.refused([folder(), wrong]) == "what arrived isn't what was sent: its checksum differs"
        two = packed((b"a", b""), (b"b", b"data"))
        assert "count_max= allows more" in arrival.refused([folder(), two], count_max=2)
        assert "size_max= allows more" in arrival.refused([folder(), two], size_max=3)
        with pytest.raises(FileExistsError):
            arrival.land([folder(), packed((b"a", b""), (b"a", b""))])
        late = ["files", struct.pack(">HIHq", 1, 0, 0xFFFF, (1 << 63) - 1) + check(b"") + b"n"]
        arrival.land([folder(), late, UP])
        assert stat.S_IMODE((arrival.out / "n").stat().st_mode) == 0o777 & ~umask()


class TestHanded:
    """A file whose content came by its descriptor."""

    @staticmethod
    def landing(arrival: Arrival, content: bytes, found: str = "") -> Landing:
        def fill(fd: int, size: int) -> str:
            os.write(fd, content)
            return found

        landing = Landing(SEEN, os.fsencode(arrival.out))
        landing.take_handed(fill)
        return landing

    # D10
    def test_it_is_whole_once_its_content_is_there(self, arrival: Arrival) -> None:
        landing = self.landing(arrival, b"data")
        assert landing.device == arrival.where.stat().st_dev
        landing.take([begin(), ["handed"]])
        assert (landing.state, arrival.out.exists()) == (State.WHOLE, False)
        landing.finish()
        landing.close()
        assert (arrival.out.read_bytes(), arrival.out.stat().st_mtime_ns) == (b"data", MTIME_NS)
        assert (landing.facts(), arrival.names()) == ([4, 1, b"", [], 0], ["out"])

    def test_the_file_may_be_opened_before_it_is_announced(self, arrival: Arrival) -> None:
        landing = self.landing(arrival, b"")
        os.write(landing.open_file(), b"data")
        landing.take([begin(), ["handed"]])
        landing.finish()
        landing.close()
        assert (arrival.out.read_bytes(), arrival.names()) == (b"data", ["out"])

    def test_why_it_is_not_there_is_said_and_nothing_is_left(self, arrival: Arrival) -> None:
        landing = self.landing(arrival, b"dat", "it isn't all there")
        with pytest.raises(TransferError, match="it isn't all there"):
            landing.take([begin(), ["handed"]])
        landing.close()
        assert arrival.names() == []

    def test_it_is_refused_where_it_was_not_asked_for(self, arrival: Arrival) -> None:
        expected = "its content was handed over where none was asked for"
        assert arrival.refused([begin(), ["handed"]]) == expected
        several: list[list[Any]] = [[[folder(), begin(b"f")]], [[begin()], b"da"]]
        for items in several:
            landing = self.landing(arrival, b"data")
            for item in items:
                landing.take(item)
            with pytest.raises(TransferError, match=expected):
                landing.take([["handed"]])
            landing.close()
        assert arrival.refused([["handed"]]) == "its parts came in a wrong order"
        assert arrival.names() == []


class TestResuming:
    """A file that is kept when the rest doesn't come."""

    def test_it_goes_on_where_it_stopped(self, arrival: Arrival) -> None:
        arrival.out.write_text("old")
        with pytest.raises(TransferError, match="it ended before all had come"):
            arrival.land([begin(size=6)], b"dat", resume=True)
        assert (arrival.names(), arrival.out.read_text()) == ([".out.plasmid-partial", "out"], "old")
        assert stat.S_IMODE((arrival.where / ".out.plasmid-partial").stat().st_mode) == 0o600
        landing = Landing(SEEN, os.fsencode(arrival.out), resume=True)
        assert (landing.start, landing.prefix) == (3, digest(b"dat"))
        landing.take([begin(size=6, start=3)])
        landing.take(b"a..")
        landing.take([["end", digest(b"data..")]])
        landing.finish()
        landing.close()
        assert landing.facts() == [6, 1, digest(b"data.."), [], 3]
        assert (arrival.names(), arrival.out.read_text()) == (["out"], "data..")

    def test_it_begins_anew_where_the_sender_has_another_file(self, arrival: Arrival) -> None:
        (arrival.where / ".out.plasmid-partial").write_bytes(b"something longer")
        landed = arrival.land([begin()], b"data", [["end", digest(b"data")]], resume=True)
        assert landed.facts() == [4, 1, digest(b"data"), [], 0]
        assert (arrival.names(), arrival.out.read_text()) == (["out"], "data")

    def test_what_turned_out_wrong_is_not_kept_and_neither_is_nothing(self, arrival: Arrival) -> None:
        (arrival.where / ".out.plasmid-partial").write_bytes(b"da")
        with pytest.raises(TransferError, match="its digest differs"):
            arrival.land([begin(start=2)], b"t4", [["end", digest(b"data")]], resume=True)
        assert arrival.names() == []
        with pytest.raises(TransferError, match="it ended before"):
            arrival.land(resume=True)
        assert arrival.names() == []

    def test_a_sender_can_not_skip_what_is_not_there(self, arrival: Arrival) -> None:
        assert arrival.refused([begin(start=2)]) == "it goes on at byte 2 of 4, but 0 are here"
        assert arrival.refused([folder(), begin(b"a", start=-1)]) == "it goes on at byte -1 of 4, but 0 are here"
        (arrival.where / ".out.plasmid-partial").write_bytes(b"data!")
        found = arrival.refused([begin(start=5)], resume=True)
        assert found == "it goes on at byte 5 of 4, but 5 are here"

    # U8: the name can be guessed
    def test_a_file_that_another_has_put_there_is_not_taken_for_an_earlier_try(
        self, arrival: Arrival, tmp_path: Path
    ) -> None:
        (tmp_path / "target").write_text("old")
        kept = arrival.where / ".out.plasmid-partial"
        kept.symlink_to(tmp_path / "target")
        with pytest.raises(OSError, match="symbolic links"):
            Landing(SEEN, os.fsencode(arrival.out), resume=True)
        kept.unlink()
        os.link(tmp_path / "target", kept)
        expected = ".out.plasmid-partial isn't a file of an earlier try; remove it"
        assert arrival.refused(resume=True) == expected
        kept.unlink()
        os.mkfifo(kept)
        assert arrival.refused(resume=True) == expected
        assert (tmp_path / "target").read_text() == "old"

    def test_two_transfers_do_not_write_to_the_same_file(self, arrival: Arrival) -> None:
        first = Landing(SEEN, os.fsencode(arrival.out), resume=True)
        first.take([begin()])
        assert arrival.refused(resume=True) == "another transfer is writing .out.plasmid-partial"
        first.take(b"data")
        first.take([["end", digest(b"data")]])
        first.finish()
        first.close()
        assert (arrival.names(), arrival.out.read_text()) == (["out"], "data")

    def test_it_is_for_files(self, arrival: Arrival) -> None:
        assert arrival.refused([folder()], resume=True) == "it is a folder; resume= is for files"
