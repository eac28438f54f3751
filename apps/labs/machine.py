"""Mininet hosts: plain ones, and machines with an Open vSwitch of their own."""

import os
import re
import shlex
import time
from pathlib import Path

from mininet.node import Node

SCHEMAS = "/usr/share/openvswitch"
HOMES = Path("/run/lab")
UNDERLAY = "br-phy"

_STARTED_JOB = re.compile(r"^\[\d+\] \d+\n", re.MULTILINE)


class CommandFailed(Exception):
    """A command that had to succeed did not, or a command did not end; the text has its output."""


class Host(Node):
    """A Mininet host whose shell is in a directory of its own, where captures and the like may be written.

    It has no IPv6, whose announcements would come between the packets that a page wants seen.
    """

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        self.home = HOMES / name
        self.home.mkdir(parents=True)
        self.home.chmod(0o1777)  # tcpdump writes its files as a user of its own
        self.do(f"cd {self.home}")
        self.do("sysctl -eqw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")

    def do(self, line: str) -> str:
        """Run a line of shell that has to succeed; its output."""
        status, output = self.attempt(line)
        if status:
            raise CommandFailed(f"{self.name}$ {line}\n{output}exit status {status}")
        return output

    def attempt(self, line: str, timeout: float = 60) -> tuple[int, str]:
        """Run a line of shell; its exit status and what it printed, without what only a terminal understands."""
        output = self._run(line, timeout)
        return int(self._run("echo $?", timeout).split()[-1]), _STARTED_JOB.sub("", output)

    def _run(self, line: str, timeout: float) -> str:
        self.sendCmd(line)
        output = self._output(timeout)
        if self.waiting:
            self.sendInt()
            output += self._output(5)
            raise CommandFailed(f"{self.name}$ {line}\n{output}\nno end after {timeout:g} s")
        return output

    def _output(self, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        output = ""
        while self.waiting and time.monotonic() < deadline:
            output += self.monitor(timeoutms=100)
        return output.replace("\r", "")

    def offload_off(self, *interfaces: str) -> None:
        """Have interfaces send whole frames with checksums filled in: the userspace datapath needs both."""
        for interface in interfaces:
            self.do(f"ethtool -K {interface} tx off tso off gso off >/dev/null")

    def make_bridge(self, *ports: str) -> None:
        """A bridge of the kernel, lan, between some interfaces."""
        self.do("ip link add lan type bridge forward_delay 0 mcast_snooping 0 && ip link set lan up")
        for port in ports:
            self.do(f"ip link set {port} master lan up")

    def take_files(self, directory: Path) -> None:
        """Copy the files of a directory to where the shell is."""
        self.do(f"cp {shlex.quote(os.fspath(directory))}/* .")


class Machine(Host):
    """A host with an Open vSwitch of its own, in the directories where Debian's packages have it.

    So every command is typed as on a machine of flesh and blood.
    """

    directories: tuple[str, ...] = (
        "/run/openvswitch",
        "/etc/openvswitch",
        "/var/log/openvswitch",
        "/var/lib/openvswitch",
    )

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, privateDirs=list(self.directories), **params)

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
        self.leave_to_open_vswitch(interface)
        self.offload_off(interface, UNDERLAY)
        if gateway:
            self.do(f"ip route replace default via {gateway}")

    def start_vtep(self, address: str, *ports: str) -> None:
        """Have br0, with these ports, become the VTEP at this address. It is when the shell's `wait` has ended."""
        adding = " ".join(f"-- add-port br0 {port}" for port in ports)
        self.do(f"ovs-vsctl add-br br0 -- set Bridge br0 datapath_type=netdev {adding}")
        self.do(f"vtep-ctl add-ps br0 -- set Physical_Switch br0 tunnel_ips={address}")
        self.offload_off(*ports)
        self.do("vtep-ryu --log-file --pidfile --detach br0 >/dev/null 2>&1 &")

    def leave_to_open_vswitch(self, interface: str) -> None:
        """Have the kernel not answer what a bridge takes from an interface, which reaches the kernel there too."""
        filters = ("all.rp_filter=0", f"{interface}.rp_filter=1", f"{interface}.arp_filter=1")
        self.do(f"sysctl -qw {' '.join('net.ipv4.conf.' + each for each in filters)}")
