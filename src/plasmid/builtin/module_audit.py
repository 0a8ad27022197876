"""The audit log: what of this machine's modules and data went to which context, and what was refused.

Logger `plasmid.audit`, at level INFO, and only once that logger was given a level of its own: a program that shows
what else is INFO needn't be told of each module. Names come from children, so they are escaped.
"""

import sys

from plasmid.core.address import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

NAME_SIZE_MAX = 200


def _log() -> "Optional[Any]":
    # Where nobody imported logging, nobody listens; its import costs a relay 19 ms.
    # While another thread is at it, getLogger is missing.
    get_logger = getattr(sys.modules.get("logging"), "getLogger", None)
    log = get_logger("plasmid.audit") if get_logger is not None else None
    return log if log is not None and log.level and log.isEnabledFor(20) else None  # logging.INFO


def audit_modules(reply: "Dict[str, Any]", address: bytes) -> None:
    """Log each name of an answer to a request for modules."""
    log = _log()
    if log is None:
        return
    where = text(address)
    for name, _, path, data, code in reply["found"]:
        log.info("sent %s to %s: %d bytes of %s", ascii(name), where, len(data or b"") + len(code), ascii(path))
    for name in reply["held"]:
        log.info("let %s have %s, which was sent that way before", where, ascii(name))
    for name in reply["missing"]:
        log.info("%s has no module %s for %s", "this machine", ascii(name), where)
    for name, why in reply["refused"].items():
        log.info("refused %s to %s: %s", ascii(name)[:NAME_SIZE_MAX], where, why)


def audit_data(what: str, package: str, path: str, address: bytes, size: int = -1, why: str = "") -> None:
    """Log one answer to a request for data: so many bytes, or why not. path: "" for something without one."""
    log = _log()
    if log is None:
        return
    shown = "%s of %s" % (what, ascii(package)[:NAME_SIZE_MAX]) + (" " + ascii(path)[:NAME_SIZE_MAX] if path else "")
    if why:
        log.info("refused %s to %s: %s", shown, text(address), why)
    else:
        log.info("sent %s to %s: %d bytes", shown, text(address), size)
