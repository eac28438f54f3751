"""The frames that both are compared by, and what becomes of one: pure values."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from apps.lab import Frame, Tag, Vxlan
from apps.lab.frames import BROADCAST
from tests.differential.steps import FIRST_KEY, PEERS, PLACES, PORTS, REMOTE_MACS, STATIONS, State, station

STRANGER = "10.2.2.66"
"""An address that no row ever names."""
MULTICAST = "01:00:5e:01:02:03"
UNKNOWN = "02:99:00:00:00:ff"
NEVER_BOUND = 9
INNER = 7

Tags = tuple[int, ...]
"""The VLAN ids of a frame's tags, outermost first."""


@dataclass(frozen=True, order=True)
class Copy:
    """A frame where it arrives: at a port's host with these tags, or at a VTEP with this VNI, the tags inside."""

    at: str
    vni: int
    tags: Tags

    def __str__(self) -> str:
        vni = f" vni {self.vni}" if self.vni >= 0 else ""
        return f"{self.at}{vni}{''.join(f' vlan {vid}' for vid in self.tags)}"


LOCAL = -1
"""The VNI of a copy at a port."""
Outcome = tuple[Copy, ...]
"""All copies of a frame, in order."""


@dataclass(frozen=True)
class Probe:
    """A frame that is sent into a port (vni is LOCAL), or by a VTEP to ours."""

    at: str
    vni: int
    tags: Tags
    src: str
    dst: str

    def __str__(self) -> str:
        return f"{self.src} > {self.dst} from {Copy(self.at, self.vni, self.tags)}"

    def frame(self, payload: bytes) -> Frame:
        """It as a frame with this payload."""
        return Frame(self.dst, self.src, payload, tags=tuple(map(Tag, self.tags)))


def arrived(port: str, frame: Frame) -> tuple[Frame, Copy]:
    """What arrived at a host: the frame, without tags, and where."""
    return frame.tagged(), Copy(port, LOCAL, tuple(tag.vid for tag in frame.tags))


def tunnelled(ip: str, outer: Frame) -> tuple[Frame, Copy] | None:
    """The same of a datagram at a VTEP; None where it is not for it."""
    datagram = Vxlan.parse(outer)
    if not datagram or datagram.destination != ip:
        return None
    inner, copy = arrived(ip, datagram.frame)
    return inner, Copy(copy.at, datagram.vni, copy.tags)


def draw(state: State, seed: int) -> list[Probe]:
    """Frames for a state: of every kind some, into every port and from every VTEP."""
    random = Random(seed)
    strays = (f"02:77:00:00:{n >> 8:02x}:{n & 255:02x}" for n in count())
    return [*_from_ports(state, random, strays), *_from_tunnels(state, random, strays)]


def _from_ports(state: State, random: Random, strays: Iterator[str]) -> Iterator[Probe]:
    """Each binding's station sends to all kinds of addresses; what no binding takes comes from addresses of its own."""
    known = sorted({*STATIONS, *REMOTE_MACS})
    for place in PLACES:
        port, vlan = place
        tags = (vlan,) if vlan else ()
        if place in state.bindings:
            for dst in (BROADCAST, MULTICAST, UNKNOWN, *_there(state, state.bindings[place]), *random.sample(known, 3)):
                yield Probe(port, LOCAL, tags, station(place), dst)
            yield Probe(port, LOCAL, (vlan, INNER) if vlan else (0,), station(place), BROADCAST)
        else:
            for dst in (BROADCAST, random.choice(known)):
                yield Probe(port, LOCAL, tags, next(strays), dst)
    for port in PORTS:
        yield Probe(port, LOCAL, (NEVER_BOUND,), next(strays), BROADCAST)


def _there(state: State, name: str) -> list[str]:
    """The addresses that a logical switch knows."""
    return sorted({*map(station, state.places(name)), *state.switches[name].macs})


def _from_tunnels(state: State, random: Random, strays: Iterator[str]) -> Iterator[Probe]:
    """Every VTEP, and one that nobody names, sends in every VNI that is or was used, and in some that never were."""
    known = sorted({*STATIONS, *REMOTE_MACS})
    used = {switch.key: name for name, switch in state.switches.items() if switch.key is not None}
    for ip in (*PEERS, STRANGER):
        for key, name in used.items():
            for dst in (BROADCAST, MULTICAST, UNKNOWN, *_there(state, name), random.choice(known)):
                yield Probe(ip, key, (), next(strays), dst)
            yield Probe(ip, key, (INNER,), next(strays), BROADCAST)
            yield Probe(ip, key, (), random.choice(STATIONS), BROADCAST)
        for key in (*sorted(state.keys - used.keys()), FIRST_KEY - 1, 0):
            for dst in (BROADCAST, random.choice(known)):
                yield Probe(ip, key, (), next(strays), dst)


def lessons(state: State) -> list[Probe]:
    """Every machine behind a binding lets itself be known."""
    return [
        Probe(port, LOCAL, (vlan,) if vlan else (), station((port, vlan)), BROADCAST)
        for port, vlan in sorted(state.bindings)
    ]


def stations(state: State) -> frozenset[tuple[str, str]]:
    """The addresses that are to be published then, each with its logical switch."""
    return frozenset((name, station(place)) for place, name in state.bindings.items())
