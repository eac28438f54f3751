"""Hosts: machines with one interface that talk to each other through what is under test."""

import json
import re
import subprocess
from ipaddress import ip_interface
from typing import Any

from apps.lab.frames import Frame
from apps.lab.namespace import LabError, Namespace


class Host(Namespace):
    """A machine with one interface, eth0."""

    def __init__(self, name: str, mac: str, address: str = "") -> None:
        """A machine whose eth0 will have this MAC and, if given, this address ("192.168.1.1/24")."""
        super().__init__(name)
        self.mac = mac
        self.address = address

    @property
    def ip_address(self) -> str:
        """The address without its prefix length."""
        return str(ip_interface(self.address).ip)

    def plug_into(self, other: Namespace, interface: str, mtu: int = 1500) -> None:
        """Lay a cable from eth0 to a new interface of another namespace, and configure eth0."""
        ends = ("name", "eth0", "address", self.mac, "mtu", str(mtu), "netns", self.name)
        other.ip("link", "add", interface, "mtu", str(mtu), "type", "veth", "peer", *ends)
        other.ip("link", "set", interface, "up")
        self.configure()

    def configure(self) -> None:
        """Give eth0 its address and bring it up."""
        self.offload_off("eth0")
        if self.address:
            self.ip("address", "add", self.address, "dev", "eth0")
        self.ip("link", "set", "eth0", "up")

    def unplug(self) -> None:
        """Take eth0 down: the other end loses its carrier."""
        self.ip("link", "set", "eth0", "down")

    def plug(self) -> None:
        """Bring eth0 up again."""
        self.ip("link", "set", "eth0", "up")

    def ping(self, target: "Host | str", count: int = 3, interval: float = 0.1, timeout: float = 1) -> int:
        """Send `count` echo requests, `interval` seconds apart, and return how many were answered.

        The last answer is waited for `timeout` seconds at the longest.
        """
        address = target.ip_address if isinstance(target, Host) else target
        options = ("-n", "-q", "-c", str(count), "-i", str(interval), "-W", str(timeout))
        output = self.run("ping", *options, address, check=False)
        received = re.search(r"(\d+) received", output)
        if not received:
            raise LabError(f"{self.name}: ping {address} printed {output!r}")
        return int(received[1])

    def send(self, *frames: Frame | bytes) -> None:
        """Put frames on the wire, byte for byte, in order."""
        self.send_raw(*(frame.pack() if isinstance(frame, Frame) else frame for frame in frames))

    def iperf(self, server: "Host", seconds: float = 1, reverse: bool = False) -> float:
        """Send TCP to another host for `seconds`, or with `reverse` have it sent; bits a second that arrived."""
        end = self._iperf(server, seconds, *(("--reverse",) if reverse else ()))
        return float(end["sum_received"]["bits_per_second"])

    def iperf_udp(self, server: "Host", seconds: float = 1, size: int = 64) -> float:
        """Send as many UDP datagrams with `size` bytes in them to another host as go; how many a second arrived."""
        total = self._iperf(server, seconds, "--udp", "--bandwidth", "0", "--length", str(size))["sum"]
        return float((total["packets"] - total["lost_packets"]) / total["seconds"])

    def _iperf(self, server: "Host", seconds: float, *options: str) -> dict[str, Any]:
        """What iperf3 says at the end."""
        listening = server.popen("iperf3", "--server", "--one-off", "--forceflush", stdout=subprocess.PIPE)
        assert listening.stdout
        while line := listening.stdout.readline():
            if "listening" in line:
                break
        try:
            client = ("iperf3", "--json", "--client", server.ip_address, "--time", str(seconds), *options)
            return dict(json.loads(self.run(*client, timeout=seconds + 20))["end"])
        finally:
            listening.kill()
            listening.wait()
