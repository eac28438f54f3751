"""Who has what only one can have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable
from typing import Generic, TypeVar

from vtep_ryu.core import pipeline as p

Thing = TypeVar("Thing", bound=Hashable)


class Claims(Generic[Thing]):
    """Things that rows claim, by the rows' UUIDs.

    Who has a thing keeps it for as long as it claims it. Where nobody has it, the lowest UUID of those that claim it
    gets it; all others wait.
    """

    def __init__(self) -> None:
        self._owners: dict[Thing, str] = {}
        self._waiting: dict[Thing, set[str]] = defaultdict(set)

    def owner(self, thing: Thing) -> str | None:
        """Who has a thing."""
        return self._owners.get(thing)

    def waiting(self, thing: Thing) -> Collection[str]:
        """Who claims a thing that another one has."""
        return self._waiting.get(thing, ())

    def any_waiting(self) -> bool:
        """Whether anybody claims what another one has."""
        return bool(self._waiting)

    def update(self, gone: Iterable[tuple[Thing, str]], new: Iterable[tuple[Thing, str]]) -> set[Thing]:
        """Take in claims that ended and that began, together, so that their order does not count; return the things."""
        things = set()
        for thing, claimant in gone:
            things.add(thing)
            if self._owners.get(thing) == claimant:
                del self._owners[thing]
            else:
                self._waiting[thing].discard(claimant)
        for thing, claimant in new:
            things.add(thing)
            self._waiting[thing].add(claimant)
        for thing in things:
            if thing not in self._owners and self._waiting[thing]:
                self._give(thing, min(self._waiting[thing]))
            if not self._waiting[thing]:
                del self._waiting[thing]
        return things

    def keep(self, thing: Thing, note: int) -> bool:
        """Take in that a switch forwards a thing for the claimant with this p.note_on() its UUID: that one has it.

        Returns whether that is a change.
        """
        for claimant in self.waiting(thing):
            if p.note_on(claimant) == note:
                self._waiting[thing].add(self._owners[thing])
                self._give(thing, claimant)
                return True
        return False

    def _give(self, thing: Thing, claimant: str) -> None:
        self._waiting[thing].discard(claimant)
        self._owners[thing] = claimant
