"""What has changed and is not applied yet; of very many remote addresses a part at a time."""

from __future__ import annotations

from collections.abc import Set

from vtep_ryu.core.units import RemoteUnit, StationUnit, Unit


class Backlog:
    """Units that wait. A remote address does not keep stations waiting for more than a part of those before it.

    What a turn costs does not grow with what is left for the next: what waits is not looked through.
    """

    def __init__(self) -> None:
        self._remotes: set[Unit] = set()
        self._others: set[Unit] = set()

    def __bool__(self) -> bool:
        return bool(self._remotes or self._others)

    def touch(self, units: Set[Unit]) -> None:
        """These have changed, perhaps once more."""
        remotes = {unit for unit in units if type(unit) is RemoteUnit}
        self._remotes |= remotes
        self._others |= units - remotes

    def take(self, most: int) -> set[Unit]:
        """What is to be dealt with at once: everything, but of remote addresses no more than so many, and stations.

        Nothing that a remote address or a station owns passes to another unit, unless other kinds change with it.
        """
        part, self._others = self._others, set()
        if len(self._remotes) <= most or not {StationUnit}.issuperset(map(type, part)):
            part |= self._remotes
            self._remotes = set()
        else:
            part.update([self._remotes.pop() for _ in range(most)])
        return part
