"""Select: wait on many ports at once."""

from plasmid.runtime.ports import Port, guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any, Deque, Iterable, Iterator, List
else:
    from _collections import deque


class Event:
    """What a Select got: `data` from `source`."""

    __slots__ = "source", "data"

    def __init__(self, source: "Any", data: "Any") -> None:
        self.source = source
        self.data = data


class Select(Port):
    """Wait on many ports at once: receivers, calls, latches, other selects.

    oneshot: each port leaves after it has given one item. Selects may be nested, not in a circle.
    """

    def __init__(self, sources: "Iterable[Any]" = (), oneshot: bool = True) -> None:
        super().__init__()
        self._oneshot = oneshot
        self._sources = []  # type: List[Any]
        self._ready = deque()  # type: Deque[Any]
        for source in sources:
            self.add(source)

    def __len__(self) -> int:
        return len(self._sources)

    def __enter__(self) -> "Select":
        return self

    def __exit__(self, *error: "Any") -> None:
        self.close()

    def add(self, source: "Any") -> None:
        """Wait on this port as well, from now on. ValueError if it is here already, or this select is below it."""
        with guard:
            if source in self._sources:
                raise ValueError("%r is in this select already" % (source,))
            if source is self or (isinstance(source, Select) and source.reaches(self)):
                raise ValueError("a select can't wait on itself, not by way of another either")
            self._sources.append(source)
            watch(source, self)
            if source.has():
                self.source_ready(source)

    def reaches(self, other: "Select") -> bool:
        """Whether `other` is somewhere below this one. With the guard held."""
        return any(source is other or source.reaches(other) for source in self._sources if isinstance(source, Select))

    def remove(self, source: "Any") -> None:
        """Wait on this port no more. ValueError if it isn't here."""
        with guard:
            self._remove(source)

    def _remove(self, source: "Any") -> None:
        if source not in self._sources:
            raise ValueError("%r isn't in this select" % (source,))
        self._sources.remove(source)
        unwatch(source, self)

    def close(self) -> None:
        """Let go of every port."""
        with guard:
            for source in self._sources[:]:
                self._remove(source)

    def source_ready(self, source: "Any") -> None:
        """Take note that a port has something. With the guard held."""
        if source not in self._ready:
            self._ready.append(source)
        self.wake()

    def has(self) -> bool:
        """Whether any port has something."""
        while self._ready:
            if self._ready[0] in self._sources and self._ready[0].has():
                return True
            self._ready.popleft()
        return False

    def take(self) -> "Any":
        """Return (port, item as it came), the port that has waited longest first."""
        source = self._ready.popleft()
        item = source.take()
        if self._oneshot:
            self._remove(source)
        elif source.has():
            self._ready.append(source)
        return source, item

    def finish(self, item: "Any") -> "Any":
        """Return the Event; of nested selects that of the innermost."""
        source, data = item
        data = source.finish(data)
        return data if isinstance(source, Select) else Event(source, data)

    def __iter__(self) -> "Iterator[Any]":
        """Give the data of events while any port is left."""
        while self._sources:
            yield self.get().data


def watch(port: Port, watcher: "Any") -> None:
    """Have watcher.source_ready(port) called when something comes. With the guard held."""
    port.selects += (watcher,)


def unwatch(port: Port, watcher: "Any") -> None:
    """Undo watch()."""
    port.selects = tuple(each for each in port.selects if each is not watcher)
