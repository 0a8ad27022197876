"""shared_code.py: one piece of memory, which nobody can change once it is said to be there."""

import _thread
import fcntl
import marshal
import os

import pytest

from plasmid.builtin.shared_code import TOKEN_SIZE, SharedCode

CODE = marshal.dumps({"a": compile("x = 1", "a", "exec")})


def test_what_is_lent_holds_the_token_the_code_and_the_answer() -> None:
    shared = SharedCode(_thread.allocate_lock())
    fd = shared.lend()
    assert shared.fill(CODE, b"answer")
    assert shared.fill(b"not looked at", b"another")
    other = shared.lend()
    shared.close()
    for lent in (fd, other):
        assert not os.get_inheritable(lent)
        data = os.pread(lent, 1 << 20, 0)
        assert data[:TOKEN_SIZE] == shared.token
        assert marshal.loads(data[TOKEN_SIZE:]) == (CODE, b"answer")
        os.close(lent)
    assert shared.lend() == -1
    shared.close()


# D12
def test_nobody_changes_it_once_it_is_said_to_be_there() -> None:
    shared = SharedCode(_thread.allocate_lock())
    fd = shared.lend()
    assert shared.fill(CODE, b"answer")
    for change in (
        lambda: os.pwrite(fd, b"other", TOKEN_SIZE),
        lambda: os.ftruncate(fd, 0),
        lambda: os.ftruncate(fd, 1 << 20),
        lambda: os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"other", 0),
    ):
        with pytest.raises(PermissionError):
            change()
    os.close(fd)
    shared.close()


# D12
@pytest.mark.parametrize("how", ["longer", "sealed"])
def test_what_somebody_else_has_changed_before_is_not_used(how: str) -> None:
    shared = SharedCode(_thread.allocate_lock())
    fd = shared.lend()
    if how == "longer":
        os.ftruncate(fd, 1 << 20)
    else:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
    assert not shared.fill(CODE, b"answer")
    assert shared.lend() == -1
    os.close(fd)
