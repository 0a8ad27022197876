"""What the tests of languages run as the caller of sudo and su: sent there."""

import os
import pty
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

ASK_TIMEOUT_S = 20


def question(argv: "list[str]") -> str:
    """Run a program on a terminal, and return what it says up to its first question, which isn't answered."""
    pid, fd = pty.fork()
    if not pid:
        os.execvp(argv[0], argv)
    said = b""
    until = time.monotonic() + ASK_TIMEOUT_S
    while not said.rstrip().endswith((b":", "：".encode())) and time.monotonic() < until:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                said += os.read(fd, 4096)
            except OSError:
                break  # it has ended
    os.close(fd)  # which hangs up on it
    os.waitpid(pid, 0)
    return said.decode("utf-8", "replace")
