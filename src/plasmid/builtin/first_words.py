"""What a new far side is told first, which depends on where it is and on its interpreter.

Compiling what was sent is half of what a start takes. So where the far side is on this machine, and its interpreter has
this one's bytecode magic number, it finds the code in memory that is shared (see shared_code.py), and beside it the
answer to the question that a far side otherwise asks along with its hello. What boots it stays the bundle, which is the
same everywhere: its sources are for tracebacks then, and for children of its own.
"""

import os

from plasmid.boot.bundle import booted_code, bundle
from plasmid.builtin import bytecode
from plasmid.connect import starting as connecting
from plasmid.connect.process import child_grace_s
from plasmid.core import values
from plasmid.runtime import main as far_main
from plasmid.runtime import watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from plasmid.connect.connector import Connector
    from plasmid.connect.process import ChildProcess
    from plasmid.connect.starting import Progress, Started
    from plasmid.router import Router

# Bits of the byte with which the configuration begins: a descriptor of shared code is told behind it, to be closed; the
# parent's watchdog ends this far side; what is there is for its interpreter, to be read before. Those above: the grace
# that it has when its link ends, in tenths of a second.
SHARED, GUARDED, USABLE = 1, 2, 4


class FirstWords:
    """What a new far side at `address` is told first. Owner: the thread that connects."""

    def __init__(self, router: "Router", connector: "Connector", address: bytes, config: bytes) -> None:
        self._router = router
        self._modules = router.modules
        self._connector = connector
        self._address = address
        self._config = config
        supply = connector.supply
        may_share = connector.stays_here and (supply is None or supply.compiled)
        self._shared = router.shared_code if may_share else None
        self._shared_fd = -1
        self._has_code = False

    def start(self, progress: "Optional[Progress]", given_up: "Callable[[], str]") -> "Started":
        """Start the far side, as connect.starting.start() does, or have a context clone itself."""
        if self._connector.clones:
            from plasmid.builtin import forking

            started = forking.start(self._connector, self._with_head(0), progress, given_up)
            self._modules.expect(self._address, started.magic, (), is_on_this_machine=True)
            return started
        if self._shared is not None:
            self._shared_fd = self._shared.lend()
        try:
            started = connecting.start(
                self._connector, self._fit, self._pack, progress, given_up, self._shared_fd, self._guard
            )
        except BaseException:
            self._modules.forget(self._address)
            raise
        finally:
            if self._shared_fd >= 0:
                os.close(self._shared_fd)
        if not self._has_code:
            # It compiles what it got; what it asks for with its hello can be made ready meanwhile.
            self._modules.expect(self._address, started.magic, far_main.AFTER_HELLO, self._connector.stays_here)
        return started

    def _pack(self) -> bytes:
        """Return the bundle. While the interpreter over there starts, so what takes long is done here."""
        if self._shared_fd >= 0:
            booted_code()
        return bundle()

    def _fit(self, magic: bytes, process: "ChildProcess") -> bytes:
        """Return the configuration."""
        bits = 0
        shared = b""
        if self._shared is not None and self._shared_fd >= 0:
            bits |= SHARED
            shared = self._shared_fd.to_bytes(4, "big") + self._shared.token
            if magic == bytecode.MAGIC.hex().encode():
                self._modules.expect(self._address, magic, (), is_on_this_machine=True)
                # Found for each, since it counts as sent; packed once, as it is the same for all.
                answer = self._modules.find(far_main.AFTER_HELLO, self._address)
                self._has_code = self._shared.is_filled or self._shared.fill(booted_code(), values.pack(answer))
                bits |= USABLE if self._has_code else 0
        if self._connector.stays_here and process.is_guarded:
            bits |= GUARDED
        return self._with_head(bits, shared)

    def _with_head(self, bits: int, shared: bytes = b"") -> bytes:
        return bytes([bits | round(child_grace_s() * 10) << 3]) + shared + self._config

    def _guard(self, process: "ChildProcess") -> None:
        """Have what was started here end with this process, if it can't be left to a watchdog of its own.

        One that was stopped would stay otherwise. A context that isn't guarded has its own watchdog.
        """
        connector = self._connector
        # The watchdog of a far side leaves no grace to what it guards; a program on the way to a context needs none.
        if not connector.may_be_killed or (connector.stays_here and self._router.runtime.node.address):
            return
        try:
            if watchdog.pid <= 0:
                from plasmid.builtin import root_watchdog

                root_watchdog.use(self._router)
            process.guard()
        except OSError:
            pass
