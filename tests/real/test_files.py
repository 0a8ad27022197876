"""Files and folders between real contexts: either way, whole or not at all."""

import contextlib
import hashlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import plasmid
from plasmid import files
from plasmid.builtin import files as services
from tests.real import far, far_files
from tests.real.conftest import connect, one_way, ways

TIMEOUT_S = 30
# Never there in the time of a test, and takes no room as long as nobody has written it.
ENDLESS = 1 << 42
MIB = 1 << 20


class Folders:
    """Two folders, `here` for this side and `there` for the far one, which share a machine in these tests."""

    def __init__(self, root: Path) -> None:
        self.here = root / "here"
        self.there = root / "there"
        self.here.mkdir()
        self.there.mkdir()

    def endless(self, folder: Path) -> Path:
        """Make a file that takes for ever to be sent."""
        path = folder / "endless"
        with path.open("wb") as file:
            file.truncate(ENDLESS)
        return path

    def tree(self, folder: Path) -> Path:
        """Make a folder with a little of everything that travels."""
        top = folder / "tree"
        (top / "a" / "empty").mkdir(parents=True)
        (top / "a" / "small").write_bytes(b"small")
        (top / "large").write_bytes(os.urandom(2 * MIB + 1))
        (top / "large").chmod(0o750)
        (top / "a").chmod(0o710)
        (top / "a" / "näme\n").write_bytes(b"")
        os.utime(top / "a", ns=(0, 1_234_567_890_123_456_789))
        return top


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(top: Path) -> "dict[str, Any]":
    """Return all that a folder holds, with permissions, times and contents."""
    return {
        path.relative_to(top).as_posix(): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            sha256(path) if path.is_file() else None,
        )
        for path in [top, *sorted(top.glob("**/*"))]
    }


def await_written(pid: int, folder: Path) -> None:
    """Wait until a process has written something to a file that it has open in the folder, a nameless one too."""
    until = threading.Event()
    for _ in range(TIMEOUT_S * 100):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                if read_link(fd).startswith(f"{folder}/") and fd.stat().st_size:
                    return
        until.wait(0.01)  # there is nothing to wait on: another process does it
    raise AssertionError("nothing was written")


def await_no_descriptor(context: plasmid.Context, folders: Folders) -> None:
    """Wait until the far side has no file of these folders open."""
    pause = threading.Event()
    pid = context.call(os.getpid)
    for _ in range(TIMEOUT_S * 100):
        if not [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if str(folders.there.parent) in read_link(fd)]:
            return
        pause.wait(0.01)  # as above
    raise AssertionError("the far side still has files open")


def read_link(path: Path) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


class InThread:
    """A call on a thread of its own; end() returns what it has raised."""

    def __init__(self, act: "Callable[[], Any]") -> None:
        self.error: BaseException | None = None
        self._act = act
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def end(self) -> "BaseException | None":
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()
        return self.error


# U8, D10
@ways
def test_a_file_is_fetched_and_put_whole(context: plasmid.Context, folders: Folders) -> None:
    source = folders.there / "source"
    for size in 0, 5, 65537, 3 * MIB + 7:
        source.write_bytes(os.urandom(size))
        source.chmod(0o640)
        arrived = files.fetch(context, source, folders.here / "copy")
        assert arrived == files.Arrived(size, 1, "", [], 0)
        assert files.put(context, folders.here / "copy", folders.there / "back") == arrived
        assert sha256(folders.there / "back") == sha256(source)
        assert (folders.there / "back").stat().st_mtime_ns == source.stat().st_mtime_ns
        assert (folders.there / "back").stat().st_mode == source.stat().st_mode
        arrived = files.fetch(context, source, folders.here / "copy", digest=True, flush=True)
        assert arrived == files.Arrived(size, 1, sha256(source), [], 0)
        assert files.put(context, source, folders.there / "back", digest=True, flush=True) == arrived
        assert sha256(folders.there / "back") == sha256(folders.here / "copy") == arrived.digest
    assert sorted(os.listdir(folders.here)) == ["copy"]
    assert sorted(os.listdir(folders.there)) == ["back", "source"]


# U8
# U8, D10: the system copies what it can
@ways
def test_between_processes_of_one_machine_that_know_of_it_no_content_is_sent(
    context: plasmid.Context, folders: Folders, way: str
) -> None:
    (folders.there / "source").write_bytes(os.urandom(3 * MIB))
    (folders.here / "copy").write_text("old")
    files.fetch(context, folders.there / "source", folders.here / "copy")  # its modules are there afterwards
    for transfer, size in (files.fetch, 3 * MIB), (files.put, 3 * MIB), (files.fetch, MIB // 4), (files.put, MIB // 4):
        os.truncate(folders.there / "source", size)
        read, written = context.call(far_files.bytes_moved)
        arrived = transfer(context, folders.there / "source", folders.here / "copy")
        read_then, written_then = context.call(far_files.bytes_moved)
        assert (arrived.size, sha256(folders.here / "copy")) == (size, sha256(folders.there / "source"))
        moved = max(read_then - read, written_then - written)
        assert (moved < size) == (way == "local" and size > MIB)


@pytest.mark.parametrize("way", ["ssh"])
def test_what_comes_through_pipes_has_more_room_once_a_file_was_moved(
    context: plasmid.Context, folders: Folders
) -> None:
    assert services.PIPE_SIZE not in context.call(far_files.pipe_sizes)
    (io,) = context.runtime.loop.ios.values()
    with socket.socket(fileno=os.dup(io.write_fd)) as link:
        before = link.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    (folders.here / "file").write_bytes(b"content")
    for transfer in files.put, files.fetch:
        transfer(context, folders.here / "file", folders.here / "copy")
        assert context.call(far_files.pipe_sizes).count(services.PIPE_SIZE) == 2  # to ssh's server, and from it
    with socket.socket(fileno=os.dup(io.write_fd)) as link:
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > before


# D10
@one_way
def test_a_file_that_changes_while_the_system_copies_it_does_not_arrive(
    context: plasmid.Context, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folders.there / "source"
    source.write_bytes(bytes(MIB))
    system = os.copy_file_range

    def copy_file_range(*args: int) -> int:
        source.write_bytes(b"new" * MIB)
        return system(*args)

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    for transfer in files.fetch, files.put:
        source.write_bytes(bytes(MIB))
        with pytest.raises(files.TransferError, match="it was changed while it was read"):
            transfer(context, source, folders.here / "copy")
    assert os.listdir(folders.here) == []


@ways
def test_a_folder_is_fetched_and_put_with_permissions_and_times(context: plasmid.Context, folders: Folders) -> None:
    tree = folders.tree(folders.there)
    arrived = files.fetch(context, tree, folders.here / "copy")
    assert (arrived.size, arrived.member_count, arrived.digest, arrived.skipped) == (2 * MIB + 6, 6, "", [])
    assert contents(folders.here / "copy") == contents(tree)
    put = files.put(context, folders.here / "copy", folders.there / "back")
    assert (put.size, put.member_count) == (2 * MIB + 6, 6)
    assert contents(folders.there / "back") == contents(tree)


@one_way
def test_links_are_an_error_unless_they_may_be_left_out(context: plasmid.Context, folders: Folders) -> None:
    tree = folders.tree(folders.there)
    (tree / "a" / "link").symlink_to("/etc/passwd")
    with pytest.raises(files.TransferError) as caught:
        files.fetch(context, tree, folders.here / "copy")
    assert caught.value.found == "a/link in it is a symbolic link; skip_special=True leaves such things out"
    with pytest.raises(files.TransferError) as caught:
        files.put(context, tree, folders.here / "copy")
    assert caught.value.found == "a/link in it is a symbolic link; skip_special=True leaves such things out"
    assert os.listdir(folders.here) == []
    for transfer in files.fetch, files.put:
        arrived = transfer(context, tree, folders.here / transfer.__name__, skip_special=True)
        assert arrived.skipped == ["a/link"]


@one_way
def test_what_is_not_there_or_no_file_is_the_error_that_it_would_be_here(
    context: plasmid.Context, folders: Folders
) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        files.fetch(context, folders.there / "none", folders.here / "copy")
    assert str(missing.value) == f"[Errno 2] No such file or directory: '{folders.there}/none'"
    assert isinstance(missing.value.__cause__, plasmid.RemoteError)
    os.mkfifo(folders.there / "fifo")
    with pytest.raises(PermissionError, match="it is a FIFO, neither a file nor a folder"):
        files.fetch(context, folders.there / "fifo", folders.here / "copy")
    with pytest.raises(PermissionError, match="no path that is served: it isn't absolute"):
        files.fetch(context, "etc/hostname", folders.here / "copy")
    with pytest.raises(FileNotFoundError):
        files.put(context, folders.here / "none", folders.there / "copy")
    (folders.here / "file").write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        files.put(context, folders.here / "file", folders.there / "none" / "copy")
    with pytest.raises(PermissionError, match=r"no path that is served: it holds '\.\.', which isn't a name"):
        files.put(context, folders.here / "file", folders.there / ".." / "copy")
    assert sorted(os.listdir(folders.here)) == ["file"]
    assert context.call(far_files.file_descriptors) == context.call(far_files.file_descriptors)


@one_way
def test_a_limit_is_one_on_both_sides(context: plasmid.Context, folders: Folders) -> None:
    (folders.there / "file").write_bytes(bytes(100_000))
    for transfer in files.fetch, files.put:
        with pytest.raises(files.TransferError) as caught:
            transfer(context, folders.there / "file", folders.here / "copy", size_max=99_999)
        assert caught.value.found == "it has 100000 bytes or more, and 99999 are allowed; size_max= allows more"
        with pytest.raises(files.TransferError, match="count_max= allows more"):
            transfer(context, folders.there, folders.here / "copy", count_max=1)
        transfer(context, folders.there / "file", folders.here / "copy", size_max=100_000)
        (folders.here / "copy").unlink()


# D10: killed in mid-transfer, on either side
@ways
def test_when_the_sender_is_killed_the_destination_is_as_it_was(context: plasmid.Context, folders: Folders) -> None:
    source = folders.endless(folders.there)
    (folders.here / "copy").write_text("old")
    pid = context.call(os.getpid)
    transfer = InThread(lambda: files.fetch(context, source, folders.here / "copy", size_max=ENDLESS))
    await_written(os.getpid(), folders.here)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(transfer.end(), plasmid.ContextLost)
    assert (os.listdir(folders.here), (folders.here / "copy").read_text()) == (["copy"], "old")


@ways
def test_when_the_receiver_is_killed_the_destination_is_as_it_was(  # D10
    context: plasmid.Context, folders: Folders
) -> None:
    source = folders.endless(folders.here)
    (folders.there / "copy").write_text("old")
    pid = context.call(os.getpid)
    transfer = InThread(lambda: files.put(context, source, folders.there / "copy", size_max=ENDLESS))
    await_written(pid, folders.there)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(transfer.end(), (plasmid.ContextLost, plasmid.ReceiverClosed))
    assert (os.listdir(folders.there), (folders.there / "copy").read_text()) == (["copy"], "old")


# U8
@one_way
def test_a_transfer_that_was_cut_is_resumed(router: plasmid.Router, context: plasmid.Context, folders: Folders) -> None:
    source = folders.endless(folders.there)
    pid = context.call(os.getpid)
    destination = folders.here / "copy"
    transfer = InThread(lambda: files.fetch(context, source, destination, size_max=ENDLESS, resume=True))
    await_written(os.getpid(), folders.here)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(transfer.end(), plasmid.ContextLost)
    kept = (folders.here / ".copy.plasmid-partial").stat().st_size
    assert kept > 0
    with source.open("r+b") as file:
        file.truncate(kept)
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
    again = router.local(name="again")
    arrived = files.fetch(again, source, destination, resume=True)
    assert (arrived.size, arrived.resumed_at, arrived.digest) == (kept + 7, kept, sha256(source))
    assert (os.listdir(folders.here), sha256(destination)) == (["copy"], arrived.digest)


@one_way
def test_what_is_kept_of_another_file_is_not_used(context: plasmid.Context, folders: Folders) -> None:
    source = folders.there / "source"
    source.write_bytes(os.urandom(2 * MIB))
    for transfer in files.fetch, files.put:
        (folders.here / ".copy.plasmid-partial").write_bytes(bytes(MIB))
        arrived = transfer(context, source, folders.here / "copy", resume=True)
        assert (arrived.resumed_at, arrived.digest) == (0, sha256(source))
        (folders.here / ".copy.plasmid-partial").write_bytes(source.read_bytes()[:MIB])
        arrived = transfer(context, source, folders.here / "copy", resume=True)
        assert (arrived.resumed_at, arrived.digest) == (MIB, sha256(source))
        assert (os.listdir(folders.here), sha256(folders.here / "copy")) == (["copy"], arrived.digest)


# D10
@one_way
def test_a_full_disk_is_an_error_and_leaves_nothing(context: plasmid.Context, folders: Folders) -> None:
    (folders.here / "file").write_bytes(bytes(3 * MIB))
    context.call(far_files.limit_file_size, MIB)
    with pytest.raises(OSError, match="File too large"):
        files.put(context, folders.here / "file", folders.there / "copy", digest=True)  # so the far side writes it
    with pytest.raises(OSError, match="File too large"):
        files.put(context, folders.here, folders.there / "copy")
    assert os.listdir(folders.there) == []


# U8: fairly beside other traffic
@ways
def test_calls_go_on_beside_a_transfer(context: plasmid.Context, folders: Folders) -> None:
    source = folders.endless(folders.there)
    transfer = InThread(lambda: files.fetch(context, source, folders.here / "copy", size_max=ENDLESS))
    await_written(os.getpid(), folders.here)
    assert [context.call(far.add, n) for n in range(50)] == list(range(10, 60))
    os.kill(context.call(os.getpid), signal.SIGKILL)
    assert isinstance(transfer.end(), plasmid.ContextLost)
    assert os.listdir(folders.here) == []


# D6, D10
@one_way
def test_the_time_that_a_transfer_takes_can_be_limited(context: plasmid.Context, folders: Folders) -> None:
    with pytest.raises(plasmid.DeadlineExceeded):
        files.fetch(context, folders.endless(folders.there), folders.here / "copy", size_max=ENDLESS, timeout=0.3)
    with pytest.raises((plasmid.DeadlineExceeded, plasmid.Overloaded, plasmid.ReceiverClosed)):
        files.put(context, folders.endless(folders.here), folders.there / "copy", size_max=ENDLESS, timeout=0.3)
    assert (os.listdir(folders.here), os.listdir(folders.there)) == (["endless"], ["endless"])
    # Those that serve the transfers have stopped, not only those who wait.
    await_no_descriptor(context, folders)


class TestServing:
    """A FileService of the root, for its children."""

    @pytest.fixture
    def service(self, router: plasmid.Router) -> "Iterator[plasmid.FileService]":
        service = plasmid.FileService(router)
        with plasmid.Pool(router, services=[service], size=2):
            yield service

    # S24, U8
    @ways
    def test_children_get_what_was_registered_and_nothing_else(
        self, service: plasmid.FileService, context: plasmid.Context, folders: Folders
    ) -> None:
        tree = folders.tree(folders.here)
        (folders.here / "listed").write_text("listed")
        (folders.here / "secret").write_text("secret")
        (tree / "link").symlink_to(folders.here / "secret")
        service.register(folders.here / "listed")
        service.register_prefix(tree)
        there = str(folders.there / "copy")
        found = context.call(far_files.fetch_from_root, str(folders.here / "listed"), there)
        assert found == [6, 1, ""]
        assert context.call(far_files.fetch_from_root, str(tree / "a"), str(folders.there / "a"))[1] == 4
        assert contents(folders.there / "a") == contents(tree / "a")
        paths = ["secret", "tree/../secret", "tree/link", "tree/none", "treeless", "", "listed/x", "tree//a"]
        asked = [os.fsencode(f"{folders.here}/{path}") for path in paths] + [b"listed", b"/"]
        errors = context.call(far_files.errors_of_root, asked, str(folders.there / "no"))
        unregistered = "it isn't registered there; FileService.register() or register_prefix() would do that"
        assert [(kind, text.partition("] ")[2].rpartition(": ")[0]) for kind, text in errors] == [
            ("PermissionError", unregistered),
            ("PermissionError", "no path that is served: it holds '..', which isn't a name"),
            ("PermissionError", "a part of it isn't a folder, or is a symbolic link"),
            ("FileNotFoundError", "No such file or directory"),
            ("PermissionError", unregistered),
            ("PermissionError", unregistered),
            ("PermissionError", unregistered),
            ("PermissionError", "no path that is served: it has an empty part"),
            ("PermissionError", "no path that is served: it isn't absolute"),
            ("PermissionError", unregistered),
        ]
        assert sorted(os.listdir(folders.there)) == ["a", "copy"]

    @one_way
    def test_a_registered_file_is_served_as_it_is_when_it_is_asked_for(
        self, service: plasmid.FileService, context: plasmid.Context, folders: Folders
    ) -> None:
        path = folders.here / "file"
        service.register(path)
        there = str(folders.there / "copy")
        asked = [os.fsencode(path)]
        assert context.call(far_files.errors_of_root, asked, there)[0][0] == "FileNotFoundError"
        path.mkdir()
        (path / "secret").write_text("secret")
        ((kind, text),) = context.call(far_files.errors_of_root, asked, there)
        assert (kind, "it was registered as a file and is a folder" in text) == ("PermissionError", True)
        assert os.listdir(folders.there) == []

    @one_way
    def test_no_child_puts_anything_to_its_parent(  # D12
        self, service: plasmid.FileService, context: plasmid.Context, folders: Folders
    ) -> None:
        service.register_prefix(folders.here)
        (folders.there / "file").write_text("evil")
        with pytest.raises(plasmid.RemoteError, match=r"FileService\.receive"):
            context.call(far_files.put_to_root, str(folders.there / "file"), str(folders.here / "file"))
        assert os.listdir(folders.here) == []

    @one_way
    def test_what_is_registered_is_named_wholly(self, service: plasmid.FileService, way: str) -> None:
        with pytest.raises(ValueError) as caught:
            service.register("some/file")
        hint = "os.path.abspath() makes a path that can be registered"
        assert str(caught.value) == f"FileService.register('some/file'): it isn't absolute; {hint}"
        with pytest.raises(ValueError, match=r"it holds '\.\.', which isn't a name"):
            service.register_prefix("/srv/../etc")
        with pytest.raises(ValueError, match="register_prefix"):
            service.register("/")
        service.register_prefix("/srv/")

    # S24: and one of a child, for its siblings
    @one_way
    def test_a_child_serves_its_siblings_what_it_has_registered(
        self, request: pytest.FixtureRequest, router: plasmid.Router, context: plasmid.Context, folders: Folders
    ) -> None:
        (folders.there / "file").write_text("content")
        context.call(far_files.serve, str(folders.there))
        sibling = connect(request, router, "local", "sibling")
        arrived = sibling.call(files.fetch, context, str(folders.there / "file"), str(folders.here / "copy"))
        assert arrived == files.Arrived(7, 1, "", [], 0)


class TestPushing:
    """One file for many contexts."""

    # U8
    @one_way
    def test_each_link_carries_a_file_once_and_every_context_has_it(
        self, router: plasmid.Router, context: plasmid.Context, tmp_path: Path
    ) -> None:
        size = 8 * MIB
        path = tmp_path / "model"
        path.write_bytes(os.urandom(size))
        leaves = [router.local(name=f"leaf{n}", via=context) for n in range(3)]
        push = plasmid.PushFileService(router)
        push.push(path, leaves[:1], name="warm up: modules travel too")
        for leaf in leaves[1:]:
            push.push(__file__, [leaf])
        read, written = context.call(far_files.bytes_moved)
        push.push(path, leaves)
        push.push(path, leaves)
        push.push(path, [context, *leaves])
        read_then, written_then = context.call(far_files.bytes_moved)
        assert size < read_then - read < size * 1.25
        assert 3 * size < written_then - written < 3 * size * 1.25
        for each in [context, *leaves]:
            assert each.call(far_files.get_pushed, str(path), TIMEOUT_S) == path.read_bytes()

    # U8
    @ways
    def test_who_asks_before_it_comes_waits_for_it(self, router: plasmid.Router, context: plasmid.Context) -> None:
        push = plasmid.PushFileService(router)
        context.call(far_files.get_pushed_later, __file__)
        push.push(__file__, [context])
        assert context.call(far_files.taken) == Path(__file__).read_bytes()

    @one_way
    def test_who_waits_for_what_never_comes_is_told_in_time(self, context: plasmid.Context) -> None:
        with pytest.raises(plasmid.RemoteError, match="DeadlineExceeded"):
            context.call(far_files.get_pushed, "/none", 0.2)

    @one_way
    def test_a_file_that_has_changed_is_carried_again(
        self, router: plasmid.Router, context: plasmid.Context, tmp_path: Path
    ) -> None:
        path = tmp_path / "file"
        push = plasmid.PushFileService(router)
        for content in b"one", b"two", b"one", b"":
            path.write_bytes(content)
            push.push(path, [context])
            assert context.call(far_files.get_pushed, str(path), TIMEOUT_S) == content

    @one_way
    def test_what_a_context_keeps_is_bounded_and_forgotten_when_told(
        self, router: plasmid.Router, context: plasmid.Context, tmp_path: Path
    ) -> None:
        push = plasmid.PushFileService(router)
        half = push.held_size_max // 2
        for name in "a", "b", "c":
            with (tmp_path / name).open("wb") as file:
                file.truncate(half)
        push.push(tmp_path / "a", [context], name="a")
        push.push(tmp_path / "b", [context], name="b")
        with pytest.raises(plasmid.Overloaded, match=f"{2 * half} bytes of files are kept here and {2 * half} is the"):
            push.push(tmp_path / "c", [context], name="c")
        client = context.service(plasmid.PushFileService)
        assert client.held() == push.held() == {"a": half, "b": half}
        push.forget("a")
        assert client.held() == push.held() == {"b": half}
        push.push(tmp_path / "c", [context], name="c")
        assert client.held() == {"b": half, "c": half}
        (tmp_path / "d").write_bytes(b"")
        os.truncate(tmp_path / "d", 2 * half + 1)
        with pytest.raises(plasmid.Overloaded, match="fetch\\(\\) and put\\(\\) are for large files"):
            push.push(tmp_path / "d", [context])

    @one_way
    def test_one_that_is_lost_keeps_no_other_from_getting_it(
        self, router: plasmid.Router, context: plasmid.Context
    ) -> None:
        push = plasmid.PushFileService(router)
        lost = router.local(name="lost")
        lost.shutdown()
        with pytest.raises(plasmid.NotSent):
            push.push(__file__, [lost, context])
        assert context.call(far_files.get_pushed, __file__, TIMEOUT_S) == Path(__file__).read_bytes()

    @one_way
    def test_only_files_are_pushed_and_only_downwards(
        self, router: plasmid.Router, context: plasmid.Context, tmp_path: Path
    ) -> None:
        push = plasmid.PushFileService(router)
        with pytest.raises(IsADirectoryError):
            push.push(tmp_path, [context])
        with pytest.raises(FileNotFoundError):
            push.push(tmp_path / "none", [context])
        push.push(__file__, [router.myself()])
        assert push.held() == {__file__: os.path.getsize(__file__)}
