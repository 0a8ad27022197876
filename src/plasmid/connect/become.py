"""A context as another user of the same machine, by sudo, su or doas.

Each gets a terminal of its own to ask for a password on; where the user's terminal is, or whether there is one, plays
no part. The question is asked in English, whatever the locale, so that it can be recognised; sudo's carries a nonce.
Without a password sudo and doas are told not to ask.

What runs as another user can't be killed from here. It ends when its link does, see runtime/watchdog.py.
"""

import os
import zlib

from plasmid.connect.connector import Connector, check_word, quote, split_user
from plasmid.connect.process import AROUND, BACK_TO_THE_LINK, BESIDE
from plasmid.connect.prompts import CHANGE_WORDS, EXPIRED, PASSWORD_WORDS, Prompt
from plasmid.connect.secret import as_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

    from plasmid.connect.secret import Secret

ACCOUNT = "The account has expired or is closed: have the machine's administrator open it."
LOCKED = "The account is locked after too many wrong passwords: wait, or have the administrator unlock it."


WRONG_FOR_SUDO = (
    "The password was wrong. It is your own that sudo wants, unless sudoers sets targetpw or rootpw. It was typed once "
    "only, so that the account isn't locked for it."
)


class Become(Connector):
    """What sudo, su and doas have in common. username: who to be. password: see Secret; whose it is, each way says."""

    known_failures: "Sequence[Tuple[str, str]]" = (
        ("password is expired", EXPIRED),
        ("password expired", EXPIRED),
        ("password has expired", EXPIRED),
        ("change your password", EXPIRED),
        ("account has expired", ACCOUNT),
        ("account expired", ACCOUNT),
        ("account validation failure", ACCOUNT),
        ("account is locked", LOCKED),
        ("account locked", LOCKED),
        ("account temporarily locked", LOCKED),
        ("must be setuid root", "Whoever set up the machine, or the container, took that program's rights away."),
        ("owned by uid 0 and have the setuid bit", "The program can't become anyone: it has no setuid bit."),
        ("no new privileges", "This context may gain no rights: a service manager or container runs it so."),
        ("too many open files", "The limits set for the account are too low."),
    )
    terminal = BESIDE
    may_be_killed = False

    def __init__(
        self,
        username: str = "root",
        password: "Union[str, Callable[[], str], Secret, None]" = None,
        name: "Optional[str]" = None,
        python_path: "Union[str, List[str], None]" = None,
        connect_timeout: float = 30.0,
    ) -> None:
        check_word("user name for %s" % self.scheme, username)
        Connector.__init__(self, name or "%s:%s" % (self.scheme, username), python_path, connect_timeout)
        self.username = username
        self.password = as_secret(password)

    @classmethod
    def url_fields(cls, url: str, rest: str) -> "Dict[str, Any]":
        """Take the user name; `sudo://root@`, `sudo://root` and, for root, `sudo:` are the same."""
        user, place = split_user(url, rest)
        if user is not None and place:
            raise ValueError("%r: it leads to a user of the same machine, so nothing may follow the @" % url)
        user = place if user is None else user
        return {"username": user} if user else {}

    @property
    def target(self) -> str:
        return "%s://%s@" % (self.scheme, self.username)

    @property
    def program(self) -> str:
        return self.scheme

    def environment(self) -> "Dict[str, str]":
        """Return our own, but with messages in English, and without what would answer prompts in our place."""
        return english(os.environ)

    def secrets(self) -> "Dict[str, Secret]":
        return {} if self.password is None else {"password": self.password}

    def change_prompts(self) -> "List[Prompt]":
        """Return the questions that must not be answered, for the end of prompts()."""
        return [Prompt("", "", CHANGE_WORDS, EXPIRED)]


class Sudo(Become):
    """Run Python as `username` by sudo. password: your own, as a rule. sudo_args: further arguments, before ours."""

    scheme = "sudo"
    PARAMETERS = ("username", "password", "sudo_path", "sudo_args") + Connector.PARAMETERS
    known_failures = (
        *Become.known_failures,
        ("a password is required", "sudo wants a password: pass password=, or allow NOPASSWD in sudoers."),
        ("incorrect password attempt", WRONG_FOR_SUDO),
        ("sorry, try again", WRONG_FOR_SUDO),
        (
            "is not in the sudoers file",
            "The account that runs sudo there may not: its administrator must say so in sudoers.",
        ),
        ("may not run sudo on", "The account that runs sudo there may not on this machine, says sudoers."),
        ("is not allowed to execute", "sudoers lets the account run other commands, or be other users, but not this."),
        ("is not allowed to run sudo", "The account that runs sudo there may not on this machine, says sudoers."),
        ("unknown user", "There is no such user on that machine: check username=."),
        (
            "you must have a tty to run sudo",
            "sudoers has requiretty, and the machine has no terminal to give: see /dev/pts.",
        ),
        ("no tty present", "sudo found no terminal to ask on: see /dev/pts there."),
        ("a terminal is required to read the password", "sudo found no terminal to ask on: see /dev/pts there."),
        (
            "error in /etc/sudoers",
            "sudoers has a mistake, and sudo does nothing until that is mended: `visudo -c` shows it.",
        ),
        ("syntax error", "sudoers has a mistake, and sudo does nothing until that is mended: `visudo -c` shows it."),
    )

    def __init__(
        self,
        username: str = "root",
        password: "Union[str, Callable[[], str], Secret, None]" = None,
        sudo_path: str = "sudo",
        sudo_args: "Sequence[str]" = (),
        name: "Optional[str]" = None,
        python_path: "Union[str, List[str], None]" = None,
        connect_timeout: float = 30.0,
    ) -> None:
        Become.__init__(self, username, password, name, python_path, connect_timeout)
        self.sudo_path = sudo_path
        self.sudo_args = list(sudo_args)

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        asks = ["-n"] if self.password is None else ["-p", _question(first_stage)]
        # -H: with the caller's own home folder, root leaves files in it that the caller can't remove.
        argv = [os.path.expanduser(self.sudo_path)] + self.sudo_args + asks + ["-H", "-u", self.username, "--"]
        return argv + self._python_argv(first_stage, ps_name)

    def prompts(self, first_stage: str) -> "List[Prompt]":
        question = Prompt("password", _question(first_stage).rstrip(": "))
        return [question] + self.change_prompts()


class Doas(Become):
    """Run Python as `username` by doas. password: your own."""

    scheme = "doas"
    PARAMETERS = ("username", "password", "doas_path", "doas_args") + Connector.PARAMETERS
    known_failures = (
        *Become.known_failures,
        ("authentication required", "doas wants a password: pass password=, or have `nopass` in doas.conf."),
        ("authentication failed", "The password was wrong. It is your own that doas wants."),
        ("operation not permitted", "doas.conf has no rule that lets this account be that user and run Python."),
        ("doas is not enabled", "There is no doas.conf on that machine that says who may use it."),
        ("unknown user", "There is no such user on that machine: check username=."),
        ("a tty is required", "doas found no terminal to ask on: see /dev/pts there."),
        ("syntax error", "doas.conf has a mistake: `doas -C /etc/doas.conf` shows it."),
        ("not installed setuid", "The program can't become anyone: it has no setuid bit."),
    )

    def __init__(
        self,
        username: str = "root",
        password: "Union[str, Callable[[], str], Secret, None]" = None,
        doas_path: str = "doas",
        doas_args: "Sequence[str]" = (),
        name: "Optional[str]" = None,
        python_path: "Union[str, List[str], None]" = None,
        connect_timeout: float = 30.0,
    ) -> None:
        Become.__init__(self, username, password, name, python_path, connect_timeout)
        self.doas_path = doas_path
        self.doas_args = list(doas_args)

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        argv = [os.path.expanduser(self.doas_path)] + self.doas_args
        argv += ["-n"] if self.password is None else []
        return argv + ["-u", self.username, "--"] + self._python_argv(first_stage, ps_name)

    def prompts(self, first_stage: str) -> "List[Prompt]":
        return [Prompt("password", "doas (", None), Prompt("password", "", PASSWORD_WORDS)] + self.change_prompts()


class Su(Become):
    """Run Python as `username` by su. password: that of `username`. Its login shell isn't used, but /bin/sh is."""

    scheme = "su"
    PARAMETERS = ("username", "password", "su_path", "su_args") + Connector.PARAMETERS
    # PAM asks on stdin.
    terminal = AROUND
    known_failures = (
        *Become.known_failures,
        ("authentication failure", "The password was wrong. It is that of username= which su wants."),
        ("incorrect password", "The password was wrong. It is that of username= which su wants."),
        ("authentication token manipulation", EXPIRED),
        ("does not exist", "There is no such user on that machine: check username=."),
        ("unknown id", "There is no such user on that machine: check username=."),
        ("unknown user", "There is no such user on that machine: check username=."),
        ("user unknown", "There is no such user on that machine: check username=."),
        ("must be run from a terminal", "su found no terminal to ask on: see /dev/pts there."),
        ("permission denied", "The machine doesn't let this account use su, or lets nobody become that user."),
        ("account is currently not available", "The account has no shell to run Python with: check username=."),
    )

    def __init__(
        self,
        username: str = "root",
        password: "Union[str, Callable[[], str], Secret, None]" = None,
        su_path: str = "su",
        su_args: "Sequence[str]" = (),
        name: "Optional[str]" = None,
        python_path: "Union[str, List[str], None]" = None,
        connect_timeout: float = 30.0,
    ) -> None:
        Become.__init__(self, username, password, name, python_path, connect_timeout)
        self.su_path = su_path
        self.su_args = list(su_args)

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        words = " ".join(quote(word) for word in self._python_argv(first_stage, ps_name))
        command = "exec %s %s" % (words, BACK_TO_THE_LINK)
        return [os.path.expanduser(self.su_path)] + self.su_args + ["-s", "/bin/sh", "-c", command, self.username]

    def prompts(self, first_stage: str) -> "List[Prompt]":
        advice = "su wants the password of username=: pass it with password=."
        return [Prompt("password", "", PASSWORD_WORDS, advice)] + self.change_prompts()


def english(environment: "Mapping[str, str]") -> "Dict[str, str]":
    """Return this environment with messages in English and all else of the locale as it was."""
    changed = dict(environment)
    everything = changed.pop("LC_ALL", "")
    if everything:
        # It would outdo LC_MESSAGES. The encoding of file names and of output is the other part that matters.
        changed["LANG"] = changed["LC_CTYPE"] = everything
    changed.pop("LANGUAGE", None)
    changed["LC_MESSAGES"] = "C"
    return changed


def _question(first_stage: str) -> str:
    # Other for each connection, since the first stage is.
    return "[plasmid %08x] password: " % zlib.crc32(first_stage.encode())
