"""What annotations mean: checks of values, made from annotations of every spelling.

Annotations come as objects (`List[int]`, `list[int]`, `int | None`) and as text (`"Optional[Path]"`, or all of them
under `from __future__ import annotations`). Text is read as syntax rather than evaluated whole, so that a module
written for 3.13 means the same on a far side with 3.6, which has neither `int | None` nor `list[int]`, and so that
nothing here imports `typing`, which would cost the far side 18 ms. An annotation that can't be checked is an error,
never a check that lets everything through.
"""

import _ast
import _collections_abc
import builtins
import sys

from plasmid.service.methods import Check, PlainCheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

    from plasmid.service.interfaces import Classes

    Namespaces = List[Dict[str, Any]]

ANNOTATION_TEXT_MAX = 4096
SHOWN_KEY_MAX = 40

SPECIAL = ("Any", "Optional", "Union", "Literal", "Annotated", "Required", "NotRequired", "ReadOnly")
BUILTIN_GENERICS = {
    "List": list,
    "Dict": dict,
    "Set": set,
    "FrozenSet": frozenset,
    "Tuple": tuple,
    "Text": str,
    "DefaultDict": dict,
    "OrderedDict": dict,
}  # type: Dict[str, type]
# Not ItemsView and the like: what can travel is one of the builtin containers.
ABSTRACT = (
    "Sequence MutableSequence Collection Iterable Container Sized Hashable Reversible Mapping MutableMapping"
    " MutableSet AbstractSet Iterator Generator AsyncIterator AsyncIterable AsyncGenerator Awaitable Coroutine"
).split()

STREAMS = (_collections_abc.Generator, _collections_abc.AsyncIterable, _collections_abc.Awaitable)

# Kinds of syntax that stand for a value, and where they keep it; those below the first are of Python 3.6 and 3.7.
CONSTANTS = {"Constant": "value", "Str": "s", "Bytes": "s", "Num": "n", "NameConstant": "value", "Ellipsis": "s"}


class Special:
    """A form of typing's that isn't a class, by its name, whichever module it came from."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Late:
    """The checks of a record's fields, made when they are first needed: a record may hold records of its own class."""

    def __init__(self, make: "Callable[[], Dict[str, Check]]") -> None:
        self._make = make
        self._made = None  # type: Optional[Dict[str, Check]]

    def __call__(self) -> "Dict[str, Check]":
        if self._made is None:
            self._made = self._make()
        return self._made


class ClassCheck(PlainCheck):
    """Allows the instances of one class that isn't a plain builtin."""

    is_compound = True

    def add_classes(self, found: "Dict[str, type]") -> None:
        if _is_declarable(self.cls):
            found["%s:%s" % (self.cls.__module__, self.cls.__qualname__)] = self.cls


class RecordCheck(ClassCheck):
    """Allows a dataclass or a NamedTuple whose fields hold what they declare: a peer fills them in as it likes."""

    def __init__(self, cls: type, fields: "Callable[[], Dict[str, Check]]") -> None:
        super().__init__(cls)
        self.fields = _Late(fields)

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        if not isinstance(value, self.cls):
            return self.mismatch(value, path)
        for name, check in self.fields().items():
            found = check.wrong(getattr(value, name, None), "%s.%s" % (path, name))
            if found:
                return found
        return None

    def add_classes(self, found: "Dict[str, type]") -> None:
        name = "%s:%s" % (self.cls.__module__, self.cls.__qualname__)
        if name not in found:
            found[name] = self.cls
            for check in self.fields().values():
                check.add_classes(found)


class KeysCheck(Check):
    """Allows the dicts that a TypedDict describes."""

    def __init__(self, cls: "Any", fields: "Callable[[], Dict[str, Check]]") -> None:
        super().__init__(cls.__name__)
        self.required = getattr(cls, "__required_keys__", cls.__annotations__ if cls.__total__ else ())
        self.fields = _Late(fields)
        self._is_visited = False

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        if not isinstance(value, dict):
            return self.mismatch(value, path)
        fields = self.fields()
        for name in self.required:
            if name not in value:
                return "%s: the key %r of %s is missing" % (path, name, self.text)
        for key, item in value.items():
            if key not in fields:
                return "%s: %s has no key %s" % (path, self.text, _shown(key))
            found = fields[key].wrong(item, "%s[%r]" % (path, key))
            if found:
                return found
        return None

    def add_classes(self, found: "Dict[str, type]") -> None:
        if not self._is_visited:
            self._is_visited = True
            for check in self.fields().values():
                check.add_classes(found)
            self._is_visited = False


class ItemsCheck(Check):
    """Allows collections of one class in which each item fits."""

    def __init__(self, cls: type, item: Check) -> None:
        tail = ", ..." if cls is tuple else ""
        super().__init__("%s[%s%s]" % (cls.__name__, item.text, tail))
        self.cls = cls
        self.item = item

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        if not isinstance(value, self.cls):
            return self.mismatch(value, path)
        items = value  # type: Any
        for number, item in enumerate(items):
            found = self.item.wrong(item, "%s[%d]" % (path, number))
            if found:
                return found
        return None

    def add_classes(self, found: "Dict[str, type]") -> None:
        self.item.add_classes(found)


class TupleCheck(Check):
    """Allows tuples of one length, each item with a check of its own."""

    def __init__(self, items: "List[Check]") -> None:
        super().__init__("tuple[%s]" % ", ".join(item.text for item in items))
        self.items = items

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        if not isinstance(value, tuple):
            return self.mismatch(value, path)
        if len(value) != len(self.items):
            return "%s: expected %s, got a tuple of %d" % (path, self.text, len(value))
        for number, item in enumerate(value):
            found = self.items[number].wrong(item, "%s[%d]" % (path, number))
            if found:
                return found
        return None

    def add_classes(self, found: "Dict[str, type]") -> None:
        for item in self.items:
            item.add_classes(found)


class MappingCheck(Check):
    """Allows mappings in which each key and each value fits."""

    def __init__(self, cls: type, key: Check, item: Check) -> None:
        super().__init__("%s[%s, %s]" % (cls.__name__, key.text, item.text))
        self.cls = cls
        self.key = key
        self.item = item

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        if not isinstance(value, self.cls):
            return self.mismatch(value, path)
        for key, item in value.items():  # type: ignore[attr-defined]
            shown = _shown(key)
            found = self.key.wrong(key, "%s, key %s" % (path, shown)) or self.item.wrong(item, "%s[%s]" % (path, shown))
            if found:
                return found
        return None

    def add_classes(self, found: "Dict[str, type]") -> None:
        self.key.add_classes(found)
        self.item.add_classes(found)


class UnionCheck(Check):
    """Allows what any of its options does."""

    def __init__(self, options: "List[Check]") -> None:
        super().__init__(" or ".join(option.text for option in options))
        self.options = options

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        inner = None
        for option in self.options:
            found = option.wrong(value, path)
            if found is None:
                return None
            # The right kind of container with a wrong item: say which item.
            if not found.startswith(path + ": expected "):
                inner = found
        return inner or self.mismatch(value, path)

    def add_classes(self, found: "Dict[str, type]") -> None:
        for option in self.options:
            option.add_classes(found)


class LiteralCheck(Check):
    """Allows exactly these values, of exactly their types: `Literal[1]` takes neither True nor 1.0."""

    def __init__(self, values: "Tuple[Any, ...]") -> None:
        super().__init__("one of " + ", ".join(ascii(value) for value in values))
        self.values = values

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        for allowed in self.values:
            if type(value) is type(allowed) and value == allowed:
                return None
        return "%s: expected %s, got %s" % (path, self.text, _shown(value))

    def add_classes(self, found: "Dict[str, type]") -> None:
        for value in self.values:
            if _is_declarable(type(value)):
                ClassCheck(type(value)).add_classes(found)


def from_annotation(annotation: "Any", namespaces: "Namespaces") -> Check:
    """Return the check that `annotation` asks for; names in text are looked up in `namespaces`, in turn.

    Raises TypeError that says why, where it can't be checked.
    """
    return Reader(namespaces).read(annotation)


def declared_classes(checks: "Iterable[Check]") -> "Optional[Classes]":
    """Return the lookup of the classes that these checks declare, by name on the wire; None if there are none."""
    found = {}  # type: Dict[str, type]
    for check in checks:
        check.add_classes(found)
    return found.get if found else None


class Reader:
    """Turns annotations into checks. One for each place where annotations stand: names mean what they mean there."""

    def __init__(self, namespaces: "Namespaces", records: "Optional[Dict[Any, Check]]" = None) -> None:
        self.namespaces = namespaces
        self.records = {} if records is None else records  # type: Dict[Any, Check]

    def read(self, annotation: "Any") -> Check:
        """Return the check for an annotation: an object, a text, or a piece of syntax."""
        if isinstance(annotation, str):
            return self.read(self._parse(annotation))
        if isinstance(annotation, _ast.AST):
            return self._read_syntax(annotation)
        if isinstance(annotation, bytes) or annotation is Ellipsis:
            raise TypeError("%r is no annotation" % (annotation,))
        if annotation is None:
            return PlainCheck(type(None))
        if type(annotation).__name__ in ("UnionType", "Union", "_Union") and getattr(annotation, "__args__", None):
            return self._subscribed(Special("Union"), list(annotation.__args__))
        for attribute in ("__forward_arg__", "__supertype__", "__value__"):
            # A name given to another annotation: ForwardRef, NewType, `type X = ...`.
            inner = None if isinstance(annotation, type) else getattr(annotation, attribute, None)
            if inner is not None:
                return self.read(inner)
        if hasattr(annotation, "__metadata__"):
            return self.read(annotation.__origin__)
        arguments = getattr(annotation, "__args__", None)
        if arguments:
            return self._subscribed(_form(annotation.__origin__), list(arguments))
        return self._bare(_form(annotation), annotation)

    def _parse(self, text: str) -> "Any":
        if len(text) > ANNOTATION_TEXT_MAX:
            raise TypeError("it is %d characters long" % len(text))
        try:
            return compile(text.strip(), "<annotation>", "eval", 0x400).body  # type: ignore[attr-defined]  # an AST
        except SyntaxError:
            raise TypeError("%r is no annotation" % text) from None

    def _read_syntax(self, node: "Any") -> Check:
        kind = type(node).__name__
        if kind == "BinOp" and type(node.op).__name__ == "BitOr":
            return self._subscribed(Special("Union"), [node.left, node.right])
        if kind == "Subscript":
            inner = node.slice.value if type(node.slice).__name__ == "Index" else node.slice  # until 3.8
            arguments = list(inner.elts) if type(inner).__name__ == "Tuple" else [inner]
            return self._subscribed(_form(self._evaluate(node.value)), arguments)
        return self.read(self._evaluate(node))

    def _evaluate(self, node: "Any") -> "Any":
        """Return the object that a piece of syntax names: a name, a dotted name, or a constant. Nothing is called."""
        kind = type(node).__name__
        if kind in CONSTANTS:
            return getattr(node, CONSTANTS[kind])
        if kind == "UnaryOp" and type(node.op).__name__ == "USub":
            return -self._evaluate(node.operand)
        if kind == "Name":
            for namespace in self.namespaces + [vars(builtins)]:
                if node.id in namespace:
                    return namespace[node.id]
            return _of_typing(node.id)
        if kind != "Attribute":
            raise TypeError("an annotation can't hold syntax of the kind %s" % kind)
        try:
            return getattr(self._evaluate(node.value), node.attr)
        except (TypeError, AttributeError):
            return _of_typing(node.attr)

    def _bare(self, form: "Any", annotation: "Any") -> Check:
        if isinstance(form, Special):
            if form.name == "Any":
                return Check("Any")
            raise TypeError("%s needs its [...]" % form.name)
        if form is object or type(form).__name__ == "TypeVar":
            return Check("Any")
        if not isinstance(form, type):
            raise TypeError("%r is not a kind of value that can be checked" % (annotation,))
        if hasattr(form, "__total__") and issubclass(form, dict):
            if form not in self.records:
                self.records[form] = KeysCheck(form, lambda: self._fields(form, form.__annotations__))
            return self.records[form]
        if getattr(form, "_is_protocol", False) is True:
            raise TypeError("%s is a Protocol, which says nothing of data" % form.__name__)
        annotations = _record_annotations(form)
        if annotations is None:
            return ClassCheck(form) if form.__module__ != "builtins" else PlainCheck(form)
        if form not in self.records:
            self.records[form] = RecordCheck(form, lambda: self._fields(form, annotations))
        return self.records[form]

    def _fields(self, cls: "Any", annotations: "Dict[str, Any]") -> "Dict[str, Check]":
        """Return the checks of a record's fields; their annotations are read where the class and its bases stand."""
        modules = [sys.modules[base.__module__].__dict__ for base in cls.__mro__ if base.__module__ in sys.modules]
        reader = Reader(modules + self.namespaces, self.records)
        checks = {}
        for name, annotation in annotations.items():
            try:
                checks[name] = reader.read(annotation)
            except TypeError as error:
                raise TypeError("field %r of %s: %s" % (name, cls.__name__, error)) from error
        return checks

    def _subscribed(self, form: "Any", arguments: "List[Any]") -> Check:
        if isinstance(form, Special):
            return self._special(form.name, arguments)
        if not isinstance(form, type):
            raise TypeError("%r is not a kind of value that can be checked" % (form,))
        if form is tuple:
            return self._tuple(arguments)
        if issubclass(form, STREAMS):
            # They stand in results only, which aren't checked: what counts is which classes the items name.
            return ItemsCheck(form, self.read(arguments[-1 if issubclass(form, _collections_abc.Awaitable) else 0]))
        if issubclass(form, _collections_abc.Mapping) and len(arguments) == 2:
            return MappingCheck(form, self.read(arguments[0]), self.read(arguments[1]))
        if issubclass(form, _collections_abc.Iterable) and len(arguments) == 1:
            return ItemsCheck(form, self.read(arguments[0]))
        # A generic class of the user's: what its parameters are bound to can't be seen in a value.
        return self._bare(form, form)

    def _special(self, name: str, arguments: "List[Any]") -> Check:
        if name == "Literal":
            return LiteralCheck(tuple(self._literal(argument) for argument in arguments))
        if name == "Union":
            return _union([self.read(argument) for argument in arguments])
        if name == "Optional":
            return _union([self.read(arguments[0]), PlainCheck(type(None))])
        if name == "Any":
            raise TypeError("Any takes no [...]")
        return self.read(arguments[0])

    def _literal(self, argument: "Any") -> "Any":
        return self._evaluate(argument) if isinstance(argument, _ast.AST) else argument

    def _tuple(self, arguments: "List[Any]") -> Check:
        if len(arguments) == 2 and _is_ellipsis(arguments[1]):
            return ItemsCheck(tuple, self.read(arguments[0]))
        if arguments == [()]:
            return TupleCheck([])
        return TupleCheck([self.read(argument) for argument in arguments])


def _union(checks: "List[Check]") -> Check:
    """Return one check for any of `checks`; None last, as people read it, and unions within unions as one."""
    options = []  # type: List[Check]
    for check in checks:
        options.extend(check.options if isinstance(check, UnionCheck) else [check])
    options.sort(key=lambda check: check.text == "None")
    return options[0] if len(options) == 1 else UnionCheck(options)


def _of_typing(name: str) -> "Any":
    """Return what a name means that was imported for type checkers only, or isn't in the typing of this Python."""
    if name in SPECIAL:
        return Special(name)
    if name in BUILTIN_GENERICS:
        return BUILTIN_GENERICS[name]
    if name in ABSTRACT:
        return getattr(_collections_abc, "Set" if name == "AbstractSet" else name)
    raise TypeError("the name %r is not defined" % name)


def _form(annotation: "Any") -> "Any":
    """Return what stands before the [...] of an annotation: a runtime class, a Special, or `annotation` itself."""
    if isinstance(annotation, Special):
        return annotation
    for module_name in ("typing", "typing_extensions"):
        # Whoever holds an object of typing's has imported it.
        module = sys.modules.get(module_name)
        for name in SPECIAL if module is not None else ():
            if getattr(module, name, None) is annotation:
                return Special(name)
    # 3.6 keeps the builtin class in __extra__, later ones in __origin__.
    for attribute in ("__extra__", "__origin__"):
        inner = getattr(annotation, attribute, None)
        if isinstance(inner, type) and inner is not annotation:
            return _form(inner)
    return annotation


def _record_annotations(cls: "Any") -> "Optional[Dict[str, Any]]":
    """Return the annotations of the fields of a dataclass or NamedTuple, None if `cls` is neither."""
    fields = getattr(cls, "__dataclass_fields__", None)
    if fields is not None:
        # Not its ClassVars and InitVars.
        return {name: field.type for name, field in fields.items() if field._field_type.name == "_FIELD"}
    names = getattr(cls, "_fields", None)
    if issubclass(cls, tuple) and names is not None:
        annotations = getattr(cls, "__annotations__", {})
        return {name: annotations[name] for name in names if name in annotations}
    return None


def _is_declarable(cls: type) -> bool:
    """Say whether `cls` is a class that a message may name: an enum or an exception of the user's."""
    if cls.__module__ == "builtins":
        return False
    # While another thread imports enum it isn't whole yet, and no class is one.
    return issubclass(cls, (BaseException, getattr(sys.modules.get("enum"), "Enum", BaseException)))


def _is_ellipsis(argument: "Any") -> bool:
    if isinstance(argument, _ast.AST):
        return type(argument).__name__ == "Ellipsis" or getattr(argument, "value", None) is Ellipsis
    return argument is Ellipsis


def _shown(value: "Any") -> str:
    """Return a key or value as errors show it. It may come from anybody: escaped and short."""
    if isinstance(value, (str, bytes)):
        return ascii(value[:SHOWN_KEY_MAX])
    # Longer ints are slow to print, and refused to be by newer Pythons.
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and value.bit_length() <= 128):
        return ascii(value)
    return "a value of type " + type(value).__name__
