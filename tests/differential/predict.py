"""What becomes of a frame: by vtep(5), and with any of the faults of ovs-vtep. Only asked where the two differ."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import chain, combinations

from tests.differential.faults import Fault
from tests.differential.probes import LOCAL, Copy, Outcome, Probe, Tags
from tests.differential.steps import Place, State, Switch, station

AT_ONCE = 4
"""How many faults one frame may show."""


@dataclass
class Bridge:
    """What ovs-vtep keeps of a logical switch that had a binding when it last looked."""

    tunnels: dict[str, int] = field(default_factory=dict)
    wanted: Switch = field(default_factory=lambda: Switch(None, None))
    former: dict[str, frozenset[Place]] = field(default_factory=dict)
    learned: dict[str, Place] = field(default_factory=dict)
    """The flows of frames for stations; one for a remote address hides what the row says."""


class Memory:
    """What ovs-vtep remembers: what it does depends on what it has seen before."""

    def __init__(self) -> None:
        self.bridges: dict[str, Bridge] = {}
        self._state = State()

    def look(self, state: State) -> None:
        """It looks at the database, and follows."""
        before, self._state = self._state, state
        for name in state.bindings.values():
            self.bridges.setdefault(name, Bridge())
        for name in {name for place, name in before.bindings.items() if place not in state.bindings}:
            if not state.places(name):
                del self.bridges[name]
        for name, bridge in self.bridges.items():
            stayed = before.places(name) & state.places(name)
            bridge.former = {ip: places & stayed for ip, places in bridge.former.items()}
            if name in state.switches and state.switches[name].key is not None:
                _follow(bridge, state.switches[name], state.places(name))
            # The machines behind its bindings are heard then.
            bridge.learned |= {station(place): place for place in state.places(name)}

    def addresses(self) -> set[tuple[str, str]]:
        """The addresses that may be learned, each with its logical switch; some may be forgotten by now."""
        return {(name, mac) for name, bridge in self.bridges.items() for mac in bridge.learned}

    def empty(self) -> frozenset[str]:
        """The logical switches that are kept without a binding."""
        return frozenset(name for name in self.bridges if not self._state.places(name))


def _follow(bridge: Bridge, wanted: Switch, places: frozenset[Place]) -> None:
    assert wanted.key is not None
    before, bridge.wanted = bridge.wanted, wanted
    bridge.tunnels = {ip: bridge.tunnels.get(ip, wanted.key) for ip in wanted.vteps}
    left = dict.fromkeys(before.unknown - wanted.unknown, places)
    bridge.former = {ip: each for ip, each in (bridge.former | left).items() if ip in wanted.vteps - wanted.unknown}
    for mac in before.macs.keys() | wanted.macs.keys():
        if before.macs.get(mac) != wanted.macs.get(mac):
            bridge.learned.pop(mac, None)


def explain(state: State, memory: Memory, probe: Probe, theirs: Outcome) -> frozenset[Fault] | None:
    """The fewest faults that make it possible that ovs-vtep did this; None when none do."""
    fewest_first = chain.from_iterable(combinations(Fault, n) for n in range(AT_ONCE + 1))
    found = (faults for faults in fewest_first if theirs in outcomes(state, memory, probe, faults))
    faults = next(found, None)
    return None if faults is None else frozenset(faults)


def outcomes(state: State, memory: Memory, probe: Probe, faults: Collection[Fault] = ()) -> set[Outcome]:
    """What may become of a frame; without faults there is one answer."""
    way = _Way(state, memory, probe, frozenset(faults))
    return {tuple(sorted(copies)) for copies in way.all()}


def first(members: Iterable[str]) -> list[str]:
    """The lowest of these addresses, if there is any."""
    return sorted(members, key=IPv4Address)[:1]


@dataclass(frozen=True)
class _Way:
    """The way of one frame."""

    state: State
    memory: Memory
    probe: Probe
    faults: frozenset[Fault]

    def all(self) -> Iterator[list[Copy]]:
        entries = list(self._from_port() if self.probe.vni == LOCAL else self._from_tunnel())
        for name, place, tags in entries:
            yield from self._switched(name, place, tags)
        if self.probe.vni == 0 and Fault.KEY_ZERO in self.faults:
            vteps = {ip for bridge in self.memory.bridges.values() for ip in bridge.tunnels}
            others = vteps - {self.probe.at}
            yield [Copy(ip, 0, self.probe.tags) for ip in others if others != vteps]
        elif not entries:
            yield []

    def _from_port(self) -> Iterator[tuple[str, Place, Tags]]:
        """Which logical switch takes it, from where, and with which tags left."""
        port, tags = self.probe.at, self.probe.tags
        exact = (port, tags[0] if tags else 0)
        untagged = (port, 0)
        if tags and untagged in self.state.bindings and Fault.UNTAGGED_TAKES_ALL in self.faults:
            yield self.state.bindings[untagged], untagged, tags
        elif exact in self.state.bindings:
            yield self.state.bindings[exact], exact, tags[1:]

    def _from_tunnel(self) -> Iterator[tuple[str, None, Tags]]:
        ip, vni, tags = self.probe.at, self.probe.vni, self.probe.tags
        names = {*self.state.switches, *self._kept()}
        return ((name, None, tags) for name in names if self._keys(name).get(ip) == vni)

    def _kept(self) -> frozenset[str]:
        return self.memory.empty() if Fault.LAST_BINDING_MOVES in self.faults else frozenset()

    def _switch(self, name: str) -> Switch:
        return self.memory.bridges[name].wanted if name in self._kept() else self.state.switches[name]

    def _relays(self, name: str) -> bool:
        """Whether it passes on to VTEPs what comes from one; for that, ovs-vtep has to have a bridge for it."""
        return Fault.TUNNEL_TO_TUNNEL in self.faults and bool(self.state.places(name) or name in self._kept())

    def _bridge(self, name: str) -> Bridge:
        return self.memory.bridges.get(name, Bridge())

    def _keys(self, name: str) -> dict[str, int]:
        """The VTEPs of a logical switch, and with which VNI each is spoken to."""
        if Fault.OLD_KEY in self.faults or name in self._kept():
            return self._bridge(name).tunnels
        switch = self._switch(name)
        return {} if switch.key is None else dict.fromkeys(switch.vteps, switch.key)

    def _switched(self, name: str, place: Place | None, tags: Tags) -> Iterator[list[Copy]]:
        """What a logical switch does with it."""
        dst, keys = self.probe.dst, self._keys(name)
        remote = {mac: ip for mac, ip in self._switch(name).macs.items() if ip in keys}
        at = {station(each): each for each in self.state.places(name)}
        if dst in at:
            yield [self._out(at[dst], tags)] if at[dst] != place else []
            return
        if dst in self._bridge(name).learned:
            if dst in remote and Fault.REMOTE_NOT_RESTORED in self.faults:
                yield []
                return
            if dst not in remote and Fault.LEARNED_AT_NO_BINDING in self.faults:
                yield []
        if dst in remote and (place or self._relays(name)):
            yield self._to(name, {remote[dst]}, tags)
            return
        for members in self._members(name, place):
            local = [self._out(each, tags) for each in self._flooded(name) if each != place]
            yield local + self._to(name, members, tags)

    def _members(self, name: str, place: Place | None) -> Iterator[Collection[str]]:
        """The VTEPs that get a copy of what is flooded: one of the answers."""
        switch = self._switch(name)
        if not place and (
            not self._relays(name) or self.probe.at in switch.unknown or self.probe.at in self._bridge(name).former
        ):
            yield []
        elif switch.mode == "source_node" or not switch.unknown:
            yield switch.unknown
        elif Fault.ARBITRARY_SERVICE_NODE in self.faults:
            yield from ([ip] for ip in switch.unknown)
        else:
            yield first(switch.unknown)

    def _flooded(self, name: str) -> frozenset[Place]:
        """The bindings that get a copy of what is flooded."""
        places = self.state.places(name)
        if self.probe.vni != LOCAL and Fault.FORMER_UNKNOWN_DST in self.faults:
            return self._bridge(name).former.get(self.probe.at, places)
        return places

    def _to(self, name: str, ips: Collection[str], tags: Tags) -> list[Copy]:
        keys = self._keys(name)
        return [Copy(ip, keys[ip], tags) for ip in ips if ip in keys and ip != self.probe.at]

    def _out(self, place: Place, tags: Tags) -> Copy:
        port, vlan = place
        rest = tags[1:] if Fault.TAG_IS_OVERWRITTEN in self.faults else tags
        return Copy(port, LOCAL, (vlan, *rest) if vlan else tags)
