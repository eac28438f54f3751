"""A VTEP that several test modules use: three bindings in two logical switches, two remote rows, three stations."""

from tests.unit.world import World, logical
from vtep_ryu.core.model import Place

LS0, LS1 = logical("ls0"), logical("ls1")
P0, P0_TAGGED, P1 = Place("p0", 0), Place("p0", 10), Place("p1", 0)
A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
REMOTE_MAC, GROUP = "02:00:00:00:00:01", "01:00:5e:00:00:01"
BASE = """
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0 10=ls1
    physical_port p1 0=ls0
    logical_switch ls0 tunnel_key=5000
    logical_switch ls1
    port p0 1
    port p1 2
    port vtep-0a020201 9
    """
REMOTE = f"""
    ucast_remote ls0 {REMOTE_MAC} 10.2.2.2
    mcast_remote ls0 unknown-dst 10.2.2.2
    mcast_remote ls0 {GROUP} 10.2.2.2
    """
LEARNED = f"""
    station ls0 {A} p0 0
    station ls0 {B} p1 0
    station ls1 {A} p0 10
    """


def entry(world: World, switch: str, place: Place, mac: str, note: int = 0) -> tuple[int, int, str, int]:
    """A station as its entry in the learn table names it."""
    return (*world.ids(switch, place), mac, note)
