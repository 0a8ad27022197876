"""Where a Unix socket may stand, what becomes of one that was left there, and who is at its other end."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

import plasmid
from plasmid.builtin.sockets import PATH_SIZE_MAX, OwnSocket, checked_path, peer_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder that is nobody else's, with a short name: a socket's path may not be long."""
    tmp_path.chmod(0o700)
    return tmp_path


def refusal(path: Path) -> str:
    """Return why no socket can listen there."""
    with pytest.raises(plasmid.PlasmidError) as caught:
        OwnSocket(str(path))
    return str(caught.value)


def test_a_path_may_be_as_long_as_the_kernel_takes_it_and_no_longer(tmp_path: Path) -> None:
    whole = "/" + "x" * (PATH_SIZE_MAX - 1)
    assert checked_path(whole) == whole
    with pytest.raises(ValueError, match="takes") as caught:
        checked_path(whole + "x")
    assert str(caught.value) == (
        f"the path {whole}x takes {PATH_SIZE_MAX + 1} bytes, and the path of a socket may take {PATH_SIZE_MAX} here; "
        "choose a shorter one"
    )
    # It counts bytes: another kernel's word on it would come too late.
    letters = "/" + "ä" * ((PATH_SIZE_MAX - 1) // 2)
    assert checked_path(letters) == letters
    with pytest.raises(ValueError, match=f"takes {len((letters + 'ä').encode())} bytes"):
        checked_path(letters + "ä")
    longest = tmp_path / ("x" * (PATH_SIZE_MAX - len(str(tmp_path)) - 3)) / "s"
    OwnSocket(checked_path(longest)).close()
    assert checked_path(Path("s")) == os.path.abspath("s")


@pytest.mark.parametrize(("path", "error"), [("", ValueError), ("\0x", ValueError), (b"/x", TypeError), (5, TypeError)])
def test_what_is_no_path_is_refused(path: object, error: "type[Exception]") -> None:
    with pytest.raises(error):
        checked_path(path)


def test_a_socket_is_its_users_alone_and_is_gone_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "made" / "s"
    own = OwnSocket(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    own.close()
    own.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_or_has_more_in_it_stays(folder: Path) -> None:
    OwnSocket(str(folder / "s")).close()
    assert list(folder.iterdir()) == []
    own = OwnSocket(str(folder / "made" / "s"))
    (folder / "made" / "other").touch()
    own.close()
    assert list((folder / "made").iterdir()) == [folder / "made" / "other"]


def test_a_folder_that_others_may_use_is_refused(folder: Path) -> None:
    for mode in (0o755, 0o710, 0o701, 0o1777):
        folder.chmod(mode)
        assert refusal(folder / "s") == (
            f"the folder {folder} may be used by others, its mode is {mode:04o}; make that 0700, or name one that "
            "isn't there yet"
        )
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_a_link_or_none_or_in_none_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to(folder)
    (folder / "file").touch()
    for name in ("link", "file"):
        assert (
            refusal(folder / name / "s") == f"the folder {folder / name} is a link, or no folder; name what it leads to"
        )
    assert refusal(folder / "no" / "such" / "s") == (
        f"listening at {folder}/no/such/s: its folder can't be made: No such file or directory"
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_elses_is_refused(folder: Path) -> None:
    os.chown(folder, 12345, -1)
    assert refusal(folder / "s") == (
        f"the folder {folder} belongs to the user 12345, and this process runs as 0; name a folder of its own"
    )


def test_what_is_no_socket_is_never_removed(folder: Path) -> None:
    (folder / "s").write_text("of value")
    assert refusal(folder / "s") == (
        f"listening at {folder}/s: something else is there that is no socket; name another path"
    )
    (folder / "link").symlink_to(folder / "s")
    assert refusal(folder / "link").startswith(f"listening at {folder}/link: something else is there")
    assert (folder / "s").read_text() == "of value"


def test_where_somebody_listens_nobody_else_does(folder: Path) -> None:
    own = OwnSocket(str(folder / "s"))
    assert refusal(folder / "s") == f"listening at {folder}/s: another process listens there; name another path"
    # Who looked hung up at once: the listener isn't disturbed.
    own.socket.accept()[0].close()
    own.close()


def left_behind(path: Path) -> None:
    """Make a socket that nobody listens at any more."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()


def test_a_socket_that_was_left_behind_is_replaced(folder: Path) -> None:
    left_behind(folder / "s")
    own = OwnSocket(str(folder / "s"))
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(folder / "s"))
    client.close()
    own.close()
    assert list(folder.iterdir()) == []


def test_of_many_who_find_a_socket_left_behind_one_takes_its_place(folder: Path) -> None:
    left_behind(folder / "s")
    start = threading.Barrier(8)
    taken: list[OwnSocket] = []
    refused: list[str] = []

    def take() -> None:
        start.wait()
        try:
            taken.append(OwnSocket(str(folder / "s")))
        except plasmid.PlasmidError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [f"listening at {folder}/s: another process listens there; name another path"] * 7
    assert [own.socket.fileno() >= 0 for own in taken] == [True]
    taken[0].close()


def test_a_socket_that_took_the_place_of_this_one_stays(folder: Path) -> None:
    first = OwnSocket(str(folder / "s"))
    (folder / "s").unlink()
    second = OwnSocket(str(folder / "s"))
    first.close()
    assert (folder / "s").is_socket()
    second.close()
    assert list(folder.iterdir()) == []


def test_each_end_is_told_who_the_other_is() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        assert peer_of(here) == (os.geteuid(), os.getpid())
