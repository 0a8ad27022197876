"""Plasmid runs a Python program on machines that have nothing but Python, and lets the copies call each other.

Public names are imported when they're first used, so that a far side, which carries this file too, is sent only the
layers that it needs.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plasmid import commands as commands
    from plasmid import files as files
    from plasmid import service as service
    from plasmid.builtin.files import FileService as FileService
    from plasmid.builtin.preload import preload as preload
    from plasmid.builtin.push import PushFileService as PushFileService
    from plasmid.chain import Chain as Chain
    from plasmid.channel import Channel as Channel
    from plasmid.connect.many import Connected as Connected
    from plasmid.connect.restarts import Restart as Restart
    from plasmid.connect.secret import Secret as Secret
    from plasmid.connect.supervised import Supervised as Supervised
    from plasmid.core.connect_error import ConnectError as ConnectError
    from plasmid.core.errors import CallError as CallError
    from plasmid.core.errors import Cancelled as Cancelled
    from plasmid.core.errors import ContextLost as ContextLost
    from plasmid.core.errors import DeadlineExceeded as DeadlineExceeded
    from plasmid.core.errors import NotSent as NotSent
    from plasmid.core.errors import Overloaded as Overloaded
    from plasmid.core.errors import PlasmidError as PlasmidError
    from plasmid.core.errors import ProtocolError as ProtocolError
    from plasmid.core.errors import ReceiverClosed as ReceiverClosed
    from plasmid.core.errors import Refused as Refused
    from plasmid.core.errors import RemoteError as RemoteError
    from plasmid.core.errors import UnsendableValue as UnsendableValue
    from plasmid.core.errors import ValueDecodeError as ValueDecodeError
    from plasmid.fleet import Fleet as Fleet
    from plasmid.joining import join as join
    from plasmid.program import declare as declare
    from plasmid.program import main as main
    from plasmid.program import takes_econtext as takes_econtext
    from plasmid.program import takes_router as takes_router
    from plasmid.program import timeout as timeout
    from plasmid.router import Router as Router
    from plasmid.runtime.context import Call as Call
    from plasmid.runtime.context import Context as Context
    from plasmid.runtime.jobs import current_call as current_call
    from plasmid.runtime.ports import Latch as Latch
    from plasmid.runtime.ports import TimedOut as TimedOut
    from plasmid.runtime.receivers import Receiver as Receiver
    from plasmid.runtime.receivers import Sender as Sender
    from plasmid.runtime.select import Select as Select
    from plasmid.service import NO_REPLY as NO_REPLY
    from plasmid.service import AllowAny as AllowAny
    from plasmid.service import AllowContexts as AllowContexts
    from plasmid.service import AllowNames as AllowNames
    from plasmid.service import AllowParents as AllowParents
    from plasmid.service import AllowSubtree as AllowSubtree
    from plasmid.service import Pool as Pool
    from plasmid.service import Service as Service
    from plasmid.service import arg_spec as arg_spec
    from plasmid.service import expose as expose
    from plasmid.service import idempotent as idempotent
    from plasmid.service import no_reply as no_reply

__version__ = "0.1.0"


# The module's own type, not a function __getattr__: that came with Python 3.7.
class _Lazy(type(sys)):  # type: ignore[misc]
    def __getattr__(self, name: str) -> object:
        # What the machinery of imports looks for; the table itself isn't to be imported for that.
        if name[:2] == "__" and name != "__all__":
            raise AttributeError(name)
        from plasmid.public import find

        found = find(name)
        setattr(self, name, found)
        return found

    def __dir__(self) -> "list[str]":
        from plasmid.public import MODULES, SUBMODULES

        return sorted(set(vars(self)) | set(MODULES) | set(SUBMODULES))


sys.modules[__name__].__class__ = _Lazy
