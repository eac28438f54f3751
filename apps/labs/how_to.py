"""Open vSwitch's "How to Use the VTEP Emulator": one machine with nothing on it, and what it has to do with."""

import sys

from apps.labs.machine import Host
from apps.labs.session import Lab, main

VNI = 33


class HowTo(Lab):
    """A machine (host) with two virtual machines (vm1, vm2), the NVC's machine (nvc), and two other VTEPs (vtep2,
    vtep3) with a machine behind each (vm3, vm4)."""

    page = "how-to.rst"
    default = "host"

    def build(self) -> None:
        add = self.net.addLink
        machine = self.machine("host")
        nvc = self.host("nvc", ip="10.1.1.2/24", mac="02:00:0a:01:01:02")
        add(machine, nvc, intfName1="eth0", intfName2="eth0", addr1="02:00:0a:01:01:01")
        for number in (1, 2):
            vm = self.host(f"vm{number}", ip=f"192.168.1.{number}/24", mac=f"00:00:00:00:00:0{number}")
            add(machine, vm, intfName1=f"p{number - 1}", intfName2="eth0")

        tunnels = self.net.addHost("tunnels", cls=Host, ip=None)
        add(machine, tunnels, intfName1="eth1", intfName2="p1", addr1="02:00:0a:02:02:01")
        for number, mac in ((2, "00:00:00:00:00:03"), (3, "00:11:22:33:44:55")):
            vtep = self.host(f"vtep{number}", ip=f"10.2.2.{number}/24", mac=f"02:00:0a:02:02:0{number}")
            add(vtep, tunnels, intfName1="eth0", intfName2=f"p{number}")
            vm = self.host(f"vm{number + 1}", ip=f"192.168.1.{number + 1}/24", mac=mac)
            add(vtep, vm, intfName1="p0", intfName2="eth0")

    def configure(self) -> None:
        machine = self.net["host"]
        machine.do("ip address add 10.1.1.1/24 dev eth0 && ip address add 10.2.2.1/24 dev eth1")
        machine.offload_off("eth1", "p0", "p1")
        machine.leave_to_open_vswitch("eth1")
        for name in ("vm1", "vm2", "vm3", "vm4", "vtep2", "vtep3"):
            self.net[name].offload_off("eth0")
        self.net["tunnels"].make_bridge("p1", "p2", "p3")
        for name in ("vtep2", "vtep3"):
            self._vtep_of_the_kernel(self.net[name])

    def _vtep_of_the_kernel(self, host: Host) -> None:
        """The other VTEPs are Linux itself: a bridge with a vxlan device, whose broadcasts go to the machine."""
        host.do(f"ip link add vxlan0 type vxlan id {VNI} dstport 4789 dev eth0 local {host.IP()} remote 10.2.2.1")
        host.make_bridge("p0", "vxlan0")


if __name__ == "__main__":
    sys.exit(main(HowTo))
