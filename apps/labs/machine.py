"""Mininet hosts: plain ones, and machines with an Open vSwitch of their own."""

import os
import re
import shlex
import time
from pathlib import Path

from mininet.node import Node

SCHEMAS = "/usr/share/openvswitch"
DIRECTORIES = ("/run/openvswitch", "/etc/openvswitch", "/var/log/openvswitch", "/var/lib/openvswitch")
HOMES = Path("/run/lab")
UNDERLAY = "br-phy"

_STARTED_JOB = re.compile(r"^\[\d+\] \d+\n", re.MULTILINE)


class Host(Node):
    """A Mininet host whose shell is in a directory of its own, where captures and the like may be written."""

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        self.home = HOMES / name
        self.home.mkdir(parents=True)
        self.do(f"cd {self.home}")

    def do(self, line: str) -> str:
        """Run a line of shell that has to succeed; its output."""
        status, output = self.attempt(line)
        if status:
            raise RuntimeError(f"{self.name}$ {line}\nexit status {status}\n{output}")
        return output

    def attempt(self, line: str, timeout: float = 60) -> tuple[int, str]:
        """Run a line of shell; its exit status and what it printed, without what only a terminal understands."""
        output = self._run(line, timeout)
        return int(self._run("echo $?", timeout).split()[-1]), _STARTED_JOB.sub("", output)

    def _run(self, line: str, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        output = ""
        self.sendCmd(line)
        while self.waiting:
            output += self.monitor(timeoutms=100)
            if time.monotonic() > deadline:
                self.sendInt()
                self.waitOutput()
                raise RuntimeError(f"{self.name}$ {line}\nno end after {timeout:g} s\n{output}")
        return output.replace("\r", "")

    def offload_off(self, *interfaces: str) -> None:
        """Have interfaces send whole frames with checksums filled in: the userspace datapath needs both."""
        for interface in interfaces:
            self.do(f"ethtool -K {interface} tx off tso off gso off >/dev/null")

    def take_files(self, directory: Path) -> None:
        """Copy the files of a directory to where the shell is."""
        self.do(f"cp {shlex.quote(os.fspath(directory))}/* .")


class Machine(Host):
    """A host with an Open vSwitch of its own, in the directories where Debian's packages have it.

    So every command is typed as on a machine of flesh and blood.
    """

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, privateDirs=list(DIRECTORIES), **params)

    def start_open_vswitch(self, *databases: str) -> None:
        """Start ovsdb-server with these databases ("conf" and perhaps "vtep") and ovs-vswitchd, in userspace."""
        schemas = {"conf": "vswitch.ovsschema", "vtep": "vtep.ovsschema"}
        files = [f"/etc/openvswitch/{name}.db" for name in databases]
        for name, file in zip(databases, files, strict=True):
            self.do(f"ovsdb-tool create {file} {SCHEMAS}/{schemas[name]}")
        remotes = ["punix:/var/run/openvswitch/db.sock", "db:Open_vSwitch,Open_vSwitch,manager_options"]
        if "vtep" in databases:
            remotes.append("db:hardware_vtep,Global,managers")
        daemon = "--pidfile --detach --log-file -vconsole:off"
        self.do(f"ovsdb-server {daemon} {' '.join('--remote=' + each for each in remotes)} {shlex.join(files)}")
        self.do("ovs-vsctl --no-wait init")
        self.do(f"ovs-vswitchd {daemon} --disable-system")

    def put_underlay_on_a_bridge(self, interface: str, address: str, gateway: str = "") -> None:
        """Where the userspace datapath takes tunnels from: a bridge with the interface as port and our address."""
        mac = self.do(f"cat /sys/class/net/{interface}/address").strip()
        settings = f"datapath_type=netdev other-config:hwaddr={mac}"
        add_port = f"add-port {UNDERLAY} {interface}"
        self.do(f"ovs-vsctl add-br {UNDERLAY} -- set Bridge {UNDERLAY} {settings} -- {add_port}")
        self.do(f"ip address flush dev {interface} && ip address add {address} dev {UNDERLAY}")
        self.do(f"ip link set {UNDERLAY} up")
        self.offload_off(interface, UNDERLAY)
        # What the bridge takes from the interface reaches the kernel there too, which would answer it a second time.
        self.do(f"sysctl -qw net.ipv4.conf.{interface}.rp_filter=1 net.ipv4.conf.{interface}.arp_filter=1")
        if gateway:
            self.do(f"ip route replace default via {gateway}")

    def terminate(self) -> None:
        """End what runs here, daemons included, then the shell."""
        for daemon in ("ovs-vswitchd", "ovsdb-server"):
            self.cmd(f"kill $(cat /run/openvswitch/{daemon}.pid) 2>/dev/null")
        super().terminate()
