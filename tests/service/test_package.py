"""The page's names, what importing them costs a far side, and the whole of it on the oldest Python."""

import subprocess
import sys
from pathlib import Path

import pytest

import plasmid.service
from tests.real.interpreters import interpreter

SOURCES = Path(plasmid.service.__file__).parent.parent.parent

NAMES = (
    "Service Pool Invoker SerializedInvoker DeduplicatingInvoker Activator Policy AllowParents AllowAny AllowSubtree"
    " AllowContexts AllowNames arg_spec expose idempotent no_reply NO_REPLY call Proxy"
    " Reply Stream StreamEnded stream"
)


def run(python: str, code: str) -> str:
    """Return what the code prints there, with our sources on the path and little else."""
    text = f"import sys; sys.path.insert(0, {str(SOURCES)!r})\n{code}"
    result = subprocess.run([python, "-I", "-B", "-c", text], capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_the_names_of_the_page_are_there() -> None:
    assert sorted(plasmid.service.__all__) == sorted(NAMES.split())
    assert [name for name in NAMES.split() if getattr(plasmid.service, name, None) is None] == []
    assert set(NAMES.split()) <= set(dir(plasmid.service))
    with pytest.raises(AttributeError) as error:
        plasmid.service.nothing  # type: ignore[attr-defined]
    assert str(error.value) == "module 'plasmid.service' has no attribute 'nothing'"


SERVE = """
import sys
import plasmid.runtime.jobs

before = set(sys.modules)
from plasmid.service import Pool, Service, AllowParents, expose

class Disk(Service):
    @expose(AllowParents())
    def free(self, path: str = "/", depth: int = 0) -> int:
        return 7

Disk.exposed["free"].check(None, {"path": "/", "depth": 1})
slow = "typing enum re json logging inspect functools collections dataclasses contextlib queue traceback ast".split()
others = "checks deduplicate proxy interfaces coroutines outflow streams selects replies directory".split()
slow += ["plasmid.service." + name for name in others] + ["asyncio", "plasmid.runtime.receivers"]
print(sorted(set(slow) & (set(sys.modules) - before)))
"""


def test_serving_plain_methods_loads_nothing_that_is_slow_to_import() -> None:
    assert run(sys.executable, SERVE) == "[]\n"


OLD = """
import threading
from typing import Dict, List, NamedTuple, Optional, Union
from plasmid.core import values
from plasmid.service import *

Point = NamedTuple("Point", [("x", int)])

class Job:
    what, source, deadline, no_reply, cancelled, from_parent, done, size = "s", b"", None, False, False, True, False, 1
    def __init__(self, name, method, **args):
        self.name, self.method, self.given, self.payload = name, method, args, repr(args).encode()
        self.ended = threading.Event()
    caller = type("Caller", (), {"name": "root", "address": b""})
    def args(self, classes=None):
        return self.given
    def reply(self, value):
        self.answer = value
        self.ended.set()
    def reply_encoded(self, parts):
        self.reply(values.decode(b"".join(parts)))
    fail = reply
    def running(self):
        return self
    def __enter__(self):
        from plasmid.runtime.jobs import job_var
        self.token = job_var.set(self)
    def __exit__(self, *error):
        from plasmid.runtime.jobs import job_var
        job_var.reset(self.token)
    def wait(self):
        assert self.ended.wait(10)
        return str(self.answer)

class Router:
    class jobs:
        pool = None
        defer = staticmethod(lambda fn, *args: threading.Thread(target=fn, args=args).start())
        park = staticmethod(lambda parking: parking.wait(None))
        hold = staticmethod(lambda help: help(True))
        release = staticmethod(lambda: None)

    def myself(self):
        return Job.caller

class Disk(Service):
    invoker_class = DeduplicatingInvoker

    @expose(AllowParents())
    def free(
        self, paths: "list[str] | None" = None, sizes: Optional[List[int]] = None, at: Dict[str, "Point"] = {}
    ) -> int:
        return len(paths or ())

    @expose(AllowParents())
    def either(self, value: Union[int, str], more: "Literal[1, 2]" = 1) -> str:
        return self.caller.name

router = Router()
with Pool(router, [Disk(router)], size=2) as pool:
    jobs = [
        Job("__main__.Disk", "free", paths=["a"], at={"a": Point(1)}),
        Job("__main__.Disk", "free", paths=["a", 1]),
        Job("__main__.Disk", "free", sizes=[True]),
        Job("__main__.Disk", "free", at={"a": Point("1")}),
        Job("__main__.Disk", "either", value="x"),
        Job("__main__.Disk", "either", value=1.5),
        Job("__main__.Disk", "either", value=1, more=3),
        Job("not_there.Disk", "free"),
    ]
    for job in jobs:
        pool.submit(job)
    print("\\n".join(job.wait() for job in jobs))
"""


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.9", "3.13"])
def test_the_framework_runs_on_every_python_that_a_far_side_may_have(version: str) -> None:
    assert run(interpreter(version), OLD).splitlines() == [
        "1",
        "Disk.free: argument 'paths'[1]: expected str, got int",
        "Disk.free: argument 'sizes'[0]: expected int, got bool",
        "Disk.free: argument 'at'['a'].x: expected int, got str",
        "root",
        "Disk.either: argument 'value': expected int or str, got float",
        "Disk.either: argument 'more': expected one of 1, 2, got 3",
        "not_there.Disk: importing not_there failed: No module named 'not_there'",
    ]
