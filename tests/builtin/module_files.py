"""Modules written into a temporary folder, and what the module server says of them."""

import sys
import zlib
from pathlib import Path
from typing import Any


class Files:
    """A folder on sys.path to write modules into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **sources: str) -> None:
        """Write modules: `pkg__mod` is pkg/mod.py, `pkg__` is pkg/__init__.py."""
        for name, source in sources.items():
            path = self.folder / (name.replace("__", "/") + (".py" if not name.endswith("__") else "__init__.py"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        # FileFinder looks at a folder's time of change, which may not have moved on since the last write.
        for folder in [folder for folder in sys.path_importer_cache if folder.startswith(str(self.folder))]:
            sys.path_importer_cache.pop(folder)


def sent(reply: "dict[str, Any]") -> "dict[str, str | None]":
    """Return what a reply brings, as {name: source}."""
    return {name: data and zlib.decompress(data).decode() for name, _, _, data, _ in reply["found"]}
