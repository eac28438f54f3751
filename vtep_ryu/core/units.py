"""Units: the pieces of the desired state that own flows. A change renders only the units it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vtep_ryu.core.model import Place


@dataclass(frozen=True, slots=True)
class AlwaysUnit:
    """What every VTEP has: the tables' misses and the rules that hold for all logical switches."""


@dataclass(frozen=True, slots=True)
class BindingUnit:
    """A VLAN of a port, bound to a logical switch: its way in and its way out."""

    place: Place


@dataclass(frozen=True, slots=True)
class StormUnit:
    """A port's storm control."""

    port: str


@dataclass(frozen=True, slots=True)
class FloodUnit:
    """A logical switch's replication of broadcast, unknown unicast and multicast frames."""

    logical_switch: str


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """An address that the logical switch takes tunnelled frames from; None stands for any."""

    logical_switch: str
    source: str | None


@dataclass(frozen=True, slots=True)
class TunnelUnit:
    """The way to another VTEP, whose copies are counted; None stands for any."""

    remote: str | None


@dataclass(frozen=True, slots=True)
class RemoteUnit:
    """An address in Ucast_Macs_Remote."""

    logical_switch: str
    mac: str


@dataclass(frozen=True, slots=True)
class MulticastUnit:
    """A multicast address (not unknown-dst) in Mcast_Macs_Remote."""

    logical_switch: str
    mac: str


@dataclass(frozen=True, slots=True)
class StationUnit:
    """An address that was learned on a local port."""

    logical_switch: str
    mac: str


@dataclass(frozen=True, slots=True)
class FrozenUnit:
    """An address that moves too often."""

    logical_switch: str
    mac: str


Unit: TypeAlias = (
    AlwaysUnit
    | BindingUnit
    | StormUnit
    | FloodUnit
    | SourceUnit
    | TunnelUnit
    | RemoteUnit
    | MulticastUnit
    | StationUnit
    | FrozenUnit
)


@dataclass(frozen=True, slots=True)
class PhysicalSwitchTouched:
    """A Physical_Switch row came, changed or went."""

    name: str


@dataclass(frozen=True, slots=True)
class PhysicalPortTouched:
    """A Physical_Port row came, changed or went."""

    uuid: str


@dataclass(frozen=True, slots=True)
class LogicalSwitchTouched:
    """A Logical_Switch row came, changed or went."""

    uuid: str


@dataclass(frozen=True, slots=True)
class LogicalRouterTouched:
    """A Logical_Router row came, changed or went."""

    uuid: str


@dataclass(frozen=True, slots=True)
class TunnelTouched:
    """A Tunnel row between these addresses came, changed or went."""

    local: str
    remote: str


Touch: TypeAlias = (
    PhysicalSwitchTouched
    | PhysicalPortTouched
    | LogicalSwitchTouched
    | LogicalRouterTouched
    | TunnelTouched
    | FloodUnit
    | SourceUnit
    | RemoteUnit
    | MulticastUnit
)
"""What a change of the database can touch: a row that a VTEP follows as such, or a unit at once."""


class Unheeded(set[Unit]):
    """What is dirty until a switch is taken over: nothing is noted, for it is given all that there is."""

    def _ignore(self, *units: object) -> None:
        """Do not even find out what the units are: there may be very many."""

    add = update = _ignore
