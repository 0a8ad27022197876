"""The demo's service of the root: hashes a folder once, for all who ask.

Goes to far sides, and so runs on Python 3.6 as well.
"""

import hashlib
import os
from typing import Any, Dict, List

import plasmid


class Counted(plasmid.service.DeduplicatingInvoker):
    """Runs one call of each kind, gives its result to all who ask the same, and notes who asked."""

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.askers: List[str] = []

    def key_from_request(self, method_name: Any, kwargs: Any, msg: Any) -> Any:
        """Return what makes two requests the same."""
        self.askers.append(msg.caller.name)
        return super().key_from_request(method_name, kwargs, msg)


class Catalog(plasmid.Service):
    """Knows what is in one folder of the machine that it runs on."""

    invoker_class = Counted

    def __init__(self, router: Any, folder: str) -> None:
        super().__init__(router)
        self.folder = folder
        self.executions = 0
        self.size = 0

    @plasmid.expose(plasmid.AllowAny())
    def hashes(self) -> Dict[str, bytes]:
        """Return the hash of every Python file in the folder, by its path there."""
        self.executions += 1
        found = {}
        for path in python_files(self.folder):
            found[path] = hash_of(os.path.join(self.folder, path))
            self.size += os.path.getsize(os.path.join(self.folder, path))
        return found


def python_files(folder: str) -> List[str]:
    """Return the Python files below a folder, without those that were installed later."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("site-packages", "dist-packages", "__pycache__")]
        found += [os.path.relpath(os.path.join(place, name), folder) for name in files if name.endswith(".py")]
    return sorted(found)


def hash_of(path: str) -> bytes:
    """Return the hash of one file."""
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read(), digest_size=16).digest()
