"""What a new far side is told first, which depends on where it is and on its interpreter.

On this machine bytes cost next to nothing, and time does: compiling what was sent is half of what a start takes. So
where the far interpreter has this one's bytecode magic number, compiled bodies follow the bundle unasked, and the
answer to the question that a far side otherwise asks along with its hello. What boots it stays the bundle, which is the
same everywhere: its sources are for tracebacks then, and for children of its own.
"""

from plasmid.boot.bundle import booted_code, bundle
from plasmid.builtin import bytecode
from plasmid.connect import starting as connecting
from plasmid.core import values
from plasmid.runtime import main as far_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Tuple

    from plasmid.connect.connector import Connector
    from plasmid.connect.process import ChildProcess
    from plasmid.connect.starting import Progress, Started
    from plasmid.router import Router

WITH_CODE, GUARDED = 1, 2  # bits of the byte with which the configuration begins


class FirstWords:
    """What a new far side at `address` is told first. Owner: the thread that connects."""

    def __init__(self, router: "Router", connector: "Connector", address: bytes, config: bytes) -> None:
        self._router = router
        self._modules = router.modules
        self._connector = connector
        self._address = address
        self._config = config

    def start(self, progress: "Optional[Progress]", given_up: "Callable[[], str]") -> "Started":
        """Start the far side, as connect.starting.start() does, or have a context clone itself."""
        if self._connector.clones:
            from plasmid.builtin import forking

            started = forking.start(self._connector, self._config, progress, given_up)
            self._modules.expect(self._address, started.magic, (), is_on_this_machine=True)
            return started
        try:
            started = connecting.start(self._connector, self._fit, bundle, progress, given_up)
        except BaseException:
            self._modules.forget(self._address)
            raise
        if not started.ahead_bytes:
            # It compiles what it got; what it asks for with its hello can be made ready meanwhile.
            self._modules.expect(self._address, started.magic, far_main.AFTER_HELLO, self._connector.stays_here)
        return started

    def _fit(self, magic: bytes, process: "ChildProcess") -> "Tuple[bytes, bytes]":
        """Return the configuration, and what follows the bundle."""
        bits = 0
        ahead = b""
        here, supply = self._connector.stays_here, self._connector.supply
        if here and magic == bytecode.MAGIC.hex().encode() and (not supply or supply.compiled):
            bits |= WITH_CODE
            self._modules.expect(self._address, magic, (), here)
            parts = booted_code(), values.pack(self._modules.find(far_main.AFTER_HELLO, self._address))
            ahead = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        if here and self._guard(process):
            bits |= GUARDED
        return bytes([bits]) + self._config, ahead

    def _guard(self, process: "ChildProcess") -> bool:
        """Have a child of the root on this machine end with the root; False where it needs a watchdog of its own."""
        if self._router.runtime.node.address:
            return False  # the watchdog of a far side leaves no grace to what it guards
        from plasmid.builtin import root_watchdog

        try:
            root_watchdog.use(self._router)
            process.guard()
        except OSError:
            return False
        return True
