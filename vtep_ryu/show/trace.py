"""trace: the way of a frame through the switch, table by table, in words; it is the switch that says where it leads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TypeAlias

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.model import Place
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.show.commands import Unanswerable
from vtep_ryu.show.document import Document, Slices
from vtep_ryu.show.explain import mac_address
from vtep_ryu.show.ofproto import Step, parse
from vtep_ryu.show.site import Served, Site, vni_in_words

TABLES = {table.id: table for table in p.TABLES}
SILENT = (p.INGRESS_POLICY.name, p.SUPPRESS.name, p.EGRESS_POLICY.name, p.PINNED.name)
"""Tables with nothing to say: they are kept for what is to come, or the one before has said it."""

NO_ARP = "neighbor cache miss"
NOT_ALIVE = "-> no live bucket"

Ask: TypeAlias = Callable[[Served, str], str]
"""Has the switch of a VTEP trace a flow. Raises Unanswerable."""


def make(site: Site, ask: Ask, *words: str) -> Slices[Document]:
    """The document; words are those of the command: perhaps a physical switch, then port, VLAN, source, destination."""
    *switch, port, vlan, source, destination = words
    served = _with_port(site, port, switch[0] if switch else None)
    place = Place(port, _vlan(vlan))
    source, destination = mac_address(source), mac_address(destination)
    tag = f",dl_vlan={place.vlan}" if place.vlan else ""
    number = served.vtep.ports[port].number
    text = ask(served, f"in_port={number}{tag},dl_src={source},dl_dst={destination}")
    yield
    traced = parse(text, served.vtep.name)
    way = _Way(served.vtep, place)
    steps = [way.step(each) for each in traced.steps]
    return {
        "physical_switch": served.vtep.name,
        "port": port,
        "vlan": place.vlan,
        "source": source,
        "destination": destination,
        "steps": steps,
        "delivered": way.delivered,
        "remarks": list(dict.fromkeys(way.remarks)),
        "datapath_actions": traced.datapath_actions,
        "trace": text,
    }


def _with_port(site: Site, port: str, name: str | None) -> Served:
    candidates = site.physical_switches(name)
    found = [each for each in candidates if port in each.vtep.ports]
    names = ", ".join(each.vtep.name for each in (found or candidates)) or "no physical switch"
    if not found:
        raise Unanswerable(f"{names} has no port {port}, or is not connected")
    if len(found) > 1:
        raise Unanswerable(f"each of {names} has a port {port}: the name of one is to come first")
    return found[0]


def _vlan(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= p.MAX_VLAN):
        raise Unanswerable(f"the VLAN is '{text}', must be 0 for untagged, or 1 to {p.MAX_VLAN}")
    return int(text)


class _Way:
    """Follows the frame and its copies, which carry in registers what the words are about."""

    def __init__(self, vtep: Vtep, place: Place) -> None:
        self._vtep = vtep
        self._place = place
        self._names = {port.number: port.name for port in vtep.ports.values()}
        self._tunnel: tuple[int | None, str] = (None, "")
        self._egress: Place | None = None
        self.delivered: list[str] = []
        self.remarks: list[str] = []

    def step(self, step: Step) -> Document:
        """What a step is, and in words."""
        for action in step.actions:
            self._follow(action)
        table = None if step.table is None else TABLES[step.table].name
        says = self._bucket(step) if table is None else WORDS.get(table, _Way.on)(self, step)
        for action in step.actions:
            self._deliver(action)
        return {**asdict(step), "table": table, "says": says}

    def _follow(self, action: str) -> None:
        if match := re.fullmatch(r"set_field:(\w+)->reg2", action):
            port, vlan = p.binding_of(int(match[1], 0))
            self._egress = Place(self._names.get(port, f"port {port}"), vlan)
        elif match := re.fullmatch(r"set_field:(\w+)->tun_id", action):
            self._tunnel = (int(match[1], 0), self._tunnel[1])
        elif match := re.fullmatch(r"set_field:(\S+)->tun_dst", action):
            self._tunnel = (self._tunnel[0], match[1])

    def _deliver(self, action: str) -> None:
        if match := re.fullmatch(r"output:(\d+)", action):
            name = self._names.get(int(match[1]), "")
            self.delivered.append(self._tunnelled if p.TUNNEL_PORT.fullmatch(name) else str(self._egress))
        elif NO_ARP in action:
            self.delivered.pop()
            text = f"the switch does not know the MAC address of {self._tunnel[1]} yet: it asks for it"
            self.remarks.append(f"{text}, and drops the frame")
        elif action == NOT_ALIVE:
            text = "where there are very many copies the switch takes the frame up anew for each part"
            self.remarks.append(f"{text}: its trace ends there, and who gets these is not said above")

    @property
    def _tunnelled(self) -> str:
        return f"{self._tunnel[1]} {vni_in_words(self._tunnel[0])}"

    # Words for each table.

    def _bucket(self, step: Step) -> str:
        if any(action.startswith("group:") for action in step.actions):
            return "a part of very many copies"
        if any("->tun_dst" in action for action in step.actions):
            return f"a copy for {self._tunnelled}"
        if any("->reg2" in action for action in step.actions):
            return f"a copy for {self._egress}"
        return "nobody can get it"

    def on(self, step: Step) -> str:
        """Say whether it goes on."""
        return "dropped" if "drop" in step.actions else "on"

    def classify(self, step: Step) -> str:
        """Say what the frame belongs to."""
        written = re.search(r"write_metadata:(0x[0-9a-f]+)", "\n".join(step.actions))
        if written is None:
            return f"{self._place} is bound to no logical switch: dropped"
        id = int(written[1], 16) & (1 << p.SWITCH.width) - 1
        uuid = self._vtep.identities.logical_switch(id)
        row = None if uuid is None else self._vtep.database.logical_switch(uuid)
        identity = None if uuid is None else self._vtep.identities.of(uuid)
        name = f"logical switch {id}" if row is None else row.name
        return f"{self._place} is bound to {name}, {vni_in_words(None if identity is None else identity.vni)}"

    def learn(self, step: Step) -> str:
        """Say what is known of its source."""
        match step.priority:
            case p.Priority.REMOTE:
                return "the source is known here"
            case p.Priority.FROZEN:
                return "the source is frozen elsewhere: on, and not learned"
            case p.Priority.SPECIAL if "metadata=" in step.match:
                return "the database has the source behind another VTEP (pin_remote): dropped"
            case p.Priority.SPECIAL:
                return "no station has this source: dropped"
            case p.Priority.GENERAL:
                return "the source is not known here: on, with a copy to the program"
        return self.on(step)

    def unicast(self, step: Step) -> str:
        """Say what is known of its destination."""
        is_metered = any(action.startswith("meter:") for action in step.actions)
        metered = ", within what storm_control lets pass" if is_metered else ""
        if f"dl_dst={p.MULTICAST_BIT}/" in step.match:
            return f"the destination is multicast or broadcast{metered}"
        match step.priority:
            case p.Priority.LOCAL:
                return f"the destination is at {self._egress}"
            case p.Priority.REMOTE:
                return f"the destination is behind {self._tunnelled}"
        return f"the destination is not known{metered}"

    def multicast(self, step: Step) -> str:
        """Say whether its address has VTEPs of its own."""
        return "it has no VTEPs of its own" if step.priority == p.Priority.MISS else "copies to its VTEPs"

    def flood(self, step: Step) -> str:
        """Say who gets a copy."""
        groups = [p.kind_of(int(match[1])) for each in step.actions if (match := re.fullmatch(r"group:(\d+)", each))]
        names = {p.GroupKind.LOCAL: "every binding", p.GroupKind.REMOTE: "the VTEPs of unknown-dst"}
        to = [names[kind] for kind in groups if kind in names]
        return f"copies to {' and '.join(to)}" if to else "there is nobody to copy it to: dropped"

    def egress(self, step: Step) -> str:
        """Say how a copy leaves."""
        if "drop" in step.actions:
            return f"it came by {self._egress}: dropped"
        assert self._egress is not None
        tag = f"with VLAN tag {self._egress.vlan}" if self._egress.vlan else "untagged"
        return f"leaves by {self._egress.port}, {tag}"

    def tunnel(self, _: Step) -> str:
        """Say for whom it leaves."""
        return f"leaves for {self._tunnelled}"

    def undelivered(self, _: Step) -> str:
        """Say that nobody gets it."""
        return "no VTEP that it could go to is alive: dropped, and counted"


WORDS: Mapping[str, Callable[[_Way, Step], str]] = {
    p.CLASSIFY.name: _Way.classify,
    p.LEARN.name: _Way.learn,
    p.UNICAST.name: _Way.unicast,
    p.MULTICAST.name: _Way.multicast,
    p.FLOOD.name: _Way.flood,
    p.EGRESS.name: _Way.egress,
    p.UNDELIVERED.name: _Way.undelivered,
    p.TUNNEL.name: _Way.tunnel,
}
"""What is said of a step in a table; of all others, that it goes on."""


def text(document: Document) -> Iterator[str]:
    """The document for people."""
    place = Place(document["port"], document["vlan"])
    yield f"{document['physical_switch']}: {place}, from {document['source']} to {document['destination']}\n"
    for step in document["steps"]:
        if step["table"] not in SILENT:
            name = step["table"] or f"bucket {step['bucket']}"
            yield f"{'    ' * (step['depth'] + 1)}{name:<11}{step['says']}\n"
    yield f"delivered to {', '.join(document['delivered']) or 'nobody'}\n"
    yield from (f"{remark}\n" for remark in document["remarks"])
    yield f"in the datapath: {document['datapath_actions']}\n"
