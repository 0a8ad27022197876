"""The few lines given to `python3 -S -c` on the far side: they say what they run on, then take the program in.

Order of what they do: say the mark (MARK_START, the nonce, the version, the bytecode magic number) on descriptor 1,
then read two big-endian u32 sizes, the configuration and the bundle from descriptor 0, and run the bundle's loader
(see `bundle.py`). Nothing secret is in the text: it stands in the process list of both machines.

The text is one line, without quotes ' or ! or backslashes, so that every shell (sh, csh, fish) takes it between
single quotes as it is. It must parse on Python 2 too: that is how a Python that is too old gets named in the error.
"""

# What the far side's first line starts with; the nonce follows. 1 is the version of the boot, not of the link.
MARK_START = "PLASMID 1 "

# Kept short: ssh sends it in one packet with the command, and every byte of it counts as sent at boot.
#  - '' leaves sys.path before anything is imported: the far side's directory could hold an `os.py` or a `zlib.py`.
#  - The mark's start and the nonce stand apart in the text, so that an echo of the command isn't taken for the mark.
#  - A buffer of one byte makes read(n) go on until n bytes or the end have come, and never take one byte more:
#    what follows on descriptor 0 belongs to the link. (Python itself repeats a read that a signal broke, from 3.5.)
#  - stdin may arrive non-blocking: shells and ssh servers share descriptors with programs that set it so.
#  - _frozen_importlib_external has the magic number without an import of importlib.util (12 ms).
TEXT = (
    "import sys;sys.path[:]=filter(None,sys.path);sys.dont_write_bytecode=1;import os,io,zlib;v=sys.version_info;"
    'os.write(1,("PLASMID 1 %%s %%d.%%d.%%d %%s%%c"%%(("%s",)+v[:3]+(v>=(3,6)and '
    'sys.modules["_frozen_importlib_external"].MAGIC_NUMBER.hex()or 0,10))).encode());'
    "v<(3,6)and sys.exit();os.set_blocking(0,1);"
    'r=io.BufferedReader(open(0,"rb",0,closefd=0),1).read;'
    'n=lambda b:int.from_bytes(b[:4],"big");'
    "c,b=map(r,(n(r(4)),n(r(4))));s=zlib.decompress(b);exec(s[4:4+n(s)])"
)


def first_stage(nonce: str) -> str:
    """Return the text for `python3 -S -c`. nonce: letters and digits by which its first line is recognised."""
    if not nonce.isalnum():
        raise ValueError("the nonce of a first stage must be letters and digits only; it is %r" % nonce)
    return TEXT % nonce
