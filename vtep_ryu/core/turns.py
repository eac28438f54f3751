"""Whose turn it is: queues of which none keeps the others waiting."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """At most so many items, one queue for each that they are from. One of each queue is taken in turn.

    Where there is no room the longest queue loses its oldest item: whoever floods pushes nobody out but himself. lost
    is how many were lost so.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self.lost = 0
        self._count = 0
        self._queues: OrderedDict[Hashable, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def put(self, source: Hashable, item: T) -> None:
        """Add an item to the queue of those from this source."""
        if self._count == self._room:
            self._pop(max(self._queues, key=lambda each: len(self._queues[each])))
            self.lost += 1
        self._queues.setdefault(source, deque()).append(item)
        self._count += 1

    def take(self) -> T:
        """The oldest item of the source whose turn it is; there has to be one."""
        source = next(iter(self._queues))
        item = self._pop(source)
        if source in self._queues:
            self._queues.move_to_end(source)
        return item

    def _pop(self, source: Hashable) -> T:
        queue = self._queues[source]
        item = queue.popleft()
        self._count -= 1
        if not queue:
            del self._queues[source]
        return item
