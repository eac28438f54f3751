"""What a controller may do, step by step, and what it wants in the end: pure values, drawn from a seed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import ClassVar, Self

PORTS = ("p0", "p1", "p2")
VLANS = (0, 5, 6)
PEERS = ("10.2.2.7", "10.2.2.8", "10.2.2.9")
REMOTE_MACS = tuple(f"02:99:00:00:00:{n:02x}" for n in range(1, 5))
MODES = ("service_node", "source_node")
DRIVERS = ("vtep-ctl", "ovsdbapp")
FIRST_KEY = 5001

Place = tuple[str, int]
"""A VLAN of a port; VLAN 0 is untagged."""
PLACES = tuple((port, vlan) for port in PORTS for vlan in VLANS)


def station(place: Place) -> str:
    """The address of the machine behind a VLAN of a port."""
    port, vlan = place
    return f"02:50:00:00:{PORTS.index(port):02x}:{vlan:02x}"


STATIONS = tuple(map(station, PLACES))


@dataclass(frozen=True)
class Switch:
    """A logical switch as the controller wants it; a mode that is None is not written."""

    key: int | None
    mode: str | None
    macs: Mapping[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()

    @property
    def vteps(self) -> frozenset[str]:
        """The VTEPs that any row of it names."""
        return self.unknown | frozenset(self.macs.values())


@dataclass(frozen=True)
class State:
    """What the database says once some steps are done, and what of the past restricts further ones."""

    switches: Mapping[str, Switch] = field(default_factory=dict)
    bindings: Mapping[Place, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    keys: frozenset[int] = frozenset()
    in_use: frozenset[str] = frozenset()

    def places(self, name: str) -> frozenset[Place]:
        """What is bound to a logical switch."""
        return frozenset(place for place, bound in self.bindings.items() if bound == name)

    def with_switch(self, name: str, **changes: object) -> "State":
        """With a logical switch changed."""
        return replace(self, switches={**self.switches, name: replace(self.switches[name], **changes)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Step:
    """One transaction, and by which tool it is made."""

    by: str

    word: ClassVar[str]

    def after(self, state: State) -> State | None:
        """The state that it leads to; None where it cannot be done, or where nothing would change."""
        raise NotImplementedError

    @classmethod
    def draw(cls, random: Random, state: State) -> Self:
        """One that may be possible."""
        raise NotImplementedError

    def __str__(self) -> str:
        values = (getattr(self, each.name) for each in fields(self))
        by, *arguments = ("-" if value is None else str(value) for value in values)
        return " ".join((by, self.word, *arguments))


@dataclass(frozen=True)
class Check(Step):
    """Both are given the time to follow, and are compared."""

    word = "check"

    def after(self, state: State) -> State:
        return replace(state, in_use=frozenset(state.bindings.values()))


@dataclass(frozen=True)
class AddSwitch(Step):
    """A new logical switch. Neither a name nor a key is used twice: what ovs-vtep leaves behind is told by them."""

    name: str
    key: int | None
    mode: str | None
    word = "add-switch"

    def after(self, state: State) -> State | None:
        if self.name in state.names or self.key in state.keys or len(state.switches) > 2:
            return None
        keys = state.keys | ({self.key} if self.key is not None else set())
        switches = {**state.switches, self.name: Switch(self.key, self.mode)}
        return replace(state, switches=switches, names=state.names | {self.name}, keys=keys)

    @classmethod
    def draw(cls, random: Random, state: State) -> Self:
        key = None if random.random() < 0.2 else FIRST_KEY + len(state.keys)
        return cls(random.choice(DRIVERS), f"ls{len(state.names)}", key, random.choice((None, *MODES)))


@dataclass(frozen=True)
class OfSwitch(Step):
    """A step that concerns one logical switch."""

    name: str

    def after(self, state: State) -> State | None:
        after = self.changed(state, state.switches[self.name]) if self.name in state.switches else None
        return after if after != state else None

    def changed(self, state: State, switch: Switch) -> State | None:
        """The state that it leads to from one in which the logical switch is this."""
        raise NotImplementedError

    @classmethod
    def draw(cls, random: Random, state: State) -> Self:
        return cls(random.choice(DRIVERS), random.choice(sorted(state.switches) or ["ls0"]), *cls.drawn(random, state))

    @classmethod
    def drawn(cls, random: Random, state: State) -> Iterator[object]:
        """What it needs to know besides."""
        return iter(())


@dataclass(frozen=True)
class DelSwitch(OfSwitch):
    """Delete a logical switch that nothing refers to; its last binding was gone when both were last compared."""

    word = "del-switch"

    def changed(self, state: State, switch: Switch) -> State | None:
        if switch.vteps or self.name in state.in_use:
            return None
        return replace(state, switches={name: each for name, each in state.switches.items() if name != self.name})


@dataclass(frozen=True)
class SetKey(OfSwitch):
    """Give a logical switch another tunnel key."""

    key: int
    word = "set-key"

    def changed(self, state: State, switch: Switch) -> State | None:
        if self.key in state.keys:
            return None
        return replace(state.with_switch(self.name, key=self.key), keys=state.keys | {self.key})

    @classmethod
    def drawn(cls, random: Random, state: State) -> Iterator[object]:
        yield FIRST_KEY + len(state.keys)


@dataclass(frozen=True)
class SetMode(OfSwitch):
    """Set the replication mode of a logical switch, or clear it."""

    mode: str | None
    word = "set-mode"

    def changed(self, state: State, switch: Switch) -> State:
        return state.with_switch(self.name, mode=self.mode)

    @classmethod
    def drawn(cls, random: Random, state: State) -> Iterator[object]:
        yield random.choice((None, *MODES))


@dataclass(frozen=True)
class AddMac(OfSwitch):
    """Add a remote address: one of another VTEP's machines, or one that is also behind a port of ours."""

    mac: str
    ip: str
    word = "add-mac"

    def changed(self, state: State, switch: Switch) -> State | None:
        if self.mac in switch.macs:
            return None
        return state.with_switch(self.name, macs={**switch.macs, self.mac: self.ip})

    @classmethod
    def drawn(cls, random: Random, state: State) -> Iterator[object]:
        yield random.choice(REMOTE_MACS * 4 + STATIONS)
        yield random.choice(PEERS)


@dataclass(frozen=True)
class DelMac(OfSwitch):
    """Delete a remote address."""

    mac: str
    word = "del-mac"

    def changed(self, state: State, switch: Switch) -> State:
        return state.with_switch(self.name, macs={mac: ip for mac, ip in switch.macs.items() if mac != self.mac})

    @classmethod
    def drawn(cls, random: Random, state: State) -> Iterator[object]:
        yield random.choice(sorted({mac for each in state.switches.values() for mac in each.macs}) or REMOTE_MACS)


@dataclass(frozen=True)
class AddUnknown(OfSwitch):
    """Add a VTEP to unknown-dst."""

    ip: str
    word = "add-unknown"

    def changed(self, state: State, switch: Switch) -> State:
        return state.with_switch(self.name, unknown=switch.unknown | {self.ip})

    @classmethod
    def drawn(cls, random: Random, state: State) -> Iterator[object]:
        yield random.choice(PEERS)


@dataclass(frozen=True)
class DelUnknown(AddUnknown):
    """Take a VTEP out of unknown-dst; with the last one the row goes."""

    word = "del-unknown"

    def changed(self, state: State, switch: Switch) -> State:
        return state.with_switch(self.name, unknown=switch.unknown - {self.ip})


@dataclass(frozen=True)
class Bind(OfSwitch):
    """Bind a VLAN of a port.

    Either VLAN 0 of a port is bound or others are: with both, it is chance to which of them ovs-vtep takes a frame.
    """

    port: str
    vlan: int
    word = "bind"

    def changed(self, state: State, switch: Switch) -> State | None:
        if any(port == self.port and 0 in (vlan, self.vlan) for port, vlan in state.bindings):
            return None
        return self.bound(state) if (self.port, self.vlan) not in state.bindings else None

    def bound(self, state: State) -> State:
        """With the binding as it is then."""
        bindings = {**state.bindings, (self.port, self.vlan): self.name}
        return replace(state, bindings=bindings, in_use=state.in_use | {self.name})

    @classmethod
    def drawn(cls, random: Random, state: State) -> Iterator[object]:
        yield random.choice(PORTS)
        yield random.choice(VLANS)


@dataclass(frozen=True)
class Rebind(Bind):
    """Bind a VLAN of a port that is bound already to another logical switch."""

    word = "rebind"

    def changed(self, state: State, switch: Switch) -> State | None:
        return self.bound(state) if (self.port, self.vlan) in state.bindings else None


@dataclass(frozen=True)
class Unbind(Step):
    """Take the binding of a VLAN of a port away."""

    port: str
    vlan: int
    word = "unbind"

    def after(self, state: State) -> State | None:
        place = (self.port, self.vlan)
        if place not in state.bindings:
            return None
        return replace(state, bindings={each: name for each, name in state.bindings.items() if each != place})

    @classmethod
    def draw(cls, random: Random, state: State) -> Self:
        return cls(random.choice(DRIVERS), *random.choice(sorted(state.bindings) or PLACES))


KINDS: Mapping[type[Step], int] = {
    AddSwitch: 2,
    DelSwitch: 3,
    SetKey: 1,
    SetMode: 3,
    AddMac: 5,
    DelMac: 3,
    AddUnknown: 5,
    DelUnknown: 4,
    Bind: 7,
    Rebind: 4,
    Unbind: 3,
}
"""How often each is drawn."""
BEGINNING = (AddSwitch, AddSwitch, *[Bind] * 3, *[AddUnknown] * 3, *[AddMac] * 2)
WORDS = {kind.word: kind for kind in (*KINDS, Check)}
CHECK = Check("both")


def generate(seed: int, checks: int = 3, length: int = 10) -> "Case":
    """The sequence that this seed always leads to: steps that can be done, in parts that end with a check.

    One with fewer checks is the beginning of one with more.
    """
    random, state, made = Random(seed), State(), list[Step]()

    def add(kinds: Mapping[type[Step], int]) -> None:
        nonlocal state
        after = None
        while after is None:
            (kind,) = random.choices(list(kinds), list(kinds.values()))
            step = kind.draw(random, state)
            after = step.after(state)
        made.append(step)
        state = after

    for kind in BEGINNING:
        add({kind: 1})
    for _ in range(checks):
        for _ in range(length):
            add(KINDS)
        made.append(CHECK)
        state = CHECK.after(state)
    return Case(seed, tuple(made))


def possible(steps: Iterable[Step]) -> Iterator[tuple[Step, State]]:
    """The steps of a sequence that can be done once others have been left out, each with the state it leads to."""
    state = State()
    for step in steps:
        if after := step.after(state):
            state = after
            yield step, state


@dataclass(frozen=True)
class Case:
    """A sequence, and the seed that the frames are drawn from."""

    seed: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in (f"seed {self.seed}", *self.steps))

    @classmethod
    def read(cls, text: str) -> "Case":
        """The case that is written like this, a line a step."""
        (_, seed), *rest = (line.split() for line in text.splitlines() if line.strip())
        return cls(int(seed), tuple(map(_parse, rest)))


def _parse(words: list[str]) -> Step:
    by, word, *rest = words
    values = [None if value == "-" else int(value) if value.isdecimal() else value for value in rest]
    return WORDS[word](by, *values)
