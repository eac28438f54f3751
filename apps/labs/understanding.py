"""Understanding Hardware VTEPs: two logical networks between a plain Open vSwitch and a VTEP, by raw OVSDB messages."""

import sys
from pathlib import Path

from apps.labs.machine import Host, Machine
from apps.labs.session import Lab, main

FILES = Path(__file__).parent / "understanding_files"


class Understanding(Lab):
    """A server with a plain bridge, a server that becomes a VTEP, the internet between, a red and a blue host each."""

    page = "lab-understanding.rst"

    def build(self) -> None:
        self.server1, self.server2 = self.machine("server1"), self.machine("server2")
        self.internet = self.net.addHost("internet", cls=Host, ip=None)
        for server, interface in ((self.server1, "eth0"), (self.server2, "eth1")):
            self.net.addLink(server, self.internet, intfName1="eth0", intfName2=interface, fast=True)
        for number, server in (1, self.server1), (2, self.server2):
            for port, colour in enumerate(("red", "blue"), start=1):
                host = self.host(f"{colour}{number}", ip=f"10.0.0.{number}/24", mac=f"00:00:00:00:00:0{number}")
                self.net.addLink(host, server, intfName2=f"s{number}-eth{port}")

    def configure(self) -> None:
        for network, interface in (1, "eth0"), (2, "eth1"):
            self.internet.do(f"ip address add 192.168.{network}.1/24 dev {interface}")
        self.internet.do("sysctl -qw net.ipv4.ip_forward=1")
        self.internet.offload_off("eth0", "eth1")
        self.internet.take_files(FILES)
        self.server1.take_files(FILES)
        for number, server in (1, self.server1), (2, self.server2):
            server.start_open_vswitch("conf")
            server.put_underlay_on_a_bridge("eth0", f"192.168.{number}.{number}0/24", f"192.168.{number}.1")
            self._connect_hosts(number, server)

    def _connect_hosts(self, number: int, server: Machine) -> None:
        """The bridge of a server, with red on port 1 and blue on port 2."""
        bridge = f"s{number}"
        ports = [f"{bridge}-eth1", f"{bridge}-eth2"]
        adding = [f"-- add-port {bridge} {name} -- set Interface {name} ofport_request={name[-1]}" for name in ports]
        server.do(f"ovs-vsctl add-br {bridge} -- set Bridge {bridge} datapath_type=netdev {' '.join(adding)}")
        server.offload_off(*ports)
        for colour in ("red", "blue"):
            self.net[f"{colour}{number}"].offload_off(f"{colour}{number}-eth0")


if __name__ == "__main__":
    sys.exit(main(Understanding))
