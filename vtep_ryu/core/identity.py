"""The numbers that logical switches and groups go by in the pipeline: the same after a restart, and never shared."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.claims import Claims
from vtep_ryu.core.model import LogicalSwitch


class Numbers:
    """Numbers below size for keys.

    A key asks for the number that its text hashes to and takes the next free one where that is taken, so that a key has
    nearly always the same number, whatever else is there.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._numbers: dict[Hashable, int] = {}
        self._keys: dict[int, Hashable] = {}
        self._names: dict[Hashable, tuple[Hashable, ...]] = {}

    def claim(self, key: Hashable) -> int:
        """The key's number, from now until it is released."""
        if key in self._numbers:
            return self._numbers[key]
        number = crc32(repr(key).encode()) % self._size
        while number in self._keys:
            number = (number + 1) % self._size
        self._numbers[key], self._keys[number] = number, key
        return number

    def release(self, key: Hashable) -> None:
        """Give the key's number back, if it has one."""
        if key in self._numbers:
            del self._keys[self._numbers.pop(key)]

    def claim_exactly(self, owner: Hashable, names: Sequence[Hashable]) -> list[int]:
        """The numbers for an owner's names, from now on; those for the names that it had before are given back."""
        for name in self._names.pop(owner, ()):
            if name not in names:
                self.release((owner, name))
        if names:
            self._names[owner] = tuple(names)
        return [self.claim((owner, name)) for name in names]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a logical switch goes by: its id in the pipeline, and its VNI where it has one of its own."""

    id: int
    vni: int | None


class Identities:
    """The identities of the logical switches that are bound here.

    Of those that ask for one VNI, the one that has it keeps it while it asks for it. Where none has it, the one
    with the lowest UUID does.
    """

    def __init__(self, honour_vni_0: bool = False) -> None:
        self._honour_vni_0 = honour_vni_0
        self._rows: dict[str, LogicalSwitch] = {}
        self._identities: dict[str, Identity] = {}
        self._by_id: dict[int, str] = {}
        self._claims = Claims[int]()
        self._refused: set[str] = set()
        self._unkeyed = Numbers(p.UNKEYED)

    def of(self, logical_switch: str) -> Identity | None:
        """The identity of a logical switch, or None where it is not bound here."""
        return self._identities.get(logical_switch)

    def logical_switch(self, id: int) -> str | None:
        """The logical switch that goes by this id."""
        return self._by_id.get(id)

    def any_refused(self) -> bool:
        """Whether any logical switch that is bound here is refused its tunnel key."""
        return bool(self._refused)

    def is_refused(self, logical_switch: str) -> bool:
        """Whether a logical switch has a tunnel key that it cannot go by: no VNI, or another's.

        0 is none at all unless it is honoured.
        """
        row, identity = self._rows.get(logical_switch), self._identities.get(logical_switch)
        if row is None or identity is None or row.tunnel_key is None:
            return False
        return identity.vni is None and (row.tunnel_key != 0 or self._honour_vni_0)

    def owner(self, row: LogicalSwitch) -> LogicalSwitch | None:
        """The logical switch that has the VNI that a row asks for."""
        vni = self._key(row)
        owner = self._claims.owner(vni) if vni is not None else None
        return self._rows[owner] if owner is not None else None

    def update(self, rows: Mapping[str, LogicalSwitch | None]) -> set[str]:
        """Take in bound logical switches' rows that changed together, with None where one is not bound any more.

        Returns the logical switches whose identity changed: also others, where a VNI passes from one to another.
        """
        gone, new = [], []
        for switch, row in rows.items():
            before, now = self._key(self._rows.get(switch)), self._key(row)
            if row is None:
                self._rows.pop(switch, None)
            else:
                self._rows[switch] = row
            if before is not None and before != now:
                gone.append((before, switch))
            if now is not None and before != now:
                new.append((now, switch))
        return self._identify_again({*rows, *self._claimants(self._claims.update(gone, new))})

    def keep(self, forwarding: Iterable[tuple[int, int]]) -> set[str]:
        """Take in which logical switches a switch forwards for: their ids, each with p.note_on() the UUID.

        They keep their VNI if they still ask for it. Returns the logical switches whose identity changed.
        """
        return self._identify_again(self._claimants({vni for vni, note in forwarding if self._claims.keep(vni, note)}))

    def _key(self, row: LogicalSwitch | None) -> int | None:
        return None if row is None else usable_key(row.tunnel_key, self._honour_vni_0)

    def _claimants(self, vnis: Collection[int]) -> set[str]:
        owners = {owner for vni in vnis if (owner := self._claims.owner(vni)) is not None}
        return owners.union(*map(self._claims.waiting, vnis))

    def _identify_again(self, affected: set[str]) -> set[str]:
        found = {switch: self._identify(switch) for switch in affected}
        changed = {switch for switch, identity in found.items() if identity != self._identities.get(switch)}
        self._replace({switch: found[switch] for switch in changed})
        self._refused -= affected
        self._refused.update(filter(self.is_refused, affected))
        return changed

    def _identify(self, logical_switch: str) -> Identity | None:
        row = self._rows.get(logical_switch)
        if row is None:
            self._unkeyed.release(logical_switch)
            return None
        vni = self._key(row)
        if vni is not None and self._claims.owner(vni) == logical_switch:
            self._unkeyed.release(logical_switch)
            return Identity(vni, vni)
        return Identity(p.UNKEYED | self._unkeyed.claim(logical_switch), None)

    def _replace(self, changed: dict[str, Identity | None]) -> None:
        for switch in changed:
            old = self._identities.pop(switch, None)
            if old is not None:
                del self._by_id[old.id]
        for switch, identity in changed.items():
            if identity is not None:
                self._identities[switch] = identity
                self._by_id[identity.id] = switch


def usable_key(tunnel_key: int | None, honour_vni_0: bool = False) -> int | None:
    """A tunnel key if it is a VNI. 0 is OVN's "not ready", unless honoured; the schema lets any integer through."""
    if tunnel_key is None or not 0 <= tunnel_key <= p.MAX_VNI or (tunnel_key == 0 and not honour_vni_0):
        return None
    return tunnel_key
