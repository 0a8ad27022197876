"""What every way to reach a machine supplies.

A connector says which program to run here so that Python runs there with the first stage (`argv`), what that may ask
(`prompts`), and what it prints when it fails. What is done with all that is in starting.py.
"""

from plasmid.connect.process import NO_TERMINAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

    from plasmid.connect.prompts import Prompt
    from plasmid.connect.secret import Secret
    from plasmid.connect.supply import Supply


# Runs the newest Python that it finds with the arguments that it is given; tells of those that won't do. Like the first
# stage it has no single quote, no backslash and no exclamation mark, so that each shell passes it on as it is.
FINDER = (
    "for p in python3.15 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python3.7 python3.6"
    " python3 python /usr/bin/python3 /usr/local/bin/python3 /opt/homebrew/bin/python3 /usr/libexec/platform-python"
    " python2; do if command -v $p >/dev/null 2>&1; then"
    ' $p -S -c "import sys,zlib;sys.exit(sys.version_info<(3,6))" </dev/null >/dev/null 2>&1 && exec $p "$@";'
    ' $p -V 2>&1 </dev/null | { read -r v; echo "PLASMID found $p: $v" >&2; }; fi; done;'
    " echo PLASMID found >&2; exit 69"
)


# What ssh itself refuses in names from a command line, newer ones at least: a ProxyCommand would give it to a shell.
_FORBIDDEN = "'`\"$\\;&<>|(){}"
# What no shell touches, inside a word or as one.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,")


class Connector:
    """A way to reach a machine. The parameters are those of the constructor, under the same names.

    name: of the new context, for logs and the process list there. python_path: the Python there, a word or a list
    of words; None for `python3`, or else whichever is found that is new enough. connect_timeout: seconds for everything
    until the far side has answered.
    """

    scheme = ""
    # What the program prints when it fails, in lower case, and what to do about it: looked at in this order.
    known_failures: "Sequence[Tuple[str, str]]" = ()
    # Whether the program gets a terminal for its questions, see process.py.
    terminal = NO_TERMINAL
    # How many bytes may be on their way on the link, see process.py: they are ahead of whatever is more urgent.
    buffer_size = 0
    # Whether a shell there runs the command: then the exit statuses 126 and 127 are its own.
    has_shell = True
    # Whether it is no program that is run: the context that is asked clones itself, see builtin/forking.py.
    clones = False
    # Whether it leads to this very machine, so that bytes cost nothing, and time does.
    stays_here = False
    # Whether this user may kill what is started here; what became another user ends when its terminal hangs up.
    may_be_killed = True
    # The constructor's parameters, which spec() carries to another context.
    PARAMETERS: "Tuple[str, ...]" = ("name", "python_path", "connect_timeout")

    def __init__(
        self, name: str, python_path: "Union[str, List[str], None]" = None, connect_timeout: float = 30.0
    ) -> None:
        if not connect_timeout > 0:
            raise ValueError("connect_timeout must be more than 0 seconds; it is %r" % (connect_timeout,))
        given = "python3" if python_path is None else python_path
        words = [given] if isinstance(given, str) else list(given)
        if not words or not all(words) or words[0].startswith("-"):
            raise ValueError("python_path must name a program; it is %r" % (python_path,))
        self.name = name
        self.python_path = python_path
        self.connect_timeout = connect_timeout
        self._python_words = words
        self.supply = None  # type: Optional[Supply]  # of who asks for the context; it doesn't travel

    @classmethod
    def url_fields(cls, url: str, rest: str) -> "Dict[str, Any]":
        """Return the parameters that a URL of this scheme gives. rest: what stands behind `scheme://`.

        Raises ValueError for a URL that makes no sense. One without anything behind the scheme is the only one here.
        """
        if rest:
            raise ValueError("%r: `%s:` takes nothing after it" % (url, cls.scheme))
        return {}

    @property
    def target(self) -> str:
        """What is to be reached, as messages name it: `ssh://web1`."""
        raise NotImplementedError

    @property
    def program(self) -> str:
        """The program started here, as messages name it: `ssh`."""
        raise NotImplementedError

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        """Return the command that runs Python there with this text. ps_name: the last argument, seen in `ps`."""
        raise NotImplementedError

    def environment(self) -> "Optional[Dict[str, str]]":
        """Return the environment of the program started here, None for our own. It must not hold a secret."""
        return None

    def secrets(self) -> "Dict[str, Secret]":
        """Return the answers to what the program may ask, by the name that its Prompt has for it."""
        return {}

    def prompts(self, first_stage: str) -> "Sequence[Prompt]":
        """Return what the program may ask on its terminal. first_stage: the text that argv() is given. May block."""
        return ()

    def with_any_python(self) -> "Connector":
        """Return a copy that looks for a Python there."""
        again = type(self).__new__(type(self))
        again.__dict__.update(self.__dict__)
        again._python_words = ["sh", "-c", FINDER, "sh"]
        return again

    def spec(self) -> "Dict[str, Any]":
        """Return this connector as a dict; see plasmid.connect.travelling_spec() and from_spec()."""
        spec: "Dict[str, Any]" = {key: getattr(self, key) for key in self.PARAMETERS}
        spec["scheme"] = self.scheme
        return spec

    def _python_argv(self, first_stage: str, ps_name: str) -> "List[str]":
        # -S: `site` costs 20 ms and more, and runs after the far side has answered.
        return self._python_words + ["-S", "-c", first_stage, ps_name]


def split_user(url: str, rest: str) -> "Tuple[Optional[str], str]":
    """Return the user of `user@place`, None without one, and the place. For url_fields(); ValueError for a password."""
    user, at, place = rest.rpartition("@")
    if ":" in user:
        raise ValueError("a URL must not hold a password: %s:...@%s" % (user.partition(":")[0], place))
    return (user if at else None), place


def quote(word: str) -> str:
    """Return the word as a POSIX shell has to see it."""
    # Not shlex: importing it costs a relay 12 ms.
    if word and all(c in _PLAIN for c in word):
        return word
    return "'%s'" % word.replace("'", "'\"'\"'")


def check_word(what: str, word: str) -> None:
    """Refuse a name that a program would take for an option, or that a shell could run: ssh gives it to ProxyCommand.

    what: it is, for the message. Raises ValueError.
    """
    if not word:
        raise ValueError("the %s is empty" % what)
    if word.startswith("-"):
        raise ValueError("the %s must not start with '-'; it is %r" % (what, word))
    bad = next((c for c in word if c in _FORBIDDEN or c.isspace() or not c.isprintable()), None)
    if bad is not None:
        raise ValueError("the %s must not contain %r; it is %r" % (what, bad, word))
