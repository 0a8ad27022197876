"""The data files of packages on this machine: which are declared, and their bytes. Nothing is imported.

Declared is what a distribution's RECORD lists, and what lies in the folder of a package that was installed without
one (as Debian's are) or is in a zip; of all other packages, which are a program's own sources, what `allow_data=`
names. Never a link, a folder, a device or a hidden file, and of what Python makes (`__pycache__`, compiled modules)
nothing.
"""

import fnmatch
import os
from importlib.machinery import all_suffixes
from time import monotonic

from plasmid.builtin.beneath import objection_to_name, open_beneath
from plasmid.builtin.source_finder import package_path, spec_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Set, Tuple

    Patterns = Dict[str, List[str]]

FILE_SIZE_MAX = 64 << 20
FILES_COUNT_MAX = 20000
# How long a listing is good, which is read once for each file that is asked for.
LISTING_MAX_AGE_S = 2.0

INSTALLED_IN = ("site-packages", "dist-packages")


class PackageFiles:
    """Lists and reads the declared data of packages. Any thread."""

    def __init__(self) -> None:
        self._listings: "Dict[Tuple[str, str], Tuple[float, List[str]]]" = {}
        self._records: "Dict[str, Tuple[float, Set[str]]]" = {}

    def names(self, package: str, patterns: "Patterns") -> "Optional[List[str]]":
        """Return the paths of the package's declared files, with `/`, and those of its sources; None if it's not here.

        patterns: what allow_data= names, by package.
        """
        folders = self._folders(package)
        if folders is None:
            return None
        found: "Set[str]" = set()
        for folder in folders:
            found.update(self._listing(package, folder, patterns))
        return sorted(found)

    def read(self, package: str, path: str, patterns: "Patterns") -> "Optional[bytes]":
        """Return a declared file's bytes, None if it isn't there or isn't declared. OSError if it can't be read."""
        for folder in self._folders(package) or ():
            if path in self._listing(package, folder, patterns):
                archive, inside = archive_of(folder)
                if archive:
                    import zipfile  # it is slow to import, and a bare Python has none

                    with zipfile.ZipFile(archive) as file:
                        return file.read(inside + path)
                return read_beneath(folder, path)
        return None

    def _folders(self, package: str) -> "Optional[List[str]]":
        spec = spec_of(package)
        return package_path(spec) if spec is not None else None

    def _listing(self, package: str, folder: str, patterns: "Patterns") -> "List[str]":
        key = folder, repr(patterns)
        kept = self._listings.get(key)
        if kept is None or kept[0] < monotonic():
            if len(self._listings) > 1000:
                self._listings.clear()
            kept = monotonic() + LISTING_MAX_AGE_S, list(self._list(package, folder, patterns))
            self._listings[key] = kept
        return kept[1]

    def _list(self, package: str, folder: str, patterns: "Patterns") -> "Iterator[str]":
        archive, inside = archive_of(folder)
        if archive:
            import zipfile

            with zipfile.ZipFile(archive) as file:
                names = [name[len(inside) :] for name in file.namelist() if name.startswith(inside)]
            yield from filter(_is_data, names)
            return
        above = os.path.normpath(os.path.join(folder, *[".."] * len(package.split("."))))
        prefix = package.replace(".", "/") + "/"
        recorded = self._recorded(above, package.partition(".")[0])
        if recorded is not None and os.path.join(above, prefix[:-1]) == os.path.normpath(folder):
            yield from (name[len(prefix) :] for name in recorded if name.startswith(prefix) and _is_data(name))
            return
        is_installed = os.path.basename(above) in INSTALLED_IN
        for name in files_below(folder):
            if _is_data(name) and (is_installed or name.endswith(".py") or _is_named(package, name, patterns)):
                yield name

    def _recorded(self, site: str, top: str) -> "Optional[Set[str]]":
        """Return what the RECORD files in a folder of packages list of the package `top`; None if none does."""
        found: "Set[str]" = set()
        try:
            entries = sorted(entry for entry in os.listdir(site) if entry.endswith(".dist-info"))
        except OSError:
            return None
        for entry in entries:
            record = os.path.join(site, entry, "RECORD")
            try:
                stamp = os.stat(record).st_mtime
            except OSError:
                continue
            kept = self._records.get(record)
            if kept is None or kept[0] != stamp:
                with open(record, encoding="utf-8", errors="replace") as file:
                    kept = self._records[record] = stamp, set(map(_path_in_record, file))
            found.update(name for name in kept[1] if name.startswith(top + "/"))
        return found or None


def _path_in_record(line: str) -> str:
    if line.startswith('"'):
        return line[1:].partition('",')[0].replace('""', '"')
    return line.partition(",")[0]


def _is_named(package: str, name: str, patterns: "Patterns") -> bool:
    """Whether allow_data= names the file, be it for its package or for one around it."""
    full = package.split(".") + [name]
    for named, shapes in patterns.items():
        steps = named.split(".")
        inside = "/".join(full[len(steps) :])
        if full[: len(steps)] == steps and any(fnmatch.fnmatchcase(inside, shape) for shape in shapes):
            return True
    return False


def _is_data(name: str) -> bool:
    parts = name.split("/")
    compiled = [suffix for suffix in all_suffixes() if suffix != ".py"]
    return bool(parts[-1]) and not (
        any(part.startswith(".") or part == "__pycache__" for part in parts)
        or name.endswith(tuple(compiled))
        or any("\ud800" <= character <= "\udfff" or character < " " for character in name)
    )


def archive_of(folder: str) -> "Tuple[str, str]":
    """Return the zip file that a package's folder is in, and the folder's name in it; two empty texts if it isn't."""
    path = folder
    while path and not os.path.exists(path):
        path = os.path.dirname(path)
    if not os.path.isfile(path):
        return "", ""
    return path, folder[len(path) :].strip("/") + "/"


def files_below(folder: str) -> "Iterator[str]":
    """Give the files below a folder, paths with `/`; no link is followed, and at most FILES_COUNT_MAX are given."""
    count = 0
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        inside = os.path.relpath(where, folder).replace(os.sep, "/") + "/"
        for name in names:
            count += 1
            if count > FILES_COUNT_MAX:
                return
            yield name if inside == "./" else inside + name


def read_beneath(folder: str, path: str) -> bytes:
    """Return the bytes of a regular file below a folder. No link below it is followed. Raises OSError."""
    names = [os.fsencode(name) for name in path.split("/")]
    for name in names:
        objection = objection_to_name(name)
        if objection:
            raise OSError(objection)
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with open(open_beneath(at, names), "rb") as file:
            if os.fstat(file.fileno()).st_size > FILE_SIZE_MAX:
                raise OSError("it is larger than %d bytes" % FILE_SIZE_MAX)
            return file.read(FILE_SIZE_MAX)
    finally:
        os.close(at)
