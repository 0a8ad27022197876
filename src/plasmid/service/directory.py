"""The directory of a context: what its services are, for a parent that asks. `context.services()` is a call of this.

Directory is a service like any other, which the pool there starts when it is first called. It answers with plain data;
ServiceInfo and MethodInfo are made of it where it arrives.
"""

from plasmid.core.errors import ProtocolError
from plasmid.service.methods import Method, annotations_of, expose
from plasmid.service.policy import AllowParents
from plasmid.service.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Union

DOC_SIZE_MAX = 4096


class MethodInfo:
    """One method of a service.

    signature: as its def has it, without self. kind: "a plain method", "an async function", "a generator" or "an async
    generator". policies: of which all must allow a caller. name: None for dispatch(), of calls that name no method.
    """

    __slots__ = "name", "signature", "doc", "kind", "policies", "is_no_reply"

    def __init__(self, fields: "Dict[str, Any]") -> None:
        self.name = fields["name"]  # type: Optional[str]
        self.signature = fields["signature"]  # type: str
        self.doc = fields["doc"]  # type: str
        self.kind = fields["kind"]  # type: str
        self.policies = tuple(fields["policies"])  # type: Tuple[str, ...]
        self.is_no_reply = fields["is_no_reply"]  # type: bool

    def __repr__(self) -> str:
        return "<MethodInfo %s>" % self.signature


class ServiceInfo:
    """One service. names: those that it is called by, numbers too. class_name: `module.Class`. invoker: its class."""

    __slots__ = "names", "class_name", "doc", "invoker", "methods"

    def __init__(self, fields: "Dict[str, Any]") -> None:
        self.names = tuple(fields["names"])  # type: Tuple[Union[str, int], ...]
        self.class_name = fields["class_name"]  # type: str
        self.doc = fields["doc"]  # type: str
        self.invoker = fields["invoker"]  # type: str
        self.methods = tuple(map(MethodInfo, fields["methods"]))  # type: Tuple[MethodInfo, ...]

    def __repr__(self) -> str:
        return "<ServiceInfo %s with %d methods>" % (self.class_name, len(self.methods))


class Directory(Service):
    """Says which services are active in the context it runs in."""

    @expose(AllowParents())
    def describe(self) -> "List[Dict[str, Any]]":
        """Return a dict for each service, in the order in which they were started."""
        found = self.router.jobs.pool.active()
        return [described(service, names) for service, names in found if not isinstance(service, Directory)]


def services_of(context: "Any") -> "List[ServiceInfo]":
    """Return what is active in a context."""
    answer = context.call_service(Directory, "describe")
    try:
        return [ServiceInfo(fields) for fields in answer]
    except (TypeError, LookupError) as error:
        found = "it doesn't describe its services as it should: %r" % (error,)
        raise ProtocolError("services", str(context), found) from None


def described(service: Service, names: "List[Any]") -> "Dict[str, Any]":
    """Return a service as data."""
    cls = type(service)
    methods = sorted(cls.exposed.items(), key=lambda item: (item[0] is None, item[0] or ""))
    return {
        "names": names,
        "class_name": cls.name(),
        "doc": _doc(cls),
        "invoker": "%s.%s" % (type(service.invoker).__module__, type(service.invoker).__qualname__),
        "methods": [_described_method(service, name, method) for name, method in methods],
    }


def _described_method(service: Service, name: "Any", method: Method) -> "Dict[str, Any]":
    return {
        "name": name,
        "signature": signature(method),
        "doc": _doc(method.inner),
        "kind": method.kind,
        "policies": [repr(policy) for policy in method.policies(service)],
        "is_no_reply": method.is_no_reply,
    }


def signature(method: Method) -> str:
    """Return `free_bytes(path: str = '/') -> int`, with what the caller doesn't give left out."""
    import inspect

    whole = inspect.signature(method.inner)
    hidden = method.hidden
    parameters = []
    for parameter in whole.parameters.values():
        if parameter.name not in hidden:
            text = "" if parameter.annotation is parameter.empty else ": " + _annotation(parameter.annotation)
            default = "" if parameter.default is parameter.empty else "%s=%s" % (" " * bool(text), " " * bool(text))
            default += "" if parameter.default is parameter.empty else repr(parameter.default)[:80]
            stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
            if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parameters:
                parameters.append("*")
            parameters.append(stars + parameter.name + text + default)
    returned = annotations_of(method.inner).get("return", inspect.Signature.empty)
    arrow = "" if returned is inspect.Signature.empty else " -> " + _annotation(returned)
    return "%s(%s)%s" % (method.name, ", ".join(parameters), arrow)


def _annotation(annotation: "Any") -> str:
    """Return an annotation as it was written, as far as that can be told."""
    if isinstance(annotation, str):
        return annotation.strip("'\"")
    if annotation is None or annotation is type(None):
        return "None"
    plain = getattr(annotation, "__qualname__", None) if isinstance(annotation, type) else None
    has_arguments = getattr(annotation, "__args__", None)
    return plain if plain is not None and not has_arguments else str(annotation).replace("typing.", "")


def _doc(documented: "Any") -> str:
    import inspect

    return inspect.cleandoc(getattr(documented, "__doc__", None) or "")[:DOC_SIZE_MAX]
