"""Policies: who may call a method.

A policy looks at the message alone: its source is an address that every hop has verified, so the question "is it a
parent of mine?" needs no secret and nothing that the caller says. Policies combine:
`AllowParents() | AllowNames("web1")`, `~AllowSubtree("/3")`. No I/O here; a policy is asked before the arguments are
even decoded.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Optional, Tuple, Union

    from plasmid.service.interfaces import Caller, Message

    Place = Union[bytes, str, Caller]


class Policy:
    """Base of all policies. Override is_authorized(), and __repr__() if it has parameters: refusals quote it."""

    def is_authorized(self, service: "Any", msg: "Message") -> bool:
        """Return True if the caller who sent `msg` may call `service`. Anything but True or False refuses."""
        raise NotImplementedError("%s doesn't define is_authorized(service, msg)" % type(self).__name__)

    def __and__(self, other: "Policy") -> "Policy":
        return _Combined("&", self, _checked(other))

    def __or__(self, other: "Policy") -> "Policy":
        return _Combined("|", self, _checked(other))

    def __invert__(self) -> "Policy":
        return _Inverted(self)

    def __repr__(self) -> str:
        return "%s()" % type(self).__name__


class AllowParents(Policy):
    """Allow the contexts above this one, up to the root, and this context itself."""

    def is_authorized(self, service: "Any", msg: "Message") -> bool:
        return msg.from_parent


class AllowAny(Policy):
    """Allow every context of the tree."""

    def is_authorized(self, service: "Any", msg: "Message") -> bool:
        return True


class AllowSubtree(Policy):
    """Allow one context and all below it. `root` is a Context, or an address as bytes or as text (`/3`)."""

    def __init__(self, root: "Place") -> None:
        self.address = _address(root)

    def is_authorized(self, service: "Any", msg: "Message") -> bool:
        return msg.source.startswith(self.address)

    def __repr__(self) -> str:
        return "AllowSubtree(%r)" % _text(self.address)


class AllowContexts(Policy):
    """Allow exactly these contexts, given as Context objects or addresses; not those below them."""

    def __init__(self, *contexts: "Place") -> None:
        self.addresses = frozenset(_address(context) for context in contexts)

    def is_authorized(self, service: "Any", msg: "Message") -> bool:
        return msg.source in self.addresses

    def __repr__(self) -> str:
        return "AllowContexts(%s)" % ", ".join(repr(_text(address)) for address in sorted(self.addresses))


class AllowNames(Policy):
    """Allow contexts of these names. Names are given by parents and known where the context was started."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def is_authorized(self, service: "Any", msg: "Message") -> bool:
        return msg.caller.name in self.names

    def __repr__(self) -> str:
        return "AllowNames(%s)" % ", ".join(repr(name) for name in self.names)


class _Combined(Policy):
    """Two policies joined by `&` or `|`."""

    def __init__(self, sign: str, left: Policy, right: Policy) -> None:
        self.sign = sign
        self.left = left
        self.right = right

    def is_authorized(self, service: "Any", msg: "Message") -> bool:
        is_left = _decision(self.left, service, msg)
        if is_left == (self.sign == "|"):
            return is_left
        return _decision(self.right, service, msg)

    def __repr__(self) -> str:
        return "(%r %s %r)" % (self.left, self.sign, self.right)


class _Inverted(Policy):
    """Allow exactly those whom the inner policy doesn't."""

    def __init__(self, inner: Policy) -> None:
        self.inner = inner

    def is_authorized(self, service: "Any", msg: "Message") -> bool:
        return not _decision(self.inner, service, msg)

    def __repr__(self) -> str:
        return "~%r" % self.inner


def objection(policies: "Iterable[Policy]", service: "Any", msg: "Message") -> "Optional[Policy]":
    """Return the first of `policies` that doesn't allow `msg`, None if all do. Raises what a broken policy raises."""
    for policy in policies:
        answer = policy.is_authorized(service, msg)
        if answer is not True and not _decided(policy, answer):
            return policy
    return None


def caller_text(msg: "Message") -> str:
    """Return the caller who sent `msg` as errors name it: `web1 (/2)`."""
    name = msg.caller.name
    place = _text(msg.source)
    return "%s (%s)" % (ascii(name)[1:-1][:80], place) if name and name != place else place


def _decision(policy: Policy, service: "Any", msg: "Message") -> bool:
    return _decided(policy, policy.is_authorized(service, msg))


def _decided(policy: Policy, answer: object) -> bool:
    # A coroutine, a mock or a forgotten `return` must not count as consent, nor, under ~, as the lack of it.
    if answer is True or answer is False:
        return answer is True
    raise TypeError("%r answered with %s, not with True or False" % (policy, type(answer).__name__))


def _checked(policy: "Any") -> Policy:
    if not isinstance(policy, Policy):
        hint = "; write %s()" % policy.__name__ if isinstance(policy, type) and issubclass(policy, Policy) else ""
        raise TypeError("a policy is needed here, not %r%s" % (policy, hint))
    return policy


def checked_policies(policies: "Iterable[Any]") -> "Tuple[Policy, ...]":
    """Return `policies` as a tuple. Raises TypeError where one is no Policy object."""
    return tuple(_checked(policy) for policy in policies)


def _address(place: "Place") -> bytes:
    if isinstance(place, str):
        from plasmid.core.address_text import parse

        return parse(place)
    found = place if isinstance(place, bytes) else getattr(place, "address", None)
    if not isinstance(found, bytes) or len(found) % 4:
        raise TypeError("a Context or an address is needed here, not %r" % (place,))
    return found


def _text(address: bytes) -> str:
    from plasmid.core.address import text

    return text(address)
