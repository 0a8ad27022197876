"""What a hostile child sends that looks like a name, a value or an error: lists for attacks.py and its tests."""

from typing import Any


def hostile_names() -> "list[str]":
    """Return names of modules that this context was never given."""
    names = ["os", "sys", "pytest", "_pytest", "hypothesis", "site", "sitecustomize", "usercustomize", "builtins"]
    names += ["tests", "tests.conftest", "tests.hostile", "tests.hostile.sibling", "tests.hostile.attacks", "__main__"]
    names += ["", ".", "..", "...", "a..b", ".os", "os.", "os.path", "../../etc/passwd", "/etc/passwd", "etc/passwd"]
    names += ["tests/conftest", "tests\\conftest", "tests.conftest\0", "\0", "tests.conftest.py", "conftest", "setup"]
    names += ["plasmid/../tests/conftest", "plasmid..tests", "plasmid.\0", "plasmid.core.errors.py", "plasmid.."]
    names += [
        "plasmid.__main__.x",
        "plasmid.core/errors",
        "plasmid.core\\errors",
        "plasmid.no_such",
        "PLASMID",
        "Tests",
    ]
    names += ["tests\u200b", "t\u0435sts", "te\u0301sts", "\u202etests", "\udc80".encode("utf-8", "replace").decode()]
    names += [
        "x" * 300,
        "a." * 200 + "a",
        "%s",
        "{}",
        "tests;import os",
        "tests import os",
        "tests\n",
        " tests",
        "tests ",
    ]
    names += [
        "importlib",
        "importlib.util",
        "encodings.idna",
        "antigravity",
        "this",
        "lib2to3",
        "test.support",
        "idlelib",
    ]
    names += ["msgpack", "msgpack._cmsgpack", "rich", "click", "pip", "setuptools", "_distutils_hack", "ruff", "mypy"]
    roots = ["tests", "os", "json", "msgpack", "plasmid_secret", "conftest"]
    names += [
        root + tail for root in roots for tail in (".__init__", ".__main__", ".x.y", "..x", ".__pycache__.x", "/x")
    ]
    names += ["".join(chr(code) for code in (start, start + 1, start + 2)) for start in range(250)]
    # Everything that might be taken for a dot, and everything that might be cut off.
    characters = [chr(code) for code in (*range(128), 0xA0, 0xB7, 0x2024, 0x3002, 0xFF0E, 0xFF61, 0x200D, 0xFEFF)]
    for form in "tests%sconftest", "tests.conftest%s", "%stests.conftest", "tests.%s.conftest", "plasmid.core%serrors_":
        names += [form % character for character in characters]
    return list(dict.fromkeys(names))


def bombs() -> "list[bytes]":
    """Return payloads that are no values, or none that should be made."""

    def payload(pack: bytes, blobs: bytes = b"") -> bytes:
        return len(pack).to_bytes(4, "big") + pack + blobs

    packs = [b"", b"\xc1", b"\x91" * 100_000 + b"\xc0", b"\x81\xa1a" * 100_000 + b"\xc0", b"\xdd\xff\xff\xff\xff"]
    packs += [b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01"]
    packs += [b"\xdd\x00\x10\x00\x00" + b"\x90" * (1 << 20), b"\xa1\xff", b"\xa3\xed\xb2\x80", b"\x81\x90\xc0"]
    packs += [b"\x81\x80\xc0", b"\x82\xa1a\x01\xa1a\x02", b"\xc0\xc0", b"\x92\xc0", b"\xd9", b"\xcf\x00"]
    packs += [bytes((0xC7, 9, code)) + b"\xff" * 9 for code in range(0, 128, 3)]
    packs += [b"\xdd\x00\x07\x00\x00" + b"\xd4\x01\xc0" * 0x70000]
    out = [payload(pack) for pack in packs]
    out += [b"", b"\0", b"\xff\xff\xff\xff", b"\x00\x00\x00\x05\xc0", payload(b"\xc0", b"spare"), payload(b"\xc0") * 2]
    return out


# Names of classes that an error from afar may give for its own.
ERROR_TYPES = [
    "builtins:SystemExit",
    "builtins:KeyboardInterrupt",
    "builtins:GeneratorExit",
    "builtins:BaseException",
    "builtins:eval",
    "builtins:exec",
    "builtins:open",
    "builtins:type",
    "builtins:object",
    "os:system",
    "os:_exit",
    "builtins:BaseExceptionGroup",
    "builtins:ExceptionGroup",
    "builtins:StopIteration",
    "builtins:MemoryError",
    "builtins:UnicodeDecodeError",
    "builtins:OSError",
    "subprocess:Popen",
    "plasmid.core.errors:NotSent",
    "plasmid.core.connect_error:ConnectError",
    "plasmid.core.errors:RemoteError",
    "asyncio:CancelledError",
    ":",
    "x",
    "",
    "tests.hostile.sibling:Tripwire",
    "a" * 100_000,
    "builtins:\0",
    "builtins:print",
    "builtins.x:SystemExit",
]


def exceptions() -> "list[Any]":
    """Return the payloads of errors that should end more than a call."""
    out: list[Any] = [["Remote", "text", None, name, [1], "traceback"] for name in ERROR_TYPES]
    out += [
        [
            "Remote",
            "\x1b[31m" + "t" * 1_000_000,
            None,
            "builtins:ValueError",
            ["\n\x1b[0m" * 1000] * 100,
            "x" * 1_000_000,
        ]
    ]
    out += [
        ["Refused", "x", True, "", [], ""],
        ["ConnectError", "x", None, "", [], ""],
        ["SystemExit", "x", None, "", [], ""],
    ]
    out += [
        [],
        None,
        {},
        ["Remote"],
        ["Remote", 1, 2, 3, 4, 5],
        [["Remote"]] * 6,
        "Remote",
        ["Remote", "", None, "", {}, ""],
    ]
    return out
