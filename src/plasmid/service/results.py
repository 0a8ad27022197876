"""Results: which classes the result of a call may name, beside those that are declared for all calls."""

from plasmid.service.methods import PLAIN_TYPES, annotations_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from plasmid.service.interfaces import Classes


def classes_of_function(function: "Any") -> "Optional[Classes]":
    """Return the lookup of the classes that the result of calling this function, or class, may name."""
    if isinstance(function, type):
        from plasmid.service.checks import declared_classes, from_annotation

        return _with_declared(declared_classes([from_annotation(function, [])]))
    return classes_of_result(function, [getattr(function, "__globals__", {})])


def classes_of_result(function: "Any", namespaces: "List[Dict[str, Any]]") -> "Optional[Classes]":
    """Return the lookup of the classes that results of `function` may name: see Method.result_classes()."""
    annotation = annotations_of(function).get("return")
    if annotation is None or (isinstance(annotation, type) and annotation in PLAIN_TYPES):
        return None
    from plasmid.service.checks import declared_classes, from_annotation

    try:
        return _with_declared(declared_classes([from_annotation(annotation, namespaces)]))
    except TypeError:
        # Results aren't checked, only read; an annotation that can't be a check declares nothing.
        return None


def _with_declared(classes: "Optional[Classes]") -> "Optional[Classes]":
    if classes is None:
        return None
    from plasmid.runtime.context import declared

    found = classes
    return lambda name: found(name) or declared.get(name)
