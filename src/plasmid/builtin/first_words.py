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

    from plasmid.builtin.modules import ModuleServer
    from plasmid.connect.connector import Connector
    from plasmid.connect.starting import Progress, Started

PLAIN, WITH_CODE = b"\0", b"\1"  # how the configuration begins


class FirstWords:
    """What a new far side at `address` is told first. Owner: the thread that connects."""

    def __init__(self, modules: "ModuleServer", connector: "Connector", address: bytes, config: bytes) -> None:
        self._modules = modules
        self._connector = connector
        self._address = address
        self._config = config

    def start(self, progress: "Optional[Progress]", given_up: "Callable[[], str]") -> "Started":
        """Start the far side, as connect.starting.start() does."""
        try:
            started = connecting.start(self._connector, self._fit, bundle, progress, given_up)
        except BaseException:
            self._modules.forget(self._address)
            raise
        if not started.ahead_bytes:
            # It compiles what it got; what it asks for with its hello can be made ready meanwhile.
            self._modules.expect(self._address, started.magic, far_main.AFTER_HELLO, self._connector.stays_here)
        return started

    def _fit(self, magic: bytes) -> "Tuple[bytes, bytes]":
        """Return the configuration, and what follows the bundle."""
        supply = self._connector.supply
        may_have_code = self._connector.stays_here and (supply is None or supply.compiled)
        if not may_have_code or magic != bytecode.MAGIC.hex().encode():
            return PLAIN + self._config, b""
        self._modules.expect(self._address, magic, (), self._connector.stays_here)
        parts = booted_code(), values.pack(self._modules.find(far_main.AFTER_HELLO, self._address))
        return WITH_CODE + self._config, b"".join(len(part).to_bytes(4, "big") + part for part in parts)
