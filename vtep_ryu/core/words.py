"""What log lines say of units, logical switches and tunnel addresses."""

from __future__ import annotations

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.identity import Identity
from vtep_ryu.core.learning import Outcome
from vtep_ryu.core.model import LogicalSwitch, PhysicalSwitch, Place, Port, Update
from vtep_ryu.core.units import (
    AlwaysUnit,
    BindingUnit,
    FloodUnit,
    FrozenUnit,
    MulticastUnit,
    RemoteUnit,
    SourceUnit,
    StationUnit,
    StormUnit,
    TunnelUnit,
    Unit,
)


def unit_in_words(unit: Unit, switch: str) -> str:
    """A unit; switch is the name of the logical switch that it belongs to."""
    match unit:
        case AlwaysUnit():
            return "what every VTEP has"
        case BindingUnit(place):
            return f"the binding {place}"
        case StormUnit(port):
            return f"the storm control of {port}"
        case StationUnit(_, mac):
            return f"the learned address {mac} in {switch}"
        case FrozenUnit(_, mac):
            return f"the frozen address {mac} in {switch}"
        case RemoteUnit(_, mac):
            return f"Ucast_Macs_Remote {mac} of {switch}"
        case MulticastUnit(_, mac):
            return f"Mcast_Macs_Remote {mac} of {switch}"
        case SourceUnit(_, source):
            return f"the tunnels of {switch} from {source or 'anywhere'}"
        case TunnelUnit(remote):
            return f"the way to {remote or 'other VTEPs'}"
        case FloodUnit():
            return f"the replication of {switch}"


def rows_in_words(update: Update, most: int = 20) -> str:
    """The rows of an update of the database; of very many, some."""
    rows = [
        f"{change.kind.__name__} {getattr(change.row, 'name', getattr(change.row, 'mac', change.uuid))!r}"
        for change in update.changes[:most]
    ]
    return f"{len(update.changes)} rows: {', '.join(rows)}"


def sighting_in_words(outcome: Outcome, mac: str, switch: str, before: Place | None, place: Place) -> str:
    """A station that was seen where it was not before."""
    match outcome:
        case Outcome.LEARNED:
            return f"{mac} learned in {switch} at {place}"
        case Outcome.MOVED:
            return f"{mac} moved in {switch} from {before} to {place}"
        case _:
            return f"{mac} in {switch} has left {before} for {place}, where no more are learned"


def tunnel_ips_in_words(row: PhysicalSwitch) -> str:
    """What becomes of a physical switch's tunnel addresses, of which there should be one."""
    match row.tunnel_ips:
        case (ip,):
            return f"tunnel_ips {ip}"
        case ():
            what = "has no IPv4 address: no tunnels"
        case (first, *_):
            what = f"has {', '.join(row.tunnel_ips)}: tunnels end at each, {first} is published and sent from"
    return f"Physical_Switch {row.name}: tunnel_ips {what}"


def port_in_words(name: str, before: Port | None, now: Port | None) -> str:
    """What has become of a port of the switch."""
    if now is None:
        return f"port {name} is gone"
    state = "up" if now.up else "down"
    if before is None or before.number != now.number:
        return f"port {name} is OpenFlow port {now.number}, {state}"
    return f"port {name} went {state}"


def key_in_words(row: LogicalSwitch, identity: Identity, owner: LogicalSwitch | None) -> str:
    """What became of a logical switch's tunnel key; owner is who has it where that is another one."""
    if identity.vni is not None:
        return f"{row.name} has VNI {identity.vni}"
    if row.tunnel_key is None:
        why = "has no tunnel_key yet"
    elif owner is not None:
        why = f"has tunnel_key {row.tunnel_key}, which is {owner.name}'s already"
    elif row.tunnel_key == 0:
        why = "has tunnel_key 0, which says that it is not ready"
    else:
        why = f"has tunnel_key {row.tunnel_key}, which is no VNI (1 to {p.MAX_VNI})"
    return f"Logical_Switch {row.name} {why}: local switching only, but for locators with a key"
