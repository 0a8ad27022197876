"""Addresses that people have written: apart from address.py, since hardly a far side is given one."""

from plasmid.core.address import ROOT, child, text


def parse(written: str) -> bytes:
    """Return the address that text() would write as `written`; ValueError if it is none."""
    address = ROOT
    try:
        for step in written[1:].split("/") if written != "/" else ():
            address = child(address, int(step))
        # int() also takes "+1", " 1", "01" and the digits of other scripts.
        if text(address) != written:
            raise ValueError("that would be written %s" % text(address))
    except ValueError as error:
        raise ValueError("%r is no address such as / or /3/1: %s" % (written, error)) from None
    return address
