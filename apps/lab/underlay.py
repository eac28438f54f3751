"""The network between the VTEPs, and machines on it that do not run Open vSwitch."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from apps.lab.frames import Frame, Vxlan
from apps.lab.host import Host
from apps.lab.namespace import Namespace

ANY_MAC = "00:00:00:00:00:00"
VXLAN_OVERHEAD = 50


@dataclass(frozen=True, slots=True)
class Member:
    """An address on the underlay."""

    mac: str
    learn: Callable[[str, str], None]
    """Told the address and the MAC of every other member."""


class Underlay(Namespace):
    """One network segment: a bridge of the Linux kernel in a namespace of its own."""

    def __init__(self, name: str, mtu: int) -> None:
        super().__init__(name)
        self.mtu = mtu
        self._members: dict[str, Member] = {}
        self._ports = count(1)
        self.ip("link", "add", "lan", "mtu", str(mtu), "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        self.ip("link", "set", "lan", "up")

    def plug(self, other: Namespace, interface: str, mac: str = "") -> None:
        """Lay a cable from the segment to a new interface of another namespace."""
        port = f"port{next(self._ports)}"
        far = ("name", interface, "mtu", str(self.mtu), *(("address", mac) if mac else ()), "netns", other.name)
        self.ip("link", "add", port, "mtu", str(self.mtu), "master", "lan", "type", "veth", "peer", *far)
        self.ip("link", "set", port, "up")
        self.offload_off(port)
        other.offload_off(interface)
        other.ip("link", "set", interface, "up")

    def join(self, address: str, mac: str, learn: Callable[[str, str], None] = lambda address, mac: None) -> None:
        """Make an address known to the segment; all that have joined learn each other's MAC."""
        for other, member in self._members.items():
            learn(other, member.mac)
            member.learn(address, mac)
        self._members[address] = Member(mac, learn)

    def mac_of(self, address: str) -> str:
        """The MAC of an address that has joined."""
        return self._members[address].mac


class Peer(Host):
    """A machine on the underlay with nothing but an address: VXLAN datagrams are built and read by the test."""

    def __init__(self, name: str, mac: str, address: str, underlay: Underlay) -> None:
        super().__init__(name, mac, address)
        self.underlay = underlay
        underlay.plug(self, "eth0", mac)
        self.configure()
        underlay.join(self.ip_address, mac)

    def send_vxlan(self, frame: Frame, vni: int, to: str, source: str = "") -> None:
        """Send a frame to a VTEP's underlay address, from this machine's address or any other `source`."""
        datagram = Vxlan(source or self.ip_address, to, vni, frame)
        self.send(datagram.pack(self.underlay.mac_of(to), self.mac))


class KernelVtep(Peer):
    """A machine on the underlay whose VTEP is the Linux kernel's vxlan device: a bridge for each VNI."""

    def __init__(self, name: str, mac: str, address: str, underlay: Underlay) -> None:
        super().__init__(name, mac, address, underlay)
        self._hosts: list[Host] = []

    def add_vni(self, vni: int, *remotes: str, learning: bool = True) -> None:
        """Take part in a VNI; what has no known destination goes to every one of the `remotes`.

        Without `learning` only `add_mac` says where addresses are.
        """
        device, bridge, mtu = f"vx{vni}", f"br{vni}", str(self.underlay.mtu - VXLAN_OVERHEAD)
        options = ("id", str(vni), "dstport", "4789", "local", self.ip_address, "dev", "eth0")
        self.ip("link", "add", bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        self.ip("link", "set", bridge, "up")
        mode = "learning" if learning else "nolearning"
        self.ip("link", "add", device, "mtu", mtu, "master", bridge, "type", "vxlan", *options, mode)
        self.ip("link", "set", device, "up")
        for remote in remotes:
            self.add_remote(vni, remote)

    def add_remote(self, vni: int, remote: str) -> None:
        """Send what has no known destination to this VTEP too."""
        self.run("bridge", "fdb", "append", ANY_MAC, "dev", f"vx{vni}", "dst", remote)

    def add_mac(self, vni: int, mac: str, remote: str) -> None:
        """A MAC address is behind this VTEP."""
        self.run("bridge", "fdb", "append", mac, "dev", f"vx{vni}", "dst", remote)

    def learned(self, vni: int) -> dict[str, str]:
        """The MAC addresses learned from, or set for, other VTEPs, with the address of the VTEP."""
        lines = self.run("bridge", "fdb", "show", "dev", f"vx{vni}").splitlines()
        fields = (line.split() for line in lines)
        return {words[0]: words[words.index("dst") + 1] for words in fields if "dst" in words}

    def add_host(self, vni: int, host: Host) -> Host:
        """Connect a host behind this VTEP."""
        port = f"host{len(self._hosts)}"
        self._hosts.append(host)
        host.plug_into(self, port)
        self.ip("link", "set", port, "master", f"br{vni}")
        return host
