"""States as text: database contents, ports and stations in, the flows and groups that a VTEP wants out.

A state has one line for each row, port and station::

    physical_switch br0 tunnel_ips=10.2.2.1               has the physical_port lines below it
    physical_port p0 0=ls0 10=ls1 acls=0,10               VLAN=logical switch; VLANs that have an ACL
    logical_switch ls0 tunnel_key=5000 replication_mode=source_node
    logical_router lr0
    ucast_remote ls0 02:00:00:00:00:01 10.2.2.2/7001      /7001: the locator's own tunnel_key
    mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3
    tunnel 10.2.2.1 10.2.2.2 enable=true min_rx=300       with any other integer of a Bfd
    port p0 1                                             OpenFlow number; then "down" where it is
    station ls0 02:00:00:00:00:aa p0 0                    learned there: port, VLAN

A row's UUID is made of its first words ("logical_switch-ls0"); uuid=... gives it another. Of two lines for one UUID,
port or station the later one holds, so a state can be written as a difference to another.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.database import Database
from vtep_ryu.core.flow import Flow, Rendering
from vtep_ryu.core.model import (
    Bfd,
    Change,
    Locator,
    LogicalRouter,
    LogicalSwitch,
    McastRemote,
    PhysicalPort,
    PhysicalSwitch,
    Place,
    Port,
    Row,
    Settings,
    Tunnel,
    UcastRemote,
    Update,
)
from vtep_ryu.core.render import render
from vtep_ryu.core.units import AlwaysUnit, TunnelUnit, Unit
from vtep_ryu.core.vtep import Vtep

ALWAYS: set[Unit] = {AlwaysUnit(), TunnelUnit(None)}


def text(block: str) -> str:
    """An indented block of a test's source, as the plain lines it stands for; one that is indented more goes on."""
    return re.sub(r"\n +", " ", textwrap.dedent(block).strip())


@dataclass(frozen=True)
class State:
    """Rows by UUID, ports by name, stations by (UUID of the logical switch, address)."""

    rows: dict[str, Row]
    ports: dict[str, Port]
    stations: dict[tuple[str, str], Place]


def state(*blocks: str) -> State:
    """The state that the lines of these blocks describe."""
    rows: dict[str, Row] = {}
    ports: dict[str, Port] = {}
    stations: dict[tuple[str, str], Place] = {}
    ports_of: dict[str, set[str]] = {}
    for line in "\n".join(blocks).splitlines():
        match line.split():
            case []:
                pass
            case ["port", name, number, *down]:
                ports[name] = Port(name, int(number), up=not down)
            case ["station", switch, mac, port, vlan]:
                stations[logical(switch), mac] = Place(port, int(vlan))
            case [kind, *words]:
                row = READERS[kind](*_words_and_options(words))
                rows[row.uuid] = row
                if isinstance(row, PhysicalSwitch):
                    owner = row.uuid
                if isinstance(row, PhysicalPort):
                    ports_of.setdefault(owner, set()).add(row.uuid)
    for uuid, ports_there in ports_of.items():
        rows[uuid] = replace(rows[uuid], ports=frozenset(ports_there))
    return State(rows, ports, stations)


def logical(name: str) -> str:
    """The UUID of the logical switch with this name."""
    return f"logical_switch-{name}"


def _words_and_options(words: list[str]) -> tuple[list[str], dict[str, str]]:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    return [word for word in words if "=" not in word], options


def _physical_switch(words: list[str], options: dict[str, str]) -> PhysicalSwitch:
    [name] = words
    ips = tuple(filter(None, options.get("tunnel_ips", "").split(",")))
    return PhysicalSwitch(options.get("uuid", f"physical_switch-{name}"), name, ips, frozenset())


def _physical_port(words: list[str], options: dict[str, str]) -> PhysicalPort:
    [name] = words
    uuid = options.pop("uuid", f"physical_port-{name}")
    acls = tuple(map(int, filter(None, options.pop("acls", "").split(","))))
    bindings = tuple(sorted((int(vlan), logical(switch)) for vlan, switch in options.items()))
    return PhysicalPort(uuid, name, bindings, acls)


def _logical_switch(words: list[str], options: dict[str, str]) -> LogicalSwitch:
    [name] = words
    key = int(options["tunnel_key"]) if "tunnel_key" in options else None
    mode = options.get("replication_mode", "service_node")
    assert mode in ("service_node", "source_node")
    return LogicalSwitch(options.get("uuid", logical(name)), name, key, mode)


def _logical_router(words: list[str], options: dict[str, str]) -> LogicalRouter:
    [name] = words
    return LogicalRouter(options.get("uuid", f"logical_router-{name}"), name)


def _ucast_remote(words: list[str], options: dict[str, str]) -> UcastRemote:
    switch, mac, locator = words
    return UcastRemote(options.get("uuid", f"ucast_remote-{switch}-{mac}"), mac, logical(switch), locator_of(locator))


def _mcast_remote(words: list[str], options: dict[str, str]) -> McastRemote:
    switch, mac, *locators = words
    uuid, members = options.get("uuid", f"mcast_remote-{switch}-{mac}"), tuple(map(locator_of, locators))
    return McastRemote(uuid, mac, logical(switch), members)


def locator_of(word: str) -> Locator:
    """The locator that is written like this: an address, and after a slash its tunnel_key if it has one."""
    ip, _, key = word.partition("/")
    return Locator(ip, int(key) if key else None)


def _tunnel(words: list[str], options: dict[str, str]) -> Tunnel:
    local, remote = words
    uuid, configured = options.pop("uuid", f"tunnel-{local}-{remote}"), bool(options)
    enabled = options.pop("enable", "false") == "true"
    return Tunnel(uuid, local, remote, Bfd(**{k: int(v) for k, v in options.items()}) if enabled else None, configured)


READERS = {
    "physical_switch": _physical_switch,
    "physical_port": _physical_port,
    "logical_switch": _logical_switch,
    "logical_router": _logical_router,
    "ucast_remote": _ucast_remote,
    "mcast_remote": _mcast_remote,
    "tunnel": _tunnel,
}

EMPTY = state()


def difference(before: State, after: State) -> Update:
    """The update that takes a database from one state to another."""
    rows = {**before.rows, **after.rows}
    uuids = [uuid for uuid in rows if before.rows.get(uuid) != after.rows.get(uuid)]
    return Update(tuple(Change(type(rows[uuid]), uuid, after.rows.get(uuid)) for uuid in uuids))


def whole(after: State, before: State = EMPTY) -> Update:
    """The complete update that a database in this state begins with; it names the rows of before that are gone, too."""
    rows = {**before.rows, **after.rows}
    changes = (Change(type(row), uuid, after.rows.get(uuid)) for uuid, row in rows.items())
    return Update(tuple(changes), complete=True)


class World:
    """A database, and the Vtep of one of its physical switches."""

    def __init__(self, *blocks: str | State, settings: Settings | None = None, name: str = "br0") -> None:
        self.database = Database()
        self.vtep = Vtep(name, self.database, settings or Settings())
        self.vtep.dirty = set()
        self.now = EMPTY
        self.become(*blocks)

    def become(self, *blocks: str | State) -> None:
        """Take the database, the ports and what is learned from the present state to this one."""
        match blocks:
            case [State() as after]:
                pass
            case _:
                after = state(*blocks)
        self.vtep.touch(self.database.apply(difference(self.now, after)))
        if self.vtep.ports != after.ports:
            self.vtep.set_ports(after.ports)
        self.now = after
        stations = self.stations()
        for switch, mac in stations.keys() - after.stations.keys():
            self.vtep.aged(*self.ids(switch, stations[switch, mac]), mac)
        for (switch, mac), place in after.stations.items():
            self.vtep.seen(*self.ids(switch, place), mac, now=0)
        assert self.stations() == after.stations, "the stations of this state cannot be learned"

    def now_with(self, *blocks: str) -> State:
        """The present state with these lines added."""
        new = state(*blocks)
        rows = {
            uuid: replace(row, ports=self.now.rows[uuid].ports) if isinstance(row, PhysicalSwitch) else row
            for uuid, row in new.rows.items()
        }
        return State(self.now.rows | rows, self.now.ports | new.ports, self.now.stations | new.stations)

    def stations(self) -> dict[tuple[str, str], Place]:
        """What is learned: places by (UUID of the logical switch, address)."""
        found = {}
        for switch in self.vtep.bindings.logical_switches():
            for mac in self.vtep.stations.of_switch(switch):
                place = self.vtep.stations.place(switch, mac)
                assert place is not None
                found[switch, mac] = place
        return found

    def ids(self, switch: str, place: Place) -> tuple[int, int]:
        """The switch id and the binding id by which the switch would name a place in its packet-ins."""
        identity = self.vtep.identities.of(switch)
        assert identity is not None, f"{switch} has no identity"
        return identity.id, p.binding_id(self.vtep.ports[place.port].number, place.vlan)

    def flows(self) -> str:
        """What the VTEP wants on its switch, what it always wants excepted."""
        return flows(self.vtep)


def rendering(vtep: Vtep) -> Rendering:
    """All that the VTEP wants on its switch."""
    return Rendering.joined(render(vtep, unit) for unit in vtep.inventory.every())


def flows(vtep: Vtep) -> str:
    """What the VTEP wants on its switch, ALWAYS excepted: flows in pipeline order, then groups and meters.

    Numbers that are made of others stand as those: a binding as "1/10" (port, VLAN), VLAN 10 as "vlan=10", no tag as
    "vlan=none", a group as "local 5000" (kind, logical switch). Ids that follow from a hash stand as names: "<ls0>" for
    a logical switch without a VNI, "numbered 1" for the first numbered group in the text. A meter is "meter 1" (port).
    """
    wanted = Rendering.joined(render(vtep, unit) for unit in vtep.inventory.every() - ALWAYS)
    numbers: dict[str, int] = {}

    def numbered(line: str) -> str:
        return re.sub(r"numbered (\d+)", lambda id: f"numbered {numbers.setdefault(id[1], len(numbers) + 1)}", line)

    def order(flow: Flow) -> tuple[int, int, str]:
        return flow.table.id, -flow.priority, re.sub(r"numbered \d+", "", _readable(vtep, str(flow)))

    lines = [numbered(_readable(vtep, str(flow))) for flow in sorted(wanted.flows, key=order)]
    groups = []
    for uses in (" all: group ", " select: group ", " set "):  # Each sort is named by the one before.
        these = (line for line in (_readable(vtep, str(group)) for group in wanted.groups) if uses in line)
        groups += [numbered(line) for line in sorted(these, key=lambda line: numbered(line.split(":")[0]))]
    assert len(groups) == len(wanted.groups)
    meters = [_readable(vtep, str(meter)) for meter in wanted.meters]
    return "\n".join([*lines, *sorted(groups), *sorted(meters)])


def only(flow_text: str, *words: str) -> str:
    """The lines of a text of flows that have all these words."""
    return "\n".join(line for line in flow_text.splitlines() if all(word in line for word in words))


def changed(before: str, after: str) -> str:
    """How one text of flows differs from another: the lines that went, then those that came."""
    old, new = before.splitlines(), after.splitlines()
    gone = [f"- {line}" for line in old if line not in new]
    return "\n".join([*gone, *(f"+ {line}" for line in new if line not in old)])


def _readable(vtep: Vtep, line: str) -> str:
    names = {}
    for switch in vtep.bindings.logical_switches():
        identity, row = vtep.identities.of(switch), vtep.database.logical_switch(switch)
        if identity is not None and row is not None and identity.vni is None:
            names[identity.id] = f"<{row.name}>"

    def group(found: re.Match[str]) -> str:
        kind, id = divmod(int(found[1], 16), 1 << p.ID_BITS)
        return f"group {p.GroupKind(kind).name.lower()} {names.get(id, id)}"

    def vlan(found: re.Match[str]) -> str:
        return "vlan=none" if int(found[1]) == p.NO_TAG else f"vlan={int(found[1]) & ~p.TAG}"

    def binding(found: re.Match[str]) -> str:
        return "{}={}/{}".format(found[1], *p.binding_of(int(found[2])))

    line = re.sub(r"group 0x([0-9a-f]+)", group, line)
    line = re.sub(r"meter 0x([0-9a-f]+)", lambda found: f"meter {p.metered_port(int(found[1], 16))}", line)
    line = re.sub(r"\bvlan=(\d+)", vlan, line)
    line = re.sub(r"(ingress|egress)=(\d+)", binding, line)
    return re.sub(r"switch=(\d+)", lambda found: f"switch={names.get(int(found[1]), found[1])}", line)
