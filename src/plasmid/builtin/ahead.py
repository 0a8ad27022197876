"""What to send along with the modules of an answer: which will be wanted next, and in which order."""

from plasmid.builtin.module_policy import lineage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Optional, Set


class Ahead:
    """Names of modules that those of one answer import, in the order in which an import asks for them.

    That is depth first. Those of the packages that were asked for come before all others: of those the far machine may
    have its own. A name that was given isn't given again.
    """

    def __init__(self, own: "Set[str]") -> None:
        self._own = own
        # Stacks: what is to come next stands at the end.
        self._near: "List[str]" = []
        self._far: "List[str]" = []
        self._seen: "Set[str]" = {"plasmid"}
        self._announced: "Set[str]" = set()
        self._fresh: "List[str]" = []
        # Of these nothing further is sent: what else is said to be in them isn't there, or is what they define.
        self._ends: "Set[str]" = set()

    def __bool__(self) -> bool:
        return bool(self._near or self._far)

    def is_own(self, name: str) -> bool:
        """Whether a module is in one of the packages that were asked for."""
        return name.partition(".")[0] in self._own

    def was_given(self, name: str) -> bool:
        """Whether it needn't be followed any more."""
        return name in self._seen

    def follow(self, names: "Iterable[str]") -> None:
        """Add names, and the packages around them, to come before those that wait already."""
        near: "List[str]" = []
        far: "List[str]" = []
        for name in names:
            if name in self._seen:
                continue
            wanted = near if self.is_own(name) else far
            for each in lineage(name):
                if each not in self._seen:
                    wanted.append(each)
                    if each not in self._announced:
                        self._announced.add(each)
                        self._fresh.append(each)
        self._near += reversed(near)
        self._far += reversed(far)

    def next(self) -> "Optional[str]":
        """Return the next name, None if there is none."""
        while self._near or self._far:
            name = (self._near or self._far).pop()
            if name in self._seen:
                continue
            self._seen.add(name)
            if name.rpartition(".")[0] not in self._ends:
                return name
            self._ends.add(name)
        return None

    def end(self, name: str) -> None:
        """Give nothing of what is said to be in this module."""
        self._ends.add(name)

    def announce(self) -> "List[str]":
        """Return the names that wait and weren't announced yet."""
        fresh = [name for name in self._fresh if name not in self._seen and name.rpartition(".")[0] not in self._ends]
        self._fresh = []
        return fresh
