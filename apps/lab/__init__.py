"""Virtual networks around the VTEP: real Open vSwitch, real hosts, real frames, on one machine.

A `Lab` owns everything that it makes and removes it again. It only runs under apps/isolate, so that
nothing survives even when the lab itself is killed:

    with Lab() as lab:
        one = lab.node("s1", underlay="10.2.2.1/24")
        two = lab.node("s2", underlay="10.2.2.2/24")
        left = one.add_port("p0", address="192.168.1.1/24")
        right = two.add_port("p0", address="192.168.1.2/24")
        one.start_app()
        ...
        assert left.ping(right) == 3
"""

from apps.lab.daemons import App, Daemon, OvsVtep
from apps.lab.frames import Frame, Tag, Vxlan
from apps.lab.host import Host
from apps.lab.namespace import LabError, Namespace, run, wait_until
from apps.lab.network import Lab
from apps.lab.node import Node
from apps.lab.underlay import KernelVtep, Peer, Underlay
from apps.lab.wire import Capture

__all__ = [
    "App",
    "Capture",
    "Daemon",
    "Frame",
    "Host",
    "KernelVtep",
    "Lab",
    "LabError",
    "Namespace",
    "Node",
    "OvsVtep",
    "Peer",
    "Tag",
    "Underlay",
    "Vxlan",
    "run",
    "wait_until",
]
