"""A context that is a copy of another one: the process of `via` forks, with all that it has imported.

No program is run for it, and nothing is sent: builtin/forking.py does it, over there.
"""

from plasmid.connect.connector import Connector


class Fork(Connector):
    """Clone the context that is asked, which is the new one's parent. It must be one that Plasmid started.

    connect_timeout: also how long what that context is at may take to end. The clone has its modules and what they
    hold, and an address, a name, a link and services of its own.
    """

    scheme = "fork"
    clones = True
    has_shell = False
    PARAMETERS = ("name", "connect_timeout")

    def __init__(self, name: str = "fork", connect_timeout: float = 30.0) -> None:
        Connector.__init__(self, name, None, connect_timeout)

    @property
    def target(self) -> str:
        return "fork"

    @property
    def program(self) -> str:
        return "the clone"
