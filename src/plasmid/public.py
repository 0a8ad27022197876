"""Where things are: each public name of `plasmid`, and what the runtime takes from the layers above it.

Asked by plasmid/__init__.py when a name is first used, and by Runtime.hook(). So neither imports upwards, and a far
side that never has a child or a service is never sent what those take.
"""

import sys

PUBLIC = {
    "plasmid.chain": "Chain",
    "plasmid.channel": "Channel",
    "plasmid.connect.secret": "Secret",
    "plasmid.core.connect_error": "ConnectError",
    "plasmid.core.errors": "CallError Cancelled ContextLost DeadlineExceeded NotSent Overloaded"
    " PlasmidError ProtocolError ReceiverClosed Refused RemoteError UnsendableValue ValueDecodeError",
    "plasmid.builtin.files": "FileService",
    "plasmid.builtin.push": "PushFileService",
    "plasmid.connect.many": "Connected",
    "plasmid.connect.restarts": "Restart",
    "plasmid.connect.supervised": "Supervised",
    "plasmid.fleet": "Fleet",
    "plasmid.builtin.preload": "preload",
    "plasmid.joining": "join",
    "plasmid.program": "declare main takes_econtext takes_router timeout",
    "plasmid.router": "Router",
    "plasmid.runtime.context": "Call Context",
    "plasmid.runtime.jobs": "current_call",
    "plasmid.runtime.ports": "Latch TimedOut",
    "plasmid.runtime.receivers": "Receiver Sender",
    "plasmid.runtime.select": "Select",
    "plasmid.service": "NO_REPLY AllowAny AllowContexts AllowNames AllowParents AllowSubtree Pool Service arg_spec"
    " expose idempotent no_reply",
}
SUBMODULES = "commands", "files", "service"
MODULES = {name: module for module, names in PUBLIC.items() for name in names.split()}

HOOKS = {
    "fork": "plasmid.forks:first_fork",
    "fork_by": "plasmid.forks:fork_by",
    "make_pool": "plasmid.runtime.helpers:make_pool",
    "pool": "plasmid.service.child:make_pool",
    "proxy": "plasmid.service.proxy:Proxy",
    "router": "plasmid.surroundings:surroundings",
    "shutdown": "plasmid.surroundings:shut_down",
    "detach": "plasmid.surroundings:detach",
    "on_lost": "plasmid.losses:on_lost",
    "children": "plasmid.builtin.children:handle",
    "listen": "plasmid.builtin.listening:Listener",
    "plumbing": "plasmid.runtime.receivers:Plumbing",
    "functions": "plasmid.runtime.functions:serve_on_thread",
    "handle": "plasmid.runtime.naming:handle",
    "preload": "plasmid.builtin.preload:preload",
    "get_data": "plasmid.builtin.resources:get_data",
    "reader": "plasmid.builtin.resources:Reader",
    "modules_in": "plasmid.builtin.resources:modules_in",
    "metadata": "plasmid.builtin.metadata:find",
    "classes": "plasmid.service.results:classes_of_function",
    "services": "plasmid.service.directory:services_of",
    "skip": "plasmid.chain:skip",
}


def find(name: str) -> object:
    """Return what `plasmid.NAME` is; AttributeError if it is nothing."""
    if name == "__all__":
        return [*sorted(MODULES), *SUBMODULES]
    if name in SUBMODULES:
        return imported("plasmid." + name)
    if name not in MODULES:
        raise AttributeError("module 'plasmid' has no attribute %r" % name)
    return getattr(imported(MODULES[name]), name)


def imported(name: str) -> object:
    """Return the module. As importlib.import_module() does; importing that takes a far side as long as all of these."""
    __import__(name)
    return sys.modules[name]
