"""What the tests of packages run on far sides, on Python 3.6 too: it reads the data and metadata of `firm_data`."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def by_pkgutil(path: str) -> "Any":
    """Return a data file, or the error for it, as pkgutil has it."""
    import pkgutil

    import firm_data  # type: ignore[import-not-found]

    try:
        return pkgutil.get_data(firm_data.__name__, path)
    except OSError as error:
        return "%s: %s" % (type(error).__name__, error)


def by_older_resources() -> "list[Any]":
    """Return what the functions of importlib.resources say that there are since 3.7."""
    from importlib import resources

    found = []  # type: list[Any]
    found.append(resources.read_text("firm_data", "greeting.txt"))
    found.append(sorted(resources.contents("firm_data")))
    found.append([resources.is_resource("firm_data", name) for name in ("deep", "greeting.txt", "nowhere")])
    with resources.open_binary("firm_data", "greeting.txt") as file:
        found.append(file.read())
    with resources.path("firm_data", "greeting.txt") as path:
        found.append(path.read_text())
    return found


def by_files() -> "list[Any]":
    """Return what importlib.resources.files() says, which there is since 3.9."""
    from importlib import resources

    root = resources.files("firm_data")
    found = []  # type: list[Any]
    found.append(sorted(entry.name for entry in root.iterdir()))
    found.append((root / "deep" / "below.txt").read_text())
    found.append([root.joinpath(name).is_dir() for name in ("deep", "greeting.txt", "nowhere")])
    # A folder without __init__.py, as a namespace package of its own.
    found.append(resources.files("firm_data.deep").joinpath("below.txt").read_bytes())
    with resources.as_file(root.joinpath("greeting.txt")) as path:
        found.append(path.read_text())
    for odd in ("deep/../../above.txt", "nowhere/at/all"):
        try:
            root.joinpath(odd).read_bytes()
        except (OSError, ValueError) as error:
            found.append("%s: %s" % (type(error).__name__, error))
    return found


def by_metadata() -> "list[Any]":
    """Return what importlib.metadata says, which there is since 3.8."""
    from importlib import metadata

    import firm_data  # pyright: ignore[reportMissingImports]

    found = []  # type: list[Any]
    found.append([metadata.version("firm_data"), metadata.version("Firm.Data"), metadata.requires("firm-data")])
    entry_points = metadata.entry_points()  # type: Any
    if hasattr(entry_points, "select"):
        entry_points = entry_points.select(group="firm.plugins")
    else:
        entry_points = entry_points["firm.plugins"]
    found.append([[point.name, point.load()] for point in entry_points])
    for name in ("rich", "nowhere_at_all"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError as error:
            found.append([isinstance(error, ImportError), str(error)])
    found.append(firm_data.__name__)
    return found


def folder_of(name: str) -> "list[str]":
    """Return the names of a package's files."""
    from importlib import resources

    __import__(name)
    return sorted(entry.name for entry in resources.files(name).iterdir())


def version() -> "list[int]":
    """Return the version of the Python here."""
    return list(sys.version_info[:2])
