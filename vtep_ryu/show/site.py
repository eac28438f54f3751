"""What there is to be asked about: the VTEPs that the program has, and how the rows that are asked for are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vtep_ryu.core.database import Database
from vtep_ryu.core.flow import NOTHING, Flow, Group, Rendering
from vtep_ryu.core.model import LogicalSwitch, Place
from vtep_ryu.core.units import Unit
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.show.commands import Unanswerable
from vtep_ryu.show.document import Document


class Installed:
    """What a switch has; this one has nothing, as none is connected.

    address is the IP address from which it is connected.
    """

    address: str | None = None

    def rendering(self, unit: Unit) -> Rendering:
        """What it has of a unit."""
        return NOTHING

    def counter(self, flow: Flow) -> tuple[int, int] | None:
        """The packets and bytes that a flow has counted up to now; None where that cannot be read."""
        return None

    def bucket_counters(self, group: Group) -> list[tuple[int, int]]:
        """The packets and bytes that the buckets of a group have counted; none where that cannot be read."""
        return []


@dataclass(frozen=True, slots=True)
class Served:
    """A VTEP, and the switch that is connected for it. Not served: its flows are not yet, or not any more, followed."""

    vtep: Vtep
    datapath_id: int | None = None
    served: bool = False
    installed: Installed = field(default_factory=Installed)


@dataclass(frozen=True, slots=True)
class Site:
    """Everything: the rows, the VTEPs by name, and the names of those that another instance serves."""

    database: Database
    vteps: Mapping[str, Served] = field(default_factory=dict)
    standby: tuple[str, ...] = ()

    def physical_switches(self, name: str | None) -> list[Served]:
        """Those that are had, or the one of this name.

        Raises Unanswerable.
        """
        if name is None:
            return [self.vteps[each] for each in sorted(self.vteps)]
        if name in self.standby:
            raise Unanswerable(f"{name} is another instance's, which is the one to ask")
        if name not in self.vteps:
            known = ", ".join(sorted(self.vteps)) or "none"
            raise Unanswerable(f"this instance serves no physical switch {name}; it serves: {known}")
        return [self.vteps[name]]

    def logical_switch(self, name: str) -> LogicalSwitch:
        """The row with this name or UUID.

        Raises Unanswerable.
        """
        row = self.database.logical_switch(name)
        found = row or next((each for each in self.database.logical_switches() if each.name == name), None)
        if found is None:
            raise Unanswerable(f"there is no Logical_Switch with the name or UUID {name}")
        return found

    def with_logical_switch(self, row: LogicalSwitch) -> list[Served]:
        """The VTEPs at which it is bound.

        Raises Unanswerable where there is none.
        """
        found = [each for each in self.physical_switches(None) if each.vtep.bindings.is_bound(row.uuid)]
        if not found:
            known = ", ".join(sorted(self.vteps)) or "this instance, which serves none"
            raise Unanswerable(f"Logical_Switch {row.name} is bound at no port of {known}")
        return found


def described(row: LogicalSwitch) -> Document:
    """A logical switch, as every document has it."""
    return {
        "name": row.name,
        "uuid": row.uuid,
        "tunnel_key": row.tunnel_key,
        "replication_mode": row.replication_mode,
    }


def place(where: Place) -> Document:
    """A VLAN of a port, as every document has it; 0 is untagged."""
    return {"port": where.port, "vlan": where.vlan}


def place_in_words(where: Document) -> str:
    """The same for people."""
    return str(Place(where["port"], where["vlan"]))


def vni_in_words(vni: int | None) -> str:
    """A VNI that there may be."""
    return "no VNI" if vni is None else f"VNI {vni}"
