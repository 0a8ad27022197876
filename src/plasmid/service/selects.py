"""The selects of services: what arrives there is given to the service by a thread of its pool.

A service's own select stands in that of its pool, which no thread waits on: that something has come only queues a
request, beside the calls of the service, and a free thread takes it from there. So a message costs no thread while it
isn't there, waits its turn among services, and under a SerializedInvoker never runs beside a call.
"""

import threading

from plasmid.runtime.select import Select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

making = threading.Lock()


class ServiceSelect(Select):
    """The select of one service. add() and remove() at any time, by any thread; sources stay until they have ended."""

    def __init__(self, service: "Any") -> None:
        super().__init__(oneshot=False)
        self._service = service

    def join(self) -> None:
        """Stand in the select of the service's pool, if it is in one and this doesn't yet."""
        backlog = getattr(self._service.invoker, "backlog", None)
        if backlog is None:
            return
        pool_select = backlog.select()
        with making:
            if pool_select not in self.selects:
                pool_select.add(self)

    def is_ready(self) -> None:
        """Have a thread of the pool take a message. With the guard held: it only queues and wakes."""
        self._service.invoker.backlog.deliver()

    def take(self) -> "Any":
        """Return (source, item as it came). What a source raised is an item as well: finish() raises it."""
        source = self._ready.popleft()
        try:
            item = source.take()
        except Exception as error:  # noqa: BLE001 - whatever a source says is passed on to the service
            item = _Raised(error)
        # A call has one result, and a receiver that was closed has nothing more.
        has_ended = item is source or (isinstance(item, _Raised) and getattr(source, "closed", False))
        if has_ended and source in self._sources:
            self._remove(source)
        elif source.has():
            self._ready.append(source)
        return source, item

    def finish(self, item: "Any") -> "Any":
        """Return the Event; raise what the source raised."""
        if isinstance(item[1], _Raised):
            raise item[1].error
        return super().finish(item)


class _Raised:
    """Stands for an item that a source raised instead of giving."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class PoolSelect(Select):
    """The selects of all services of a pool."""

    def __init__(self) -> None:
        super().__init__(oneshot=False)

    def source_ready(self, source: "Any") -> None:
        """Take note that a service's select has something. With the guard held."""
        source.is_ready()
