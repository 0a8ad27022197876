"""Passwords on their way to a prompt: a Secret shows itself nowhere but to who types it."""

from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Union

# What a terminal takes as one line everywhere; macOS is the narrowest.
SIZE_MAX = 1023  # bytes of UTF-8


class Secret:
    """A password. Neither its repr nor str, nor a log or an error that it is in, tells what it is.

    source: the password, or a function that returns it, such as getpass.getpass: called once, when it's first needed,
    on the thread that connects then. Raises ValueError for what can't be typed at a prompt.
    """

    __slots__ = ("_known", "_lock", "_source")

    def __init__(self, source: "Union[str, Callable[[], str]]") -> None:
        if not callable(source) and not isinstance(source, str):
            raise TypeError(
                "a Secret is made of a str or a function that returns one, not of %s" % type(source).__name__
            )
        self._source = source
        self._known = ""
        self._lock = allocate_lock()  # of twenty connections that need it at once, one asks
        if isinstance(source, str):
            self._known = _checked(source)

    def reveal(self) -> str:
        """Return the password. For whoever types it; keep it in no variable for longer."""
        with self._lock:
            if not self._known and callable(self._source):
                self._known = _checked(self._source())
            return self._known

    def __repr__(self) -> str:
        return "<Secret>"

    def __reduce__(self) -> str:
        raise TypeError("a Secret can't be pickled")


def as_secret(given: "Union[str, Callable[[], str], Secret, None]") -> "Optional[Secret]":
    """Return what a parameter such as password= was given, as a Secret; None for None."""
    return given if given is None or isinstance(given, Secret) else Secret(given)


def _checked(text: str) -> str:
    # The messages must not show what they are about.
    if not isinstance(text, str):
        raise TypeError("the function of a Secret must return a str, not %s" % type(text).__name__)
    if not text:
        raise ValueError("a password can't be empty: pass None for no password")
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("a password with a line break or another control character can't be typed at a prompt")
    if len(text.encode("utf-8", "replace")) > SIZE_MAX:
        raise ValueError("a password of more than %d bytes can't be typed at a prompt" % SIZE_MAX)
    return text
