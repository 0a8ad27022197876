"""The far side that isn't what it should be. Run by itself.

    python -S attacks.py FIRST_STAGE ATTACK REPOSITORY REPORT

It says the mark that an honest first stage says, takes the program without running it, and then does to the link
what the function of the attack's name says. What it finds out goes into the file REPORT, one JSON value a line.
"""

import json
import os
import sys
import time
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [sys.argv[3], os.path.join(sys.argv[3], "src")]

from plasmid.core import calls, frames, values
from plasmid.core.bulk import Outgoing
from plasmid.core.frames import Frame, Kind, Lane
from tests.hostile.bad_values import bombs, exceptions, hostile_names


def write_all(data: "bytes | bytearray", fd: int = 1) -> None:
    """Write every byte, waiting as long as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(size: int) -> bytes:
    """Read so many bytes, or leave at the end of the link."""
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            sys.exit()
        data += more
    return data


class Peer:
    """The link of this process, and words to say on it. address: its own; root, sibling: of the others."""

    def __init__(self, address: bytes, report_path: str) -> None:
        self.address = address
        self.sibling = (1).to_bytes(4, "big")
        self.report_path = report_path
        self._decoder = frames.FrameDecoder(b"")
        self._ids = 0

    def say(
        self,
        kind: int,
        flags: int = 0,
        id: int = 0,
        target: bytes = b"",
        body: bytes = b"",
        source: "bytes | None" = None,
    ) -> None:
        """Send one frame; source: None for the truth."""
        write_all(frames.encode(kind, flags, id, self.address if source is None else source, target, body))

    def say_hello(self, **facts: Any) -> None:
        """Say a proper hello, or one with other facts, and wait until the test says go."""
        self.say(
            Kind.HELLO, body=values.pack(dict({"versions": [frames.PROTOCOL_VERSION], "python": "3.6.0"}, **facts))
        )
        self.frame_of(Kind.CALL)

    def next_frame(self) -> Frame:
        """Return the next frame that comes; leave at the end of the link."""
        while True:
            frame = self._decoder.next_frame()
            if frame is not None:
                return frame
            data = os.read(0, 65536)
            if not data:
                sys.exit()
            self._decoder.feed(data)

    def frame_of(self, *kinds: int) -> Frame:
        """Return the next frame of one of these kinds; answers pings meanwhile."""
        while True:
            frame = self.next_frame()
            if frame.kind == Kind.PING:
                self.say(Kind.PONG)
            if frame.kind in kinds:
                return frame

    def call_frame(
        self, name: "str | int", method: "str | None", payload: Any, target: bytes = b"", flags: int = 0
    ) -> bytes:
        """Return the bytes of a service call."""
        self._ids += 1
        head = values.pack(["s", name, method])
        body = calls.CALL_HEAD.pack(0xFFFFFFFF, len(head)) + head + b"".join(values.encode(payload))
        return frames.encode(Kind.CALL, flags, self._ids, self.address, target, body)

    def call(self, name: "str | int", method: "str | None", payload: Any) -> Any:
        """Call a service and return its result, or the error's payload as a tuple."""
        write_all(self.call_frame(name, method, payload))
        while True:
            frame = self.frame_of(Kind.REPLY, Kind.ERROR)
            if frame.id != self._ids:
                continue
            body = bytes(frame.body)
            if frame.flags & frames.MORE:
                total = int.from_bytes(body[:8], "big")
                body = body[8:]
                while len(body) < total:
                    body += bytes(self.frame_of(Kind.DATA).body)
            value = values.decode(body)
            return value if frame.kind == Kind.REPLY else tuple(value)

    def report(self, value: Any) -> None:
        """Tell the test something."""
        with open(self.report_path, "a") as file:
            file.write(json.dumps(value) + "\n")

    def linger(self) -> None:
        """Behave from now on: say nothing but that this lives, and leave when told to."""
        self.report("done")
        self.frame_of(Kind.GOODBYE)


SERVICE = "tests.hostile.sibling.Watched"


# ---------------------------------------------------------------- lies


def forged_source(peer: Peer) -> None:
    peer.say_hello()
    call = bytearray(peer.call_frame(SERVICE, "note", {"what": "forged"}))
    at = frames.HEADER_SIZE
    call[at : at + 4] = peer.sibling
    write_all(call)
    peer.linger()


def source_of_the_root(peer: Peer) -> None:
    peer.say_hello()
    peer.say(Kind.CALL, source=b"", target=peer.sibling, body=b"x")
    peer.linger()


def loss_of_a_sibling(peer: Peer) -> None:
    peer.say_hello()
    peer.say(Kind.LOST, source=peer.sibling, body=b"it is gone, believe me")
    peer.linger()


def hello_in_anothers_name(peer: Peer) -> None:
    peer.say(Kind.HELLO, source=peer.sibling, body=values.pack({"versions": [frames.PROTOCOL_VERSION]}))
    peer.linger()


def claims_a_childs_address(peer: Peer) -> None:
    """Speak as a context below this one, which is allowed, and as one below the sibling, which isn't."""
    peer.say_hello()
    below = peer.address + (7).to_bytes(4, "big")
    peer.say(Kind.LOST, source=below, body=b"mine")
    peer.say(Kind.REPLY, 1, 5, peer.sibling, b"x", source=below)
    peer.report(peer.call(SERVICE, "add", {"a": 1, "b": 2}))
    peer.say(Kind.PING, source=peer.sibling + (1).to_bytes(4, "big"))
    peer.linger()


def forged_replies(peer: Peer) -> None:
    """Answer calls that were made to others, with ids that may be right: small ones, and those around each real one."""
    peer.say_hello()
    near = peer.frame_of(Kind.CALL).id
    wrong = b"".join(values.encode("forged"))
    for start in (0, near - 2000):
        for id in range(start, start + 20000):
            target = peer.sibling if id % 2 else b""
            kind = (Kind.REPLY, Kind.ERROR, Kind.CANCEL, Kind.DATA, Kind.CREDIT)[id % 5]
            if id != near:
                peer.say(kind, Lane.REPLY, id & (1 << 64) - 1, target, wrong)
    peer.linger()


# ---------------------------------------------------------------- broken links


def garbage(peer: Peer) -> None:
    peer.say_hello()
    write_all(b"\xff" * 100 + os.urandom(10000))
    peer.linger()


def garbage_first(peer: Peer) -> None:
    write_all(b"Last login: today\r\n")
    peer.linger()


def too_large(peer: Peer) -> None:
    peer.say_hello()
    write_all(frames.encode_head(Kind.CALL, 0, 1, peer.address, b"", frames.FRAME_BODY_SIZE_MAX + 1))
    peer.linger()


def unfinished_frame(peer: Peer) -> None:
    """Begin a frame and give one more byte of it now and then, for ever."""
    peer.say_hello()
    write_all(frames.encode_head(Kind.CALL, 0, 1, peer.address, b"", 100_000))
    while True:
        write_all(b"x")
        time.sleep(0.1)


def silent(peer: Peer) -> None:
    peer.say_hello()
    while os.read(0, 65536):
        pass


def hello_twice(peer: Peer) -> None:
    peer.say_hello()
    peer.say_hello()
    peer.linger()


def wrong_version(peer: Peer) -> None:
    peer.say_hello(versions=[99])
    peer.linger()


def hello_of_nonsense(peer: Peer) -> None:
    peer.say(Kind.HELLO, body=b"\xdf\xff\xff\xff\xff")
    peer.linger()


def goodbye_at_once(peer: Peer) -> None:
    peer.say(Kind.GOODBYE, body=b"\x1b[31mno")
    peer.linger()


def hello_and_goodbye(peer: Peer) -> None:
    peer.say_hello()
    peer.say(Kind.GOODBYE, body=b"\x1b[31mno")
    peer.frame_of(Kind.GOODBYE)


# ---------------------------------------------------------------- floods


def small_calls(peer: Peer) -> None:
    """Call the service as fast as can be, and never read an answer."""
    peer.say_hello()
    for _ in range(400):
        write_all(b"".join(peer.call_frame(SERVICE, "add", {"a": 1, "b": 2}) for _ in range(500)))
    peer.linger()


def refused_calls(peer: Peer) -> None:
    """Ask for what is refused, each time with a longer answer than question, and never read one."""
    peer.say_hello()
    for _ in range(400):
        write_all(b"".join(peer.call_frame("no.such.Service", None, None) for _ in range(500)))
    peer.linger()


def pings(peer: Peer) -> None:
    peer.say_hello()
    ping = frames.encode(Kind.PING, 0, 1, peer.address, b"")
    for _ in range(400):
        write_all(ping * 2000)
    peer.linger()


def large_answers(peer: Peer) -> None:
    """Ask for 60 KB at a time and never read it."""
    peer.say_hello()
    for _ in range(40):
        write_all(b"".join(peer.call_frame(SERVICE, "give", {"size": 60_000}) for _ in range(500)))
    peer.linger()


def long_answers(peer: Peer) -> None:
    """Ask for 1 MB at a time and never read it."""
    peer.say_hello()
    for _ in range(8):
        write_all(b"".join(peer.call_frame(SERVICE, "give", {"size": 1_000_000}) for _ in range(500)))
    peer.linger()


def modules_in_pieces(peer: Peer) -> None:
    """Ask for a module that one may have, 256 times over, in pieces, and never read one."""
    peer.say_hello()
    names = ["plasmid.builtin.ahead"] * 256
    for number in range(400):
        write_all(peer.call_frame("plasmid.modules", "find", {"names": names, "question": number}))
    read_nothing(peer)


def long_answers_asked_early(peer: Peer) -> None:
    """Ask for 1 MB, 500 times, before the first is answered, and read none of it."""
    peer.say_hello()
    write_all(b"".join(peer.call_frame(SERVICE, "give_when_released", {"size": 1_000_000}) for _ in range(500)))
    peer.linger()


def announced_bodies(peer: Peer) -> None:
    """Announce long calls, puts and answers, and send a byte of each."""
    peer.say_hello()
    for id in range(20_000):
        kind = (Kind.CALL, Kind.PUT, Kind.REPLY)[id % 3]
        total = (16 << 20) - id
        peer.say(kind, (0, 2, 1)[id % 3] | frames.MORE, id, b"", total.to_bytes(8, "big") + b"x")
    peer.linger()


def bodies_up_to_their_credit(peer: Peer) -> None:
    """Begin long calls, and send of each all that may be sent unasked."""
    peer.say_hello()
    chunk = bytes(frames.CHUNK_SIZE)
    for id in range(2000):
        peer.say(Kind.CALL, frames.MORE, id, b"", (16 << 20).to_bytes(8, "big") + chunk)
        for _ in range(3):
            peer.say(Kind.DATA, frames.MORE, id, b"", chunk)
    peer.linger()


def flood_of_a_sibling(peer: Peer) -> None:
    """Send the sibling what it never asked for, as fast as the link takes it: 400 MB."""
    peer.say_hello()
    chunk = bytes(200_000)
    kinds = ((Kind.DATA, 1), (Kind.REPLY, 1), (Kind.DATA, 0 | frames.MORE), (Kind.PUT, 2), (Kind.CREDIT, 3))
    for turn in range(2000):
        kind, flags = kinds[turn % len(kinds)]
        peer.say(kind, flags, turn % 7, peer.sibling, chunk)
    peer.linger()


def calls_to_a_sibling(peer: Peer) -> None:
    """Call the sibling's services and functions without end."""
    peer.say_hello()
    for _ in range(200):
        write_all(b"".join(peer.call_frame(SERVICE, "add", {"a": 1, "b": 2}, peer.sibling) for _ in range(500)))
    peer.linger()


def log_records(peer: Peer) -> None:
    """Log without end: what might be taken for another line, for a format, for an order to the terminal."""
    peer.say_hello()
    nasty = "".join(map(chr, range(256))) + "%s%n{0}\x1b]0;owned\x07\n2000-01-01 CRITICAL root: forged\u202e\udc41"
    nasty = nasty.encode("utf-8", "ignore").decode()
    records = [[30, "evil\nlogger", nasty, 0.0]] * 50 + [[30, "x", "y" * 20000, 1.0], ["30", 1, 2, 3], [], None, [30]]
    records += [[10**9, "x", "level", 0.0], [30, "x", "y", float("nan")], [True, "x", "y", 0.0]]
    flags = frames.NO_REPLY
    broken: list[Any] = [None, {"records": 7}, {"records": {}}, [], {"records": [[[[]]]]}, b"x" * 2_000]
    for _ in range(2000):
        write_all(peer.call_frame("plasmid.console", "records", {"records": records}, b"", flags))
    for payload in broken:
        write_all(peer.call_frame("plasmid.console", "records", payload))
    peer.linger()


# ---------------------------------------------------------------- asking


def modules_not_given(peer: Peer) -> None:
    """Ask for each name alone, for some in the sibling's name, and for requests that are none."""
    peer.say_hello()
    for name in hostile_names():
        answer = peer.call("plasmid.modules", "find", {"names": [name]})
        # An error's code, or which of the lists the name is in, and what else came along.
        found = answer[0] if isinstance(answer, tuple) else [entry[0] for entry in answer["found"]]
        peer.report([name, found])
    requests: list[Any] = [
        {"names": ["tests.hostile.sibling"], "for": peer.sibling},
        {"names": ["tests.hostile.sibling"], "for": b""},
        {"names": "tests.conftest"},
        {"names": [["tests.conftest"]]},
        {"names": ["tests.conftest"] * 1000},
        {"names": {"tests.conftest": 1}},
        {},
        None,
        ["tests.conftest"],
    ]
    for payload in requests:
        answer = peer.call("plasmid.modules", "find", payload)
        peer.report([str(payload)[:60], answer[0] if isinstance(answer, tuple) else [e[0] for e in answer["found"]]])
    peer.linger()


def everything_not_exposed(peer: Peer) -> None:
    """Call what a service doesn't expose, services of others, and functions."""
    peer.say_hello()
    names = ["__init__", "__class__", "__dict__", "secret", "_private", "__reduce__", "select", "on_shutdown", "name"]
    names += ["add.__globals__", "add\0", "", "dispatch", "ADD", "add ", "parents_only", "os.system", "caller"]
    for name in names:
        answer = peer.call(SERVICE, name, {})
        peer.report([name, answer[0] if isinstance(answer, tuple) else "answered"])
    others: list[tuple[str | int, str | None]] = [("os", "system"), ("builtins.print", None), (500, None)]
    for service, method in [*others, ("tests.hostile.sibling.Hidden", "add")]:
        answer = peer.call(service, method, {})
        peer.report([str(service), answer[0] if isinstance(answer, tuple) else "answered"])
    answer = peer.call("plasmid.children", "start", {"spec": {"scheme": "local"}})
    peer.report(["plasmid.children", answer[0] if isinstance(answer, tuple) else "answered"])
    head = values.pack(["f", "os", "getpid"])
    body = calls.CALL_HEAD.pack(0xFFFFFFFF, len(head)) + head + b"".join(values.encode([[], {}]))
    peer.say(Kind.CALL, 0, 999_999, b"", body)
    peer.report(["os.getpid", values.decode(peer.frame_of(Kind.ERROR, Kind.REPLY).body)[0]])
    peer.linger()


# ---------------------------------------------------------------- answers to what it is asked


def bomb_results(peer: Peer) -> None:
    """Answer each call with the next bomb."""
    peer.say_hello()
    for bomb in bombs():
        for kind in Kind.REPLY, Kind.ERROR:
            call = peer.frame_of(Kind.CALL)
            answer_long(peer, kind, call, bomb)
    peer.linger()


def answer_long(peer: Peer, kind: int, call: Frame, body: bytes) -> None:
    """Answer a call with a body of any size; credit is asked for as it should be."""
    if len(body) <= frames.CHUNK_SIZE:
        peer.say(kind, Lane.REPLY, call.id, call.source, body)
        return
    body_flow = Outgoing(kind, Lane.REPLY, call.id, peer.address, call.source, [body], len(body))
    while body_flow.sent < body_flow.size:
        while body_flow.ready:
            write_all(b"".join(body_flow.next_chunk()))
        if body_flow.sent < body_flow.size:
            body_flow.grant(int.from_bytes(peer.frame_of(Kind.CREDIT).body, "big"))


def evil_exceptions(peer: Peer) -> None:
    """Answer each call with the next of them."""
    peer.say_hello()
    for error in exceptions():
        answer_long(peer, Kind.ERROR, peer.frame_of(Kind.CALL), b"".join(values.encode(error)))
    peer.linger()


def broken_bodies(peer: Peer) -> None:
    """Answer calls with long bodies that break off, go on too long, or begin twice."""
    peer.say_hello()
    more, lane = frames.MORE, Lane.REPLY
    for total, chunks in (
        (100_000, [b"x" * 100_001]),
        (1 << 62, [b"x"]),
        (100_000, [b"x" * 50_000, b"", b"x"]),
        (400_000, [b"x" * 65_536] * 8),
        (100_000, []),
        (0, [b""]),
    ):
        call = peer.frame_of(Kind.CALL)
        peer.say(Kind.REPLY, lane | more, call.id, call.source, total.to_bytes(8, "big") + b"begin")
        for chunk in chunks:
            peer.say(Kind.DATA, lane | more, call.id, call.source, chunk)
        peer.say(Kind.REPLY, lane | more, call.id, call.source, total.to_bytes(8, "big") + b"begin")
        peer.say(Kind.DATA, lane, call.id, call.source, b"")
    peer.linger()


def never_reads(peer: Peer) -> None:
    """Say now and then that this lives, and read nothing."""
    peer.say_hello()
    read_nothing(peer)


def read_nothing(peer: Peer) -> None:
    """Do so from now on."""
    peer.report("done")
    while True:
        peer.say(Kind.PONG)
        time.sleep(0.1)


# ---------------------------------------------------------------- of one that has joined


def lending_nonsense(peer: Peer) -> None:
    """Ask the lender for what is no call."""
    peer.say_hello()
    head = values.pack(["s", SERVICE, "note"])
    payload = b"".join(values.encode({"what": "forged"}))
    whole = {"target": b"", "head": head, "payload": payload}
    for asked in (
        None,
        {},
        dict(whole, target=b"\0\0\0"),
        dict(whole, target=b"\0" * 132),
        dict(whole, target="/"),
        dict(whole, head=b""),
        dict(whole, head=values.pack(["x", SERVICE, "note"])),
        dict(whole, head=values.pack(["f", None, "note"])),
        dict(whole, head=b"\xc1" * 100),
        dict(whole, payload=None),
        dict(whole, payload="text"),
    ):
        peer.report(peer.call("plasmid.lending", "call", asked))
    peer.report(peer.call("plasmid.lending", "__init__", whole))
    peer.linger()


def borrows(peer: Peer) -> None:
    """Ask for what wasn't lent: at the lender, and by what looks like an answer of it."""
    peer.say_hello()
    head = values.pack(["s", SERVICE, "note"])
    payload = b"".join(values.encode({"what": "forged"}))
    for method in "call", "contexts":
        answer = peer.call("plasmid.lending", method, {"target": b"", "head": head, "payload": payload})
        peer.report(answer[:2])
    peer.report("done")


def lending_floods(peer: Peer) -> None:
    """Ask the lender for large answers of the root's, and read none."""
    peer.say_hello()
    asked = {
        "target": b"",
        "head": values.pack(["s", SERVICE, "give"]),
        "payload": b"".join(values.encode({"size": 1 << 17})),
    }
    for _ in range(4000):
        write_all(peer.call_frame("plasmid.lending", "call", asked))
    peer.report("done")
    while True:
        time.sleep(1)


def main() -> None:
    first_stage, attack, _, report_path = sys.argv[1:]
    nonce = first_stage.partition('(("')[2].partition('"')[0]
    write_all(("PLASMID 1 %s %d.%d.%d 00\n" % (nonce, *sys.version_info[:3])).encode())
    sizes = read_exactly(8)
    config = values.unpack(read_exactly(int.from_bytes(sizes[:4], "big"))[1:])
    read_exactly(int.from_bytes(sizes[4:], "big"))
    try:
        globals()[attack](Peer(config["address"], report_path))
    except OSError:
        pass  # the link was cut while this wrote to it


if __name__ == "__main__":
    main()
