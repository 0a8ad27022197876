"""Where each public name of `plasmid` is defined. Asked by plasmid/__init__.py when a name is first used."""

from importlib import import_module

PUBLIC = {
    "plasmid.core.errors": "CallError Cancelled ConnectError ContextLost DeadlineExceeded NotSent Overloaded PlasmidError"
    " ProtocolError ReceiverClosed Refused RemoteError UnsendableValue ValueDecodeError",
    "plasmid.program": "declare main takes_econtext takes_router timeout",
    "plasmid.router": "Router",
    "plasmid.runtime.context": "Call Context",
    "plasmid.runtime.jobs": "current_call",
    "plasmid.runtime.ports": "Latch TimedOut",
    "plasmid.runtime.receivers": "Receiver Sender",
    "plasmid.runtime.select": "Select",
    "plasmid.service": "NO_REPLY AllowAny AllowContexts AllowNames AllowParents AllowSubtree Pool Service arg_spec"
    " expose no_reply",
}
MODULES = {name: module for module, names in PUBLIC.items() for name in names.split()}


def find(name: str) -> object:
    """Return what `plasmid.NAME` is; AttributeError if it is nothing."""
    if name == "__all__":
        return sorted(MODULES) + ["service"]
    if name == "service":
        return import_module("plasmid.service")
    if name not in MODULES:
        raise AttributeError("module 'plasmid' has no attribute %r" % name)
    return getattr(import_module(MODULES[name]), name)
