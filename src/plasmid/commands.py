"""Run programs on the machine of any context below this one.

    done = plasmid.commands.run(web, ["uname", "-a"])
    print(done.status, done.text)

run() waits for the end and holds what was printed, up to a limit; start() gives it as it comes. The far side of this is
the service plasmid.builtin.commands.Commands.
"""

import threading

from plasmid.builtin.commands import PIECE_SIZE_MAX, RUNNING_MAX, Commands
from plasmid.core.errors import Overloaded, PlasmidError, RemoteError
from plasmid.runtime.context import deadline_after
from plasmid.service.streams import open_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

    from plasmid.runtime.context import Context
    from plasmid.runtime.receivers import Sender

# What run() holds of each of stdout and stderr.
HELD_MAX = 16 * 1024 * 1024


class CommandFailed(PlasmidError):
    """A program ended with another status than 0, and run() was to check. done: the Finished."""

    def __init__(self, done: "Finished", where: str) -> None:
        self.done = done
        self.where = where
        super().__init__(done, where)

    def __str__(self) -> str:
        last = self.done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        text = "%s on %s %s" % (" ".join(self.done.argv), self.where, _end(self.done.status))
        return text + (": " + ascii(last[0])[1:-1] if last else "")


class Finished:
    """A program that has ended. status: 0 is success, negative the number of a signal.

    stdout, stderr: what it printed, from the beginning up to the limit. dropped: bytes over the limit, of both.
    """

    def __init__(self, argv: "Sequence[str]", status: int, stdout: bytes, stderr: bytes, dropped: int) -> None:
        self.argv = list(argv)
        self.status = status
        self.stdout = stdout
        self.stderr = stderr
        self.dropped = dropped

    @property
    def text(self) -> str:
        """What it printed on stdout, decoded from UTF-8."""
        return self.stdout.decode("utf-8", "replace")

    def __repr__(self) -> str:
        sizes = len(self.stdout), len(self.stderr)
        return "<Finished %r with status %d, %d and %d bytes printed>" % (self.argv, self.status, *sizes)


class Command:
    """A program that runs on `context`. Iterate over it for what it prints: ("stdout", bytes) and ("stderr", bytes).

    It prints no more than is read: one that isn't iterated over waits at a full pipe sooner or later. status: how it
    ended, once the iteration is over; None before. Use it in a `with`, or stop() it. One thread may iterate, another
    one write().
    """

    def __init__(self, context: "Context", argv: "Sequence[str]", stream: "Any", feeds: bool) -> None:
        self.context = context
        self.argv = list(argv)
        self.status = None  # type: Optional[int]
        self._stream = stream
        self._stdin = self._next()[1] if feeds else None  # type: Optional[Sender]

    def __iter__(self) -> "Iterator[Tuple[str, bytes]]":
        return self

    def __next__(self) -> "Tuple[str, bytes]":
        name, data = self._next()
        return name, data

    def _next(self) -> "Any":
        try:
            return next(self._stream)
        except StopIteration as end:
            if end.value is not None:
                self.status = end.value
            raise
        except RemoteError as error:
            if error.type_name != "plasmid.core.errors.Overloaded":
                raise
            found = "%d programs run there already" % RUNNING_MAX
            raise Overloaded(" ".join(self.argv), str(self.context), found) from None

    def write(self, data: bytes) -> None:
        """Give it bytes on stdin; waits while it takes none. Raises ReceiverClosed if it takes no more."""
        if self._stdin is None:
            raise ValueError("%s was started without a stdin; start it with feed=True" % " ".join(self.argv))
        view = memoryview(data)
        for at in range(0, len(view), PIECE_SIZE_MAX):
            self._stdin.put(bytes(view[at : at + PIECE_SIZE_MAX]))

    def close_stdin(self) -> None:
        """End its stdin."""
        if self._stdin is not None:
            self._stdin.close()

    def wait(self) -> int:
        """Return its exit status once it has ended. What it prints until then is dropped."""
        for _ in self:
            pass
        assert self.status is not None
        return self.status

    def stop(self) -> None:
        """End it, with its process group, if it hasn't ended: SIGTERM, and half a second later SIGKILL."""
        self._stream.close()

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return "<Command %r on %s, %s>" % (self.argv, self.context, "running" if self.status is None else self.status)


def start(
    context: "Context",
    argv: "Sequence[str]",
    cwd: "Optional[str]" = None,
    env: "Optional[Dict[str, Optional[str]]]" = None,
    feed: bool = False,
    timeout: "Optional[float]" = None,
) -> Command:
    """Start a program on `context`. argv: its name and arguments; no shell sees them.

    cwd: where, None for the context's own folder. env: variables besides those of the context; None takes one away.
    feed: it gets a stdin, for write(); else that is empty. timeout: seconds for all of it.
    The errors of a call come with the iteration: OSError if there is no such program there, ContextLost, ...
    """
    if isinstance(argv, (str, bytes)) or not argv:
        raise TypeError("a program and its arguments are given as a list of texts, not as %r" % (argv,))
    deadline = None if timeout is None else deadline_after(timeout)
    args = {"argv": list(argv), "cwd": cwd or "", "env": env or {}, "feeds": feed}
    stream = open_stream(context, context.service_name(Commands), "run", args, deadline)
    return Command(context, argv, stream, feed)


def run(
    context: "Context",
    argv: "Sequence[str]",
    cwd: "Optional[str]" = None,
    env: "Optional[Dict[str, Optional[str]]]" = None,
    input: "Union[bytes, Iterable[bytes]]" = b"",
    timeout: "Optional[float]" = None,
    held_max: int = HELD_MAX,
    check: bool = False,
) -> Finished:
    """Run a program on `context`, and return how it ended and what it printed. See start() for the first parameters.

    input: what it reads on stdin, bytes or pieces of bytes. held_max: bytes to keep of each of stdout and stderr; what
    is beyond is counted and dropped. check: raise CommandFailed if its status isn't 0.
    """
    held = {"stdout": [], "stderr": []}  # type: Dict[str, List[bytes]]
    room = dict.fromkeys(held, held_max)
    dropped = 0
    with start(context, argv, cwd, env, input != b"", timeout) as command:
        if input != b"":
            args = (command, (input,) if isinstance(input, bytes) else input)
            threading.Thread(target=_feed, args=args, name="plasmid-stdin", daemon=True).start()
        for name, data in command:
            kept = data[: room[name]]
            room[name] -= len(kept)
            dropped += len(data) - len(kept)
            if kept:
                held[name].append(kept)
    assert command.status is not None
    done = Finished(argv, command.status, b"".join(held["stdout"]), b"".join(held["stderr"]), dropped)
    if check and done.status:
        raise CommandFailed(done, str(context))
    return done


def _feed(command: Command, pieces: "Iterable[bytes]") -> None:
    """Give a program its stdin."""
    try:
        for data in pieces:
            command.write(data)
        command.close_stdin()
    except PlasmidError:
        pass  # it takes no more, or has ended: run() says how


def _end(status: int) -> str:
    return "exited with status %d" % status if status >= 0 else "was killed by signal %d" % -status
