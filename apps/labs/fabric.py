"""A fabric of four VTEPs: two tenants with the same addresses, in VLANs of each rack, and copies made at the source."""

import sys

from apps.labs.machine import Host, Machine
from apps.labs.session import Lab, main

LEAVES = range(1, 5)
VLANS = {"red": (10, 10, 110, 110), "blue": (20, 20, 20, 20)}
"""The VLAN of each tenant in each rack."""


class Fabric(Lab):
    """Four switches (leaf1 to leaf4) with a rack below each, in which a red and a blue host have VLANs of their own
    (red1, blue1 to red4, blue4), and the NVC's machine (nvc); all are on the network 10.2.2.0/24."""

    page = "lab-fabric.rst"

    def build(self) -> None:
        self.leaves = [self.machine(f"leaf{number}") for number in LEAVES]
        self.nvc = self.net.addHost("nvc", cls=Host, ip=None)
        self.connect_underlay(*self.leaves, self.nvc)
        for number, leaf in zip(LEAVES, self.leaves, strict=True):
            self.net.addLink(leaf, leaf, intfName1="p0", intfName2="uplink")
            for tenant, colour in enumerate(VLANS, start=1):
                mac = f"00:00:00:00:{tenant:02x}:{number:02x}"
                host = self.host(f"{colour}{number}", ip=f"192.168.1.{number}/24", mac=mac)
                self.net.addLink(leaf, host, intfName1=colour, intfName2="eth0")

    def configure(self) -> None:
        self.nvc.do("ip address add 10.2.2.100/24 dev eth0")
        self.nvc.offload_off("eth0")
        for number, leaf in zip(LEAVES, self.leaves, strict=True):
            leaf.start_open_vswitch("conf", "vtep")
            leaf.put_underlay_on_a_bridge("eth0", f"10.2.2.{number}/24")
            self._make_rack(number, leaf)
            leaf.do("vtep-ctl set-manager ptcp:6640")
            leaf.start_vtep(f"10.2.2.{number}", "p0")
        for leaf in self.leaves:
            leaf.do("wait")

    def _make_rack(self, number: int, leaf: Machine) -> None:
        """The switch of the rack: an access port for each tenant, and a trunk to the VTEP."""
        access = " ".join(f"-- add-port rack {colour} tag={VLANS[colour][number - 1]}" for colour in VLANS)
        leaf.do(f"ovs-vsctl add-br rack -- set Bridge rack datapath_type=netdev -- add-port rack uplink {access}")
        leaf.offload_off("uplink", *VLANS)
        for colour in VLANS:
            self.net[f"{colour}{number}"].offload_off("eth0")


if __name__ == "__main__":
    sys.exit(main(Fabric))
