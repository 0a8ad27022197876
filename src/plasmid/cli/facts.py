"""What `plasmid doctor` runs on a far side to see whether a module from here arrives there. Runs on Python 3.6."""

import os
import sys


def facts() -> "dict[str, object]":
    """Return what this interpreter is and where it runs."""
    machine = os.uname()
    return {
        "host": machine.nodename,
        "system": "%s %s %s" % (machine.sysname, machine.release, machine.machine),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "executable": sys.executable,
        "pid": os.getpid(),
        "user": _user(),
        "folder": os.getcwd(),
    }


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # an account without an entry, as containers have them
        return str(os.getuid())
