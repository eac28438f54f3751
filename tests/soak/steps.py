"""What may happen, step by step, each drawn from a seed and its number alone: the same seed, the same steps."""

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from math import inf
from random import Random

from tests.soak.nvc import STEADY
from tests.soak.site import (
    ELSEWHERE,
    HARDWARE_VTEP,
    HYPERVISOR,
    OPEN_VSWITCH,
    PARTS,
    PORTS,
    PROGRAM,
    VSWITCHD,
    Site,
)
from tests.system.nvc import UNSET, Locator
from tests.system.traffic import VNI
from vtep_ryu.core.model import UNKNOWN_DST

SWITCHES = ("r0", "r1", "r2", "r3")
VLANS = (0, 10, 20, 4095)
"""The last one is no VLAN."""
PEERS = (HYPERVISOR, "10.2.2.7", "10.2.2.8", "10.2.2.10", "10.2.2.11")
BAD_IP = "fd00::7"
KEYS = (0, 6000, 6001, 6002, 1 << 24)
LOCATOR_KEYS = (0, 6002, 7000, 7001)
MULTICAST = ("01:00:5e:00:00:01", "33:33:00:00:00:01", UNKNOWN_DST)
REMOTES = tuple(f"02:99:00:00:00:{n:02x}" for n in range(40))
MOVERS = (*(f"02:50:00:00:00:{n:02x}" for n in range(4)), *REMOTES[:4])
"""Stations that are seen here and there, some of which the NVC has elsewhere, too."""
BAD_MACS = ("02:00:00:00:99", "03:00:00:00:00:01")
ENDS = (signal.SIGTERM, signal.SIGKILL)
FEW = 5
"""When any link goes up or down, ovs-vswitchd 3.1 reads its routes anew, and has none for tunnels for a moment."""
STATIONS = 40
"""How many new stations come at once, at most."""


@dataclass(frozen=True)
class Step:
    """Something that happens: in words, how it is done, and how many packets may be lost."""

    text: str
    act: Callable[[Site], object]
    may_lose: float = 0
    kind: str = ""


Drawn = Callable[[Random], Step]

# What the NVC writes.


def switch(random: Random) -> Step:
    """A logical switch comes, or has another key and mode."""
    name, key = random.choice(SWITCHES), random.choice((None, *KEYS))
    mode = random.choice((None, "service_node", "source_node"))
    columns = {"tunnel_key": UNSET if key is None else key, "replication_mode": UNSET if mode is None else mode}
    return Step(f"{name}: tunnel_key {key}, {mode}", lambda site: site.nvc.switch(name, **columns))


def steady_mode(random: Random) -> Step:
    """The logical switch of the traffic replicates otherwise."""
    mode = random.choice(("service_node", "source_node"))
    return Step(f"{STEADY}: {mode}", lambda site: site.nvc.switch(STEADY, replication_mode=mode, tunnel_key=VNI))


def bindings(random: Random) -> Step:
    """A port is bound otherwise."""
    port = random.choice(PORTS)
    names = (*SWITCHES, STEADY)
    wanted = {vlan: random.choice(names) for vlan in VLANS if random.random() < (0.1 if vlan == VLANS[-1] else 0.6)}
    return Step(f"{port}: bindings {wanted}", lambda site: site.nvc.bindings(port, wanted))


def macs(random: Random) -> Step:
    """Remote addresses come, or are elsewhere."""
    name, some = random.choice((*SWITCHES, STEADY)), random.sample(REMOTES, random.randint(1, len(REMOTES)))
    bad = random.sample(BAD_MACS, random.choice((0, 0, 0, 1)))
    wanted = {mac: locator(random) for mac in (*some, *bad)}
    return Step(f"{name}: {len(wanted)} remote addresses", lambda site: site.nvc.macs(name, wanted))


def no_macs(random: Random) -> Step:
    """Remote addresses go."""
    name, some = random.choice((*SWITCHES, STEADY)), random.sample(REMOTES, random.randint(1, len(REMOTES)))
    return Step(f"{name}: not {len(some)} remote addresses", lambda site: site.nvc.no_macs(name, (*some, *BAD_MACS)))


def members(random: Random) -> Step:
    """A multicast address, or unknown-dst, has other members, or none."""
    name, mac = random.choice((*SWITCHES, STEADY)), random.choice(MULTICAST)
    wanted = list(dict.fromkeys(locator(random) for _ in range(random.randint(0, 5))))
    text = f"{name}: {mac} at {', '.join(map(str, wanted)) or 'nobody'}"
    return Step(text, lambda site: site.nvc.members(name, mac, wanted))


def key_of_locator(random: Random) -> Step:
    """A locator has another key."""
    before, key = locator(random), random.choice((None, *LOCATOR_KEYS))
    return Step(f"locator {before}: tunnel_key {key}", lambda site: site.nvc.key_of_locator(before, key))


def bfd(random: Random) -> Step:
    """BFD is enabled or disabled, here and maybe at the other end."""
    remote, enable = random.choice((HYPERVISOR, *PEERS)), random.choice((True, False))
    params = {"enable": enable, "min_rx": random.choice((100, 300, 1000)), "min_tx": random.choice((100, 300))}
    there = random.choice((True, True, False))

    def act(site: Site) -> None:
        site.nvc.bfd(remote, **params)
        if remote == HYPERVISOR:
            site.hypervisor.vsctl("set", "Interface", "vx", f"bfd:enable={str(there).lower()}", "bfd:min_tx=100")

    return Step(f"tunnel to {remote}: BFD {params}, there {there}", act)


def router(random: Random) -> Step:
    """A logical router, which is not supported, comes or goes."""
    there = random.choice((True, False))
    return Step(f"logical router: {there}", lambda site: site.nvc.router(there))


def locator(random: Random) -> Locator:
    """Another VTEP, with a key of its own or without."""
    ip = random.choice(PEERS) if random.random() < 0.97 else BAD_IP
    return (ip, random.choice(LOCATOR_KEYS)) if random.random() < 0.3 else ip


CHANGES: Mapping[Drawn, int] = {
    switch: 4,
    steady_mode: 1,
    bindings: 5,
    macs: 5,
    no_macs: 3,
    members: 5,
    key_of_locator: 2,
    bfd: 3,
    router: 1,
}
"""What can be written whoever is away, and how often it is."""


def changes(random: Random, most: int, least: int = 0) -> tuple[str, Callable[[Site], None]]:
    """Some changes, in words and as an action."""
    drawn = random.choices(list(CHANGES), list(CHANGES.values()), k=random.randint(least, most))
    steps = [kind(random) for kind in drawn]

    def act(site: Site) -> None:
        for step in steps:
            step.act(site)
        if steps:
            site.nvc.note()

    return "".join(f"; {step.text}" for step in steps), act


def change(random: Random) -> Step:
    """The NVC writes something."""
    drawn = random.choices(list(CHANGES), list(CHANGES.values()))[0](random)

    def act(site: Site) -> None:
        drawn.act(site)
        site.nvc.note()

    return Step(drawn.text, act)


def burst(random: Random) -> Step:
    """The NVC writes one thing after the other."""
    text, act = changes(random, 12, least=2)
    return Step(f"at once{text}", act)


def no_switch(random: Random) -> Step:
    """A logical switch goes, with all that refers to it."""
    name = random.choice(SWITCHES)

    def act(site: Site) -> None:
        site.nvc.remove(name)
        site.nvc.note()

    return Step(f"{name}: deleted", act)


# Stations and their ports.


def stations(random: Random) -> Step:
    """New stations come, and are published if their VLAN is bound."""
    port, vlan, count = random.choice(PORTS), random.choice(VLANS[:-1]), random.randint(1, STATIONS)
    numbers = [random.getrandbits(24) for _ in range(count)]

    def act(site: Site) -> None:
        found = [f"02:60:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in numbers]
        site.send(port, vlan, *found)
        if bound := site.bound(port, vlan):
            site.node.wait_until(lambda: set(found) <= site.published(bound), 30, f"{count} stations to be published")

    return Step(f"{count} new stations at {port} VLAN {vlan}", act)


def movers(random: Random) -> Step:
    """Stations are seen at one place and then at others."""
    seen = [(random.choice(MOVERS), random.choice(PORTS), random.choice(VLANS[:-1])) for _ in range(6)]

    def act(site: Site) -> None:
        for mac, port, vlan in seen:
            site.send(port, vlan, mac)

    return Step(f"{len(seen)} stations move", act)


def cable(random: Random) -> Step:
    """A host is unplugged for a while."""
    port = random.choice(PORTS)
    text, meanwhile = changes(random, 2)

    def act(site: Site) -> None:
        site.hosts[port].unplug()
        meanwhile(site)
        site.hosts[port].plug()

    return Step(f"{port}: unplugged and plugged in{text}", act, FEW)


def port(random: Random) -> Step:
    """A port is taken out of the bridge and comes back."""
    name, seconds = random.choice(PORTS), random.choice((0, 0, 2))
    text, meanwhile = changes(random, 2)

    def act(site: Site) -> None:
        site.node.vsctl("del-port", "br0", name)
        meanwhile(site)
        time.sleep(seconds)
        site.node.vsctl("add-port", "br0", name)
        site.nvc.note()  # Without bindings a row goes, and another one comes.

    return Step(f"{name}: deleted, and added after {seconds} s{text}", act, FEW)


# What fails.


def restart(part: str, random: Random) -> Step:
    """A part ends and is started again."""
    how = random.choice(ENDS)
    text, meanwhile = changes(random, 3 if part != HARDWARE_VTEP else 0)

    def act(site: Site) -> None:
        site.end(part, how)
        meanwhile(site)
        site.start(part)

    return Step(f"{part}: {how.name}{text}", act, inf if part in (VSWITCHD, OPEN_VSWITCH) else 0)


def restart_all(random: Random) -> Step:
    """All parts end in some order, and start in another; ovs-vswitchd is started after its database."""
    ends = [(part, random.choice(ENDS)) for part in random.sample(PARTS, len(PARTS))]
    orders = [order for order in permutations(PARTS) if order.index(OPEN_VSWITCH) < order.index(VSWITCHD)]
    starts = random.choice(orders)

    def act(site: Site) -> None:
        for part, how in ends:
            site.end(part, how)
        for part in starts:
            site.start(part)

    return Step(f"all parts end, and start: {', '.join(starts)}", act, inf)


def hang(part: str, random: Random) -> Step:
    """A part hangs for a while; now and then for longer than is put up with."""
    seconds = random.choice((1, 2, 3, 3, 4, 17))
    text, meanwhile = changes(random, 3 if part != HARDWARE_VTEP else 0)

    def act(site: Site) -> None:
        with site.stopped(part, seconds):
            meanwhile(site)

    return Step(f"{part}: SIGSTOP for {seconds} s{text}", act, inf if part in (VSWITCHD, OPEN_VSWITCH) else 0)


def cut(random: Random) -> Step:
    """Connections of the program are cut, some in the middle of what is said then."""
    names = random.sample(("hardware_vtep", "open_vswitch", "switch"), random.randint(1, 3))
    after = random.choice((0, 0, 100, 5000))
    text, meanwhile = changes(random, 3)

    def act(site: Site) -> None:
        for name in names:
            if after:
                site.relays[name].cut_after(after)
            else:
                site.relays[name].cut()
        meanwhile(site)

    return Step(f"cut after {after} bytes: {', '.join(names)}{text}", act)


def hold(random: Random) -> Step:
    """Connections of the program are there, and carry nothing."""
    names = random.sample(("hardware_vtep", "open_vswitch", "switch"), random.randint(1, 3))
    seconds = random.choice((1, 2, 3, 3, 4, 17))
    text, meanwhile = changes(random, 3)

    def act(site: Site) -> None:
        with ExitStack() as stack:
            for name in names:
                site.relays[name].hold()
                stack.callback(site.relays[name].release)
            meanwhile(site)
            time.sleep(seconds)

    return Step(f"silent for {seconds} s: {', '.join(names)}{text}", act)


def controller(target: str | None, random: Random) -> Step:
    """The bridge is pointed elsewhere, or at nobody, and back."""
    seconds = random.choice((0, 1, 3))
    text, meanwhile = changes(random, 3)

    def act(site: Site) -> None:
        with site.controller(target):
            meanwhile(site)
            time.sleep(seconds)

    return Step(f"{target or 'no'} controller for {seconds} s{text}", act, inf if target is None else 0)


KINDS: Mapping[Drawn, int] = {
    change: 12,
    burst: 10,
    no_switch: 4,
    stations: 8,
    movers: 6,
    cable: 3,
    port: 3,
    cut: 8,
    hold: 3,
    partial(controller, ELSEWHERE): 2,
    partial(controller, None): 1,
    **{partial(hang, part): 1 for part in PARTS},
}
"""How often what ends no part is drawn."""
RESTARTS: Mapping[str, Drawn] = {part: partial(restart, part) for part in PARTS}
RESTART = 6
"""How often each part ends, where it does."""

PHASES = (frozenset({PROGRAM}), frozenset(PARTS) - {PROGRAM}, frozenset[str]())
"""The parts that stay in each third of a run: all live through each other's ends, long enough to see what grows."""


def phase(number: int, length: int) -> frozenset[str]:
    """The parts that do not end in a step, where a phase has so many steps."""
    return PHASES[min((number - 1) // length, len(PHASES) - 1)]


def draw(seed: int, number: int, length: int) -> Step:
    """The step with this number, from 1, where a phase has so many steps."""
    random, stay = Random(f"{seed} {number}"), phase(number, length)
    kinds = {**KINDS, **{kind: RESTART for part, kind in RESTARTS.items() if part not in stay}}
    if not stay:
        kinds[restart_all] = RESTART
    (kind,) = random.choices(list(kinds), list(kinds.values()))
    return replace(kind(random), kind=_name(kind))


def _name(kind: Drawn) -> str:
    """What steps of one kind have in common, in words."""
    if isinstance(kind, partial):
        return f"{kind.func.__name__}: {kind.args[0]}"
    return kind.__name__.replace("_", " ")  # type: ignore[attr-defined]
