"""Service nodes: two that pass copies on to all VTEPs, one of which is lost while one watches."""

import sys

from apps.labs.machine import Machine
from apps.labs.session import Lab, main

VTEPS = {"vtep1": "10.2.2.1", "vtep2": "10.2.2.2"}
SERVICE_NODES = {"sn1": "10.2.2.11", "sn2": "10.2.2.12"}


class Failover(Lab):
    """Two switches that become VTEPs (vtep1, vtep2) with a host each (h1, h2), and two service nodes (sn1, sn2). All
    four have a port of underlay, the network between them: p1 to p4."""

    page = "lab-failover.rst"

    def build(self) -> None:
        self.machines = {name: self.machine(name) for name in (*VTEPS, *SERVICE_NODES)}
        self.connect_underlay(*self.machines.values())
        for number, vtep in enumerate(VTEPS, start=1):
            host = self.host(f"h{number}", ip=f"192.168.1.{number}/24", mac=f"00:00:00:00:00:0{number}")
            self.net.addLink(self.machines[vtep], host, intfName1="p0", intfName2="eth0")

    def configure(self) -> None:
        for name, address in VTEPS.items():
            self._start(name, address, "conf", "vtep").start_vtep(address, "p0")
        for name, address in SERVICE_NODES.items():
            self._make_service_node(self._start(name, address, "conf"))
        for number, name in enumerate(VTEPS, start=1):
            self.net[f"h{number}"].offload_off("eth0")
            self.machines[name].do("wait")

    def _start(self, name: str, address: str, *databases: str) -> Machine:
        machine = self.machines[name]
        machine.start_open_vswitch(*databases)
        machine.put_underlay_on_a_bridge("eth0", f"{address}/24")
        return machine

    @staticmethod
    def _make_service_node(machine: Machine) -> None:
        """What comes from one VTEP goes to the other, with its VNI."""
        machine.do("ovs-vsctl add-br br0 -- set Bridge br0 datapath_type=netdev fail_mode=secure")
        for number, address in enumerate(VTEPS.values(), start=1):
            settings = f"type=vxlan ofport_request={number} options:remote_ip={address} options:key=flow"
            machine.do(f"ovs-vsctl add-port br0 to{number} -- set Interface to{number} {settings}")
        for here, there in ((1, 2), (2, 1)):
            machine.do(f"ovs-ofctl add-flow br0 in_port={here},actions=output:{there}")


if __name__ == "__main__":
    sys.exit(main(Failover))
