"""The two datapaths of Open vSwitch, and what differs between them in a lab."""

import os
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from apps.lab.namespace import LabError
from apps.lab.underlay import Underlay

if TYPE_CHECKING:
    from apps.lab.node import Node

UNDERLAY_PORT = "eth1"
_CHECK = Path(__file__).parents[2] / "etc" / "check-datapath.sh"


class Datapath(ABC):
    """Where the frames of a machine are forwarded."""

    type: ClassVar[str]
    """The datapath_type of its bridges."""
    options: ClassVar[tuple[str, ...]]
    """What ovs-vswitchd is started with."""
    interface: ClassVar[str]
    """Which interface of a machine has its underlay address."""
    story: ClassVar[tuple[str, str]]
    """What the demo says of it, and of the interface."""

    @abstractmethod
    def attach(self, node: "Node", underlay: Underlay, mac: str) -> None:
        """Plug a machine into the underlay, so that `interface` is there."""

    @abstractmethod
    def learn(self, node: "Node", address: str, mac: str) -> None:
        """Tell a machine the MAC address of another on the underlay."""


class Userspace(Datapath):
    """In ovs-vswitchd itself; tunnels end at a bridge with the machine's underlay interface in it."""

    type = "netdev"
    options = ("--disable-system",)
    interface = "br-phy"
    story = (
        "It forwards in user space, so that no kernel module is needed.",
        """In user space the tunnel address sits on a bridge with eth1 in it, br-phy; on your own machine it would
        simply be an address of eth1.""",
    )

    def attach(self, node: "Node", underlay: Underlay, mac: str) -> None:
        """The bridge is plugged in by a port of its own."""
        underlay.plug(node, UNDERLAY_PORT)
        node.add_bridge(self.interface, f'other-config:hwaddr="{mac}"')
        mtu = f"mtu_request={underlay.mtu}"
        node.vsctl("add-port", self.interface, UNDERLAY_PORT, "--", "set", "Interface", self.interface, mtu)

    def learn(self, node: "Node", address: str, mac: str) -> None:
        """Into the switch's own neighbour table: it drops the first frame to a neighbour that is not there."""
        node.appctl("ovs-vswitchd", "tnl/neigh/set", self.interface, address, mac)


class Kernel(Datapath):
    """In the kernel's module openvswitch; addresses, routes and neighbours of tunnels are the machine's."""

    type = "system"
    options = ()
    interface = UNDERLAY_PORT
    story = ("It forwards in the kernel's module openvswitch.", "The tunnel address is one of eth1.")

    def attach(self, node: "Node", underlay: Underlay, mac: str) -> None:
        """The interface itself has the address."""
        underlay.plug(node, self.interface, mac)

    def learn(self, node: "Node", address: str, mac: str) -> None:
        """So that nobody asks for it by ARP, as in user space."""
        node.ip("neighbour", "replace", address, "lladdr", mac, "dev", self.interface)


_DATAPATHS = {each.type: each for each in (Userspace(), Kernel())}


def chosen() -> Datapath:
    """The one whose type the environment variable VTEP_DATAPATH names, by default the userspace datapath.

    Raises LabError when there is none of this name, or this machine cannot use it.
    """
    name = os.environ.get("VTEP_DATAPATH", Userspace.type)
    check = subprocess.run([_CHECK, name], capture_output=True, text=True, check=False)
    if check.returncode:
        raise LabError(check.stderr.strip())
    return _DATAPATHS[name]
