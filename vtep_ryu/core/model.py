"""Frozen values: the rows of hardware_vtep that the program follows, the bridge, and the switch's ports.

Names are those of vtep(5). uuid is the row's UUID in text form; a reference is the UUID of the row it points at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal, TypeAlias

ReplicationMode: TypeAlias = Literal["service_node", "source_node"]

UNKNOWN_DST = "unknown-dst"
"""What stands in a MAC column for the frames whose destination is not known."""


@dataclass(frozen=True, slots=True)
class PhysicalSwitch:
    """A row of Physical_Switch. tunnel_ips are valid IPv4 addresses in the database's order."""

    uuid: str
    name: str
    tunnel_ips: tuple[str, ...]
    ports: frozenset[str]


@dataclass(frozen=True, slots=True)
class PhysicalPort:
    """A row of Physical_Port.

    vlan_bindings are (VLAN, reference to a Logical_Switch), by VLAN; acl_bindings are the VLANs that have an ACL.
    """

    uuid: str
    name: str
    vlan_bindings: tuple[tuple[int, str], ...]
    acl_bindings: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LogicalSwitch:
    """A row of Logical_Switch. tunnel_key is as it stands there: perhaps unset, perhaps not a VNI."""

    uuid: str
    name: str
    tunnel_key: int | None
    replication_mode: ReplicationMode


@dataclass(frozen=True, slots=True)
class LogicalRouter:
    """A row of Logical_Router."""

    uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class Locator:
    """A row of Physical_Locator: a VTEP's IPv4 address, and a VNI (or 0) where the locator has one of its own.

    Their order is that of the numbers that the addresses are, then that of the keys; no key comes first.
    """

    ip: str
    tunnel_key: int | None = None

    def __lt__(self, other: Locator) -> bool:
        return self._place() < other._place()

    def __str__(self) -> str:
        return self.ip if self.tunnel_key is None else f"{self.ip}/{self.tunnel_key}"

    def _place(self) -> tuple[int, int]:
        return int(IPv4Address(self.ip)), -1 if self.tunnel_key is None else self.tunnel_key


@dataclass(frozen=True, slots=True)
class UcastRemote:
    """A row of Ucast_Macs_Remote: the address is behind the VTEP at this locator."""

    uuid: str
    mac: str
    logical_switch: str
    locator: Locator


@dataclass(frozen=True, slots=True)
class McastRemote:
    """A row of Mcast_Macs_Remote: mac is a multicast address or UNKNOWN_DST, locators are in their order."""

    uuid: str
    mac: str
    logical_switch: str
    locators: tuple[Locator, ...]


@dataclass(frozen=True, slots=True)
class Bfd:
    """A BFD session as bfd_params, bfd_config_local and bfd_config_remote want it, with vtep(5)'s defaults.

    The intervals are in milliseconds. The addresses are those that BFD packets are sent to: the local ones here, the
    remote ones there.
    """

    min_rx: int = 1000
    min_tx: int = 100
    decay_min_rx: int = 0
    forwarding_if_rx: bool = False
    cpath_down: bool = False
    check_tnl_key: bool = False
    local_mac: str = "00:23:20:00:00:01"
    local_ip: str = "169.254.1.0"
    remote_mac: str = "00:23:20:00:00:01"
    remote_ip: str = "169.254.1.1"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A row of Tunnel: local and remote are IPv4 addresses, bfd is None where it is not enabled.

    configured says whether it has any bfd_params.
    """

    uuid: str
    local: str
    remote: str
    bfd: Bfd | None
    configured: bool


Row: TypeAlias = PhysicalSwitch | PhysicalPort | LogicalSwitch | LogicalRouter | UcastRemote | McastRemote | Tunnel


@dataclass(frozen=True, slots=True)
class Change:
    """A row as it is now, or None where it is gone or cannot be used."""

    kind: type[Row]
    uuid: str
    row: Row | None


@dataclass(frozen=True, slots=True)
class Update:
    """Rows that changed together, or a part of many. With a complete one all rows that there are have been named.

    received is when the database said so, in seconds of a clock that never goes back, where that is known.
    """

    changes: tuple[Change, ...]
    complete: bool = False
    received: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge as the Open_vSwitch database has it.

    ports are the names of its Port rows, the local port and our own tunnel ports excepted. unbindable are the names of
    ports and interfaces that bindings cannot be to, each with the reason, tunnel_errors those of our tunnel ports that
    ovs-vswitchd could not make. bfd is what it says of the BFD at our tunnel ports, by their names: bfd_status of
    ovs-vswitchd.conf.db(5). controllers is how many it is connected to, some seconds ago; has_controller is whether it
    has been told of any, has_tunnels whether it has any of our tunnel ports.
    """

    name: str
    datapath_id: int | None
    ports: frozenset[str]
    unbindable: Mapping[str, str]
    tunnel_errors: Mapping[str, str] = field(default_factory=dict)
    bfd: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    controllers: int = 0
    has_controller: bool = False
    has_tunnels: bool = False


@dataclass(frozen=True, slots=True)
class TunnelPort:
    """A VXLAN port that a bridge needs: for all tunnels from a local address, or for BFD with one remote address."""

    local: str
    remote: str | None = None
    bfd: Bfd | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """A port as the switch reports it. up is false while it is disabled or has no link."""

    name: str
    number: int
    up: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A VLAN of a port: where a binding is, and a station behind it."""

    port: str
    vlan: int

    def __str__(self) -> str:
        return f"{self.port} VLAN {self.vlan}" if self.vlan else f"{self.port} untagged"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose of the core's behaviour.

    mac_ageing_time is in seconds (0: never), the limits are learned addresses, accept_any_source takes tunnelled frames
    of a logical switch's VNI from addresses that the database does not name, honour_vni_0 takes a tunnel_key of 0 for a
    VNI as any other, pin_remote learns no address that the NVC's rows have behind another VTEP. An address that moves
    more than mac_move_limit times (0: any) within mac_move_window seconds is frozen for as long. storm_control is how
    many frames a second a port may have replicated (0: any).
    """

    mac_ageing_time: int = 300
    binding_mac_limit: int = 16384
    switch_mac_limit: int = 131072
    accept_any_source: bool = False
    honour_vni_0: bool = False
    pin_remote: bool = False
    mac_move_limit: int = 5
    mac_move_window: int = 180
    storm_control: int = 0
