"""What the peers' children run."""

from typing import Any


def small(key: str, n: int) -> "dict[str, Any]":
    """Return a small dict."""
    return {"key": key, "n": n, "ok": True}


def echo(data: bytes) -> bytes:
    """Return the same bytes."""
    return data
