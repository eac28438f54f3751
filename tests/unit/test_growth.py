"""What has come and gone leaves nothing behind: not even an empty place for it."""

import gc
from types import FunctionType, ModuleType

from tests.unit.world import World, text
from vtep_ryu.core.render import render

ROUNDS = 20
BEFORE = text("""
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0
    logical_switch ls0 tunnel_key=5000
    ucast_remote ls0 02:00:00:00:00:01 10.2.2.2
    port p0 1
    station ls0 02:00:00:00:00:aa p0 0
""")


def others(n: int) -> str:
    """Rows, ports and stations like none of another round."""
    ip, mac = f"10.3.0.{n}", f"00:00:00:{n:02x}"
    return text(f"""
        physical_switch br0 tunnel_ips=10.2.2.1
        physical_port p{n} 0=ls{n} 10=lt{n} 4095=lt{n}
        physical_port q{n} 0=ls{n} acls=0
        physical_port r{n} 0=lu{n}
        logical_switch ls{n} tunnel_key={6000 + n} replication_mode=source_node
        logical_switch lt{n} tunnel_key={6000 + n}
        logical_switch lu{n}
        logical_router lr{n}
        ucast_remote ls{n} 02:00:{mac} {ip}/7000
        ucast_remote lt{n} 02:00:{mac} {ip}/7000
        ucast_remote lt{n} 02:01:{mac} {ip}
        ucast_remote lu{n} 02:02:{mac} {ip}/0
        mcast_remote ls{n} unknown-dst {ip} 10.2.2.2
        mcast_remote lt{n} 01:00:5e:00:00:{n:02x} {ip}/7001
        tunnel 10.2.2.1 {ip} enable=true
        port p{n} {10 + n}
        port q{n} {50 + n}
        station ls{n} 04:00:{mac} p{n} 0
        station ls{n} 04:01:{mac} q{n} 0
        station lt{n} 04:02:{mac} p{n} 10
    """)


def become(world: World, state: str) -> None:
    """Take a world to a state, and do what follows from that on a switch and in the databases."""
    world.become(state)
    vtep = world.vtep
    for unit in vtep.dirty:
        render(vtep, unit)
    vtep.dirty.clear()
    vtep.settle()
    vtep.faults()
    vtep.news()
    vtep.sessions.news()
    vtep.sessions.release()
    vtep.sessions.ports()


def containers(world: World) -> list[str]:
    """All that a VTEP and its database hold, in containers that can grow."""
    found, left, seen = [], [world.vtep, world.database], set[int]()
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, type | ModuleType | FunctionType):
            continue
        seen.add(id(each))
        left += gc.get_referents(each)
        if isinstance(each, dict | set | list) and gc.is_tracked(each):
            found.append(f"{type(each).__name__} of {len(each)}")
    return sorted(found)


def test_what_comes_and_goes_leaves_nothing_behind() -> None:
    world, found = World(BEFORE), list[list[str]]()
    for n in range(ROUNDS):
        become(world, others(n))
        become(world, BEFORE)
        found.append(containers(world))
    assert found[-1] == found[0]
