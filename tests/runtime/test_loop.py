"""The loop of a context whose peer is this test: one thread, no loop's own."""

import os
import socket

from plasmid.core import address, frames, values
from plasmid.core.frames import HEADER, PROTOCOL_VERSION, Kind, Lane
from plasmid.runtime import standby
from plasmid.runtime.context import Call, Context
from plasmid.runtime.runtime import Runtime

CHILD = address.child(address.ROOT, 1)
BUFFER_SIZE = 4096


def test_who_watches_a_descriptor_is_called_though_the_leaders_wait_ends_with_the_same_look() -> None:
    runtime = Runtime(address.ROOT, "root", {})
    ours, peer = socket.socketpair()
    watched, written = os.pipe()
    calls: list[bytes] = []
    try:
        fd = ours.detach()
        runtime.loop.attach(1, fd, fd)
        peer.send(frames.encode(Kind.HELLO, 0, 0, CHILD, b"", values.pack({"versions": [PROTOCOL_VERSION]})))
        standby.watch(runtime.loop, watched, lambda: calls.append(os.read(watched, BUFFER_SIZE)))
        call = Context(runtime, CHILD).send_call("s", "service", "method", {})
        assert isinstance(call, Call)
        sent = peer.recv(BUFFER_SIZE)
        id = HEADER.unpack_from(sent, sent.index(bytes([Kind.CALL, 0, 0, len(CHILD)])) - 4)[5]
        answer = b"".join(values.encode("answer", ""))
        peer.send(frames.encode(Kind.REPLY, Lane.REPLY, id, CHILD, address.ROOT, answer))
        os.write(written, b"something")
        assert (call.result(10), calls) == ("answer", [b"something"])
    finally:
        standby.unwatch(runtime.loop, watched)
        runtime.loop.node.link_closed(1, "the test is over")
        runtime.loop.settle()
        runtime.loop.poller.close()
        for each in watched, written, runtime.loop.wake_read, runtime.loop.wake_write:
            os.close(each)
        peer.close()
