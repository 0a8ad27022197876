"""What a context is to be supplied with beyond its connection: modules, data, and packages that are installed for it.

The options are the same for every way to a machine, and they concern who asked for the context: they don't travel with
a connector to the context that starts it. builtin/supplying.py acts on them once the context is there.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence, Union

OPTIONS = ("allow_modules", "deny_modules", "allow_data", "requires", "wheels", "prefer", "compiled")
SCRIPT = "script"


class Supply:
    """The options, checked.

    allow_modules, deny_modules, allow_data: as those of Router, for this context and those below it. requires: what
    pip would be asked to install, or "script" for the dependencies that the program's PEP 723 block names. wheels:
    files or folders of wheels, here; with them nothing is fetched from an index. prefer: "near" for a module that is
    on both sides to be the near side's. compiled: False for a slow line, over which sources alone are sent.
    """

    def __init__(
        self,
        allow_modules: "Iterable[str]" = (),
        deny_modules: "Iterable[str]" = (),
        allow_data: "Iterable[str]" = (),
        requires: "Union[str, Sequence[str]]" = (),
        wheels: "Sequence[Union[str, os.PathLike[str]]]" = (),
        prefer: str = "far",
        compiled: bool = True,
    ) -> None:
        if not isinstance(compiled, bool):
            raise TypeError("compiled must be True or False; it is %r" % (compiled,))
        if prefer not in ("far", "near"):
            raise ValueError('prefer must be "far" or "near"; it is %r' % (prefer,))
        if isinstance(requires, str) and requires != SCRIPT:
            raise TypeError('requires must be a list such as ["numpy>=2"], or "script"; it is %r' % (requires,))
        if isinstance(wheels, (str, bytes)) or hasattr(wheels, "__fspath__"):
            raise TypeError("wheels must be a list of files or folders; it is %r" % (wheels,))
        self.allow_modules = allow_modules
        self.deny_modules = deny_modules
        self.allow_data = allow_data
        self.requires = requires if isinstance(requires, str) else [check_requirement(text) for text in requires]
        self.wheels = [wheel for path in wheels for wheel in wheels_at(os.fspath(path))]
        self.prefer = prefer
        self.compiled = compiled
        if self.wheels and not requires:
            raise ValueError("wheels= says where packages come from; requires= must say which")


def supply_in(options: "Dict[str, Any]") -> "Optional[Supply]":
    """Return the Supply of the options that concern it, which are taken out; None if there are none."""
    taken = {name: options.pop(name) for name in OPTIONS if name in options}
    return Supply(**taken) if taken else None


def check_requirement(text: object) -> str:
    """Return the requirement; ValueError if pip would take it for something else."""
    if not isinstance(text, str) or not text.strip() or text.strip().startswith("-") or not text.isprintable():
        raise ValueError("requires: %r is no requirement, such as numpy>=2" % (text,))
    return text.strip()


def wheels_at(path: str) -> "List[str]":
    """Return the wheel, or the wheels in the folder. Raises ValueError if there is none."""
    if os.path.isdir(path):
        found = sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".whl"))
    else:
        found = [path] if path.endswith(".whl") and os.path.isfile(path) else []
    if not found:
        raise ValueError("wheels: there is no wheel at %r" % (path,))
    return found
