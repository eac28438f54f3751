"""OVN as the NVC: a virtual machine that OVN looks after, and a server behind a VTEP, in one logical switch."""

import sys

from apps.labs.machine import Machine
from apps.labs.session import Lab, main

OVN = ("/run/ovn", "/var/lib/ovn", "/var/log/ovn")


class OvnMachine(Machine):
    """A machine with OVN's directories beside Open vSwitch's."""

    directories = (*Machine.directories, *OVN)


class Ovn(Lab):
    """OVN's databases (central), a hypervisor with a virtual machine (hv, vm), and a server (server) behind a switch
    that becomes a VTEP (switch). Central, hypervisor and VTEP share the network 10.2.2.0/24."""

    page = "lab-ovn.rst"

    def build(self) -> None:
        self.central, self.hv, self.switch = (self.machine(name, OvnMachine) for name in ("central", "hv", "switch"))
        self.connect_underlay(self.central, self.hv, self.switch)
        vm, server = (
            self.host(name, ip=f"192.168.1.{number}/24", mac=f"00:00:00:00:00:0{number}")
            for number, name in enumerate(("vm", "server"), start=1)
        )
        self.net.addLink(self.hv, vm, intfName1="vif1", intfName2="eth0")
        self.net.addLink(self.switch, server, intfName1="p0", intfName2="eth0")

    def configure(self) -> None:
        self.central.do("ip address add 10.2.2.1/24 dev eth0")
        self.hv.start_open_vswitch("conf")
        self.switch.start_open_vswitch("conf", "vtep")
        for machine, address in ((self.hv, "10.2.2.2/24"), (self.switch, "10.2.2.3/24")):
            machine.put_underlay_on_a_bridge("eth0", address)
        self.central.offload_off("eth0")
        self.hv.offload_off("vif1")
        self.switch.offload_off("p0")
        for name in ("vm", "server"):
            self.net[name].offload_off("eth0")


if __name__ == "__main__":
    sys.exit(main(Ovn))
