"""What the tests of environments run on far sides."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def thing() -> "list[Any]":
    """Return what the package `plasmid_thing` says, and where it is."""
    import plasmid_thing  # type: ignore[import-not-found]

    return [plasmid_thing.price, plasmid_thing.__file__]
