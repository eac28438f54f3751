"""What is wrong with one physical switch and its Physical_Port rows. The keywords are those of vtep(5)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping

from vtep_ryu.core.bindings import Bindings
from vtep_ryu.core.events import Kind, Note
from vtep_ryu.core.model import LogicalRouter, PhysicalPort, Place
from vtep_ryu.core.units import MulticastUnit, RemoteUnit, SourceUnit, StationUnit, TunnelUnit, Unit

LOG = logging.getLogger(__name__)

INVALID_ACL_BINDING = "invalid_ACL_binding"
INVALID_VLAN_MAP = "invalid_vlan_map"
LR_SUPPORT_FAULT = "lr_support_fault"
MAC_TABLE_EXHAUSTION = "mac_table_exhaustion"
TUNNEL_EXHAUSTION = "tunnel_exhaustion"
UNSPECIFIED_FAULT = "unspecified_fault"


def refused(unit: Unit) -> str:
    """The keyword for a unit that the switch refuses."""
    match unit:
        case StationUnit() | RemoteUnit() | MulticastUnit():
            return MAC_TABLE_EXHAUSTION
        case SourceUnit() | TunnelUnit():
            return TUNNEL_EXHAUSTION
        case _:
            return UNSPECIFIED_FAULT


class SwitchFaults:
    """Says each thing once, for as long as it is the case, and keeps it for switch_fault_status."""

    def __init__(self, physical_switch: str, note: Note) -> None:
        self._physical_switch = physical_switch
        self._note = note
        self._found: dict[Hashable, tuple[str, str]] = {}
        self._full: set[Place | str] = set()
        self._tunnels: Mapping[str, str] = {}

    def keywords(self) -> frozenset[str]:
        """What switch_fault_status has to say."""
        return frozenset(keyword for keyword, _ in self._found.values())

    def texts(self) -> list[str]:
        """What it is, in words."""
        return [text for _, text in self._found.values()]

    def text_of(self, what: Hashable) -> str | None:
        """What is wrong with something, in words."""
        found = self._found.get(what)
        return None if found is None else found[1]

    def look_at_router(self, uuid: str, row: LogicalRouter | None) -> None:
        """Take in that a Logical_Router row has come, changed or gone. vtep(5) ties none to a physical switch."""
        if row is None:
            self.clear(uuid)
        else:
            self.find(uuid, LR_SUPPORT_FAULT, f"Logical_Router {row.name}: logical routing is not supported")

    def look_at_tunnels(self, errors: Mapping[str, str]) -> None:
        """Take in which tunnel ports could not be made, with the reasons."""
        for name in self._tunnels.keys() - errors.keys():
            self.clear(name)
        for name, why in errors.items():
            self.find(name, TUNNEL_EXHAUSTION, f"tunnel port {name}: {why}")
        self._tunnels = errors

    def refuse(self, where: Place | str, what: str, limit: int, option: str) -> None:
        """Take in that a binding, by its place, or a logical switch, by its UUID, learns no more addresses."""
        self._full.add(where)
        text = f"{what} has {limit} learned addresses: no more are learned (option {option})"
        self.find(where, MAC_TABLE_EXHAUSTION, text)

    def make_room(self, is_full: Callable[[Place | str], bool]) -> None:
        """Take in that addresses were learned or forgotten."""
        for where in [each for each in self._full if not is_full(each)]:
            self._full.remove(where)
            self.clear(where)

    def find(self, what: Hashable, keyword: str, text: str) -> None:
        """Take in what is wrong with something, until it is cleared."""
        if self._found.get(what) != (keyword, text):
            self.clear(what)
            self._found[what] = (keyword, text)
            LOG.warning("%s: %s", self._physical_switch, text)
            self._note(Kind.FAULT_RAISED, keyword=keyword, text=text)

    def clear(self, what: Hashable) -> None:
        """Take in that this is all right."""
        if (found := self._found.pop(what, None)) is not None:
            self._note(Kind.FAULT_CLEARED, keyword=found[0], text=found[1])


class PortFaults:
    """Says each thing once, for as long as it is the case, and keeps it for port_fault_status.

    A port and its bindings come and go in two databases, in either order: that a bound port is not there is a fault
    when it lasts. title gives the name of a logical switch.
    """

    def __init__(self, physical_switch: str, bindings: Bindings, title: Callable[[str], str], note: Note) -> None:
        self._physical_switch = physical_switch
        self._note = note
        self._bindings = bindings
        self._title = title
        self._found: dict[str, dict[str, str]] = {}
        self._suspected: set[str] = set()
        self._portless: set[str] = set()

    def keywords(self) -> dict[str, frozenset[str]]:
        """What port_fault_status has to say, by the UUID of the row; rows that all is well with are not named."""
        return {uuid: frozenset(found.values()) for uuid, found in self._found.items()}

    def texts(self) -> list[str]:
        """What it is, in words."""
        names = {row.uuid: row.name for row in self._bindings.rows()}
        return [f"Physical_Port {names[uuid]}: {text}" for uuid, found in self._found.items() for text in found]

    def look(self, uuid: str) -> None:
        """Take in that a row, its port, or another row of its name has come, changed or gone."""
        before, row = self._found.pop(uuid, {}), self._bindings.physical_port(uuid)
        name = uuid if row is None else row.name
        if row is None or not self._bindings.portless(row):
            self._suspected.discard(uuid)
            self._portless.discard(uuid)
        found = {} if row is None else dict(self._find(row))
        if found:
            self._found[uuid] = found
        for text in before.keys() - found.keys():
            self._note(Kind.FAULT_CLEARED, keyword=before[text], text=f"Physical_Port {name}: {text}")
        for text in found:
            if text not in before:
                LOG.warning("%s: Physical_Port %s: %s", self._physical_switch, name, text)
                self._note(Kind.FAULT_RAISED, keyword=found[text], text=f"Physical_Port {name}: {text}")

    def settle(self) -> bool:
        """Take in that a moment has passed: bound ports that were not there before it and are not now are faults.

        Returns whether there are any that have not been there for less than that.
        """
        portless = {row.uuid for row in self._bindings.rows() if self._bindings.portless(row)}
        lasting = portless & self._suspected - self._portless
        self._suspected = portless
        self._portless |= lasting
        for uuid in lasting:
            self.look(uuid)
        return portless != self._portless

    def _find(self, row: PhysicalPort) -> Iterable[tuple[str, str]]:
        """What is wrong with a row, in words, and its keyword."""
        for why in self._bindings.refusals(row.uuid):
            yield f"vlan_bindings: {why}; refused", INVALID_VLAN_MAP
        for vlan in row.acl_bindings:
            yield f"acl_bindings: VLAN {vlan} has an ACL, which is not supported: not applied", INVALID_ACL_BINDING
        for vlan, switch in self._bindings.portless(row).items() if row.uuid in self._portless else ():
            text = f"VLAN {vlan} is bound to {self._title(switch)}, but the bridge has no port {row.name}"
            yield f"vlan_bindings: {text}", UNSPECIFIED_FAULT
