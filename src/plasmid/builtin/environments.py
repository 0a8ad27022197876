"""Far side: a cached environment with the packages that a context requires. Nothing else of Plasmid writes to disk.

    CACHE/plasmid/environments/KEY          the environment; `ready` in it says that it's whole
    CACHE/plasmid/environments/KEY.lock     held while it is made
    CACHE/plasmid/environments/KEY.wheels-PID    wheels that were sent, until it's made

CACHE is $XDG_CACHE_HOME or ~/.cache. KEY is a hash of the requirements, the wheels and the interpreter. uv makes it
where there is uv; else venv and pip do; where there are none of these, wheels of pure Python that were sent are
unpacked. It is in use as soon as its folder is on sys.path: no second interpreter is started.
"""

import fcntl
import glob
import hashlib
import importlib.machinery
import json
import logging
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import time
import zipfile

from plasmid.runtime import missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

READY = "ready"
LAST_LINES = 12
LOCK_LOOK_S = 0.2

log = logging.getLogger("plasmid.environments")
log.setLevel(logging.INFO)  # who asked for an environment is to see what is going on


class EnvironmentFailed(Exception):
    """The environment couldn't be made; the text says at what, and the last lines that were printed."""


def prefer_near() -> None:
    """Have modules that this machine has as well come from the near side."""
    assert missing.current is not None
    missing.current.prefer_near = True


def look_for(requirements: "List[str]", wheel_hashes: "List[str]") -> "Dict[str, Any]":
    """Return the folder of the environment, and whether it's there; if so it is in use from now on."""
    folder = os.path.join(_cache(), _key(requirements, wheel_hashes))
    is_ready = os.path.exists(os.path.join(folder, READY))
    if is_ready:
        use(folder)
    return {"folder": folder, "is_ready": is_ready}


def _key(requirements: "List[str]", wheel_hashes: "List[str]") -> str:
    facts = [sorted(requirements), sorted(wheel_hashes), sys.version, sys.executable, sysconfig.get_platform()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _cache() -> str:
    """Return the folder of environments, made if need be, that nobody else may write to."""
    above = os.environ.get("XDG_CACHE_HOME", "")
    if not above.startswith("/"):
        above = os.path.join(os.path.expanduser("~"), ".cache")
    path = os.path.join(above, "plasmid", "environments")
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailed("%s; set XDG_CACHE_HOME to a folder that may be written to" % error) from error
    status = os.stat(path)
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        # What lies in it is run.
        raise EnvironmentFailed("%s must belong to this user, and nobody else may write to it" % path)
    return path


def put_wheel(folder: str, name: str, offset: int, data: bytes) -> None:
    """Write a piece of a wheel that is sent."""
    wheels = _wheels_of(folder)
    try:
        os.makedirs(wheels, 0o700, exist_ok=True)
        with open(os.path.join(wheels, os.path.basename(name)), "r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(data)
    except OSError:
        # A full disk, perhaps: nothing is to stay there of what nobody will make.
        shutil.rmtree(wheels, ignore_errors=True)
        raise


def _wheels_of(folder: str) -> str:
    return "%s.wheels-%d" % (folder, os.getpid())


def make(folder: str, requirements: "List[str]") -> str:
    """Make the environment, unless another process just did, and use it; return what made it."""
    wheels = _wheels_of(folder)
    try:
        with _locked(folder + ".lock"):
            maker = "another process"
            if not os.path.exists(os.path.join(folder, READY)):
                # What another one left unfinished.
                shutil.rmtree(folder, ignore_errors=True)
                maker = _install(folder, requirements, wheels if os.path.isdir(wheels) else "")
                with open(os.path.join(folder, READY), "w") as file:
                    json.dump({"requires": requirements, "made_by": maker, "python": sys.version}, file)
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
    use(folder)
    return maker


class _locked:  # noqa: N801 - read as a verb
    """A `with` block that one process at a time is in; the lock goes with the process that holds it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = open(self._path, "w")
        told = False
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if not told:
                    log.info("waiting for another process that is making this environment")
                told = True
                time.sleep(LOCK_LOOK_S)

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _install(folder: str, requirements: "List[str]", wheels: str) -> str:
    """Make the environment with whatever can on this machine; return its name. Raises EnvironmentFailed."""
    if not _uv() and not _has_module("pip") and not _has_module("ensurepip"):
        if not wheels:
            raise EnvironmentFailed("this machine has neither uv nor pip nor ensurepip to make it with")
        return _unpack(folder, requirements, wheels)
    source = ["--no-index", "--find-links", wheels] if wheels else []
    inside = os.path.join(folder, "bin", "python")
    pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-warn-script-location"]
    failures = []
    for maker, commands in (
        (
            "uv",
            [
                [_uv(), "venv", "--quiet", "--python", sys.executable, folder],
                [_uv(), "pip", "install", "--python", inside],
            ],
        ),
        ("pip", [[sys.executable, "-m", "venv", folder], [inside] + pip]),
        ("pip without venv", [[sys.executable] + pip + ["--target", os.path.join(folder, "lib", "site-packages")]]),
    ):
        if not commands[0][0]:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for command in commands[:-1]:
                _run(command)
            _run(commands[-1] + source + requirements)
            return maker
        except EnvironmentFailed as error:
            log.info("%s couldn't make it: %s", maker, str(error).partition("\n")[0])
            failures.append("%s: %s" % (maker, error))
            if maker == "uv" and wheels:
                break  # pip may know the way to an index that uv doesn't know of; of wheels it knows no more
    shutil.rmtree(folder, ignore_errors=True)
    raise EnvironmentFailed("\n".join(failures))


def _has_module(name: str) -> bool:
    return importlib.machinery.PathFinder.find_spec(name) is not None  # of this machine: the parent isn't asked


def _unpack(folder: str, requirements: "List[str]", wheels: str) -> str:
    """Unpack wheels of pure Python, which is all that their installation comes to. Raises EnvironmentFailed."""
    names = sorted(os.listdir(wheels))
    there = {_plain_name(name.partition("-")[0]) for name in names}
    for requirement in requirements:
        wanted = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if _plain_name(wanted) not in there:
            raise EnvironmentFailed(
                "there is no wheel of %s among those that were sent: %s" % (wanted, ", ".join(names))
            )
    above = os.path.join(folder, "lib", "site-packages")
    for name in names:
        if not name.endswith("-none-any.whl"):
            text = "without pip only wheels of pure Python can be unpacked, and %s is for one platform"
            raise EnvironmentFailed(text % name)
    for name in names:
        with zipfile.ZipFile(os.path.join(wheels, name)) as file:
            file.extractall(above)
            for member in file.namelist():
                _, _, inside = member.partition(".data/purelib/")
                if inside and not member.endswith("/"):
                    os.makedirs(os.path.dirname(os.path.join(above, inside)), exist_ok=True)
                    os.replace(os.path.join(above, member), os.path.join(above, inside))
        log.info("unpacked %s", name)
    return "zipfile"


def _plain_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv() -> str:
    homes = [os.path.expanduser(path) for path in ("~/.local/bin", "~/.cargo/bin")]
    return shutil.which("uv", path=os.pathsep.join([os.environ.get("PATH", os.defpath)] + homes)) or ""


def _run(command: "List[str]") -> None:
    """Run a program, each line that it prints becoming a log record. Raises EnvironmentFailed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
    except OSError as error:
        raise EnvironmentFailed("%s can't be started: %s" % (command[0], error)) from error
    last = []  # type: List[str]
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                log.info("%s", text)
                last = last[1 - LAST_LINES :] + [text]
    status = process.wait()
    if status:
        words = " ".join(command[:4])
        raise EnvironmentFailed("`%s ...` exited with status %d\n%s" % (words, status, "\n".join(last)))


def use(folder: str) -> None:
    """Put the environment's packages before those of this machine."""
    before = list(sys.path)
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "lib", "*", "site-packages"))) + [
        os.path.join(folder, "lib", "site-packages")
    ]:
        if os.path.isdir(path) and path not in sys.path:
            site.addsitedir(path)
    added = [path for path in sys.path if path not in before]
    sys.path[:] = added + before
    importlib.invalidate_caches()
    if missing.current is not None:
        missing.current.absent.clear()
