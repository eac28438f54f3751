"""The machine as the kernel sees it: addresses, routes, MTUs, offloads, and who can be reached."""

from __future__ import annotations

import array
import fcntl
import json
import shutil
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from vtep_ryu.command.steps import Steps, run

VXLAN_PORT = 4789
KERNEL_VXLAN = "vxlan_sys_"
"""How the devices are called that Open vSwitch makes in the kernel."""

_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM = 0x16
_PINGS = 32
"""VTEPs that are asked for an echo at most: who has very many has BFD."""


def links() -> Steps[list[dict[str, Any]]]:
    """The interfaces, with their addresses and what sort they are, as ip(8) has them."""
    done = yield from run("ip", "-json", "-details", "address", "show")
    return [] if done.error else list(json.loads(done.output or "[]"))


def addresses(links: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The IPv4 addresses of the machine, each with its interface."""
    found = ((each, link["ifname"]) for link in links for each in link.get("addr_info", ()))
    return {each["local"]: name for each, name in found if each.get("family") == "inet"}


def is_usable(ip: str) -> bool:
    """Whether it is an IPv4 address that a VTEP can have."""
    try:
        address = IPv4Address(ip)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_multicast or address.is_unspecified)


def is_down(links: Sequence[dict[str, Any]], name: str) -> bool:
    """Whether an interface is taken down."""
    return any(link["ifname"] == name and "UP" not in link.get("flags", ()) for link in links)


def has_ping() -> bool:
    """Whether others can be asked for an echo."""
    return shutil.which("ping") is not None


def route(remote: str, local: str) -> Steps[str | None]:
    """The interface by which frames from one address go to another, or None for no route."""
    done = yield from run("ip", "-json", "route", "get", remote, "from", local)
    if done.error:
        return None
    (found, *_) = json.loads(done.output)
    device: str | None = found.get("dev")
    return device


def veth_ends(links: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The other ends of veth pairs, as far as they are in this network namespace."""
    veths = (link for link in links if link.get("linkinfo", {}).get("info_kind") == "veth")
    return {link["ifname"]: link["link"] for link in veths if link.get("link")}


def leaves_checksums(interface: str) -> bool:
    """Whether an interface leaves checksums to who transmits; False where that is not known."""
    value = array.array("B", struct.pack("II", _ETHTOOL_GTXCSUM, 0))
    request = struct.pack("16sP", interface.encode()[:15], value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError:
            return False
    return bool(struct.unpack("II", value)[1])


def listens_for_vxlan() -> bool:
    """Whether any socket of the machine has VXLAN's UDP port."""
    ports = set[int]()
    for table in ("udp", "udp6"):
        lines = Path("/proc/net", table).read_text().splitlines()[1:] if Path("/proc/net", table).exists() else []
        ports.update(int(line.split()[1].rpartition(":")[2], 16) for line in lines)
    return VXLAN_PORT in ports


def vxlan_devices(links: Sequence[dict[str, Any]]) -> list[str]:
    """The kernel's own VXLAN devices on that port, Open vSwitch's excepted."""
    return [
        link["ifname"]
        for link in links
        if link.get("linkinfo", {}).get("info_kind") == "vxlan"
        and link["linkinfo"].get("info_data", {}).get("port") == VXLAN_PORT
        and not link["ifname"].startswith(KERNEL_VXLAN)
    ]


def silent(local: str, remotes: Sequence[str]) -> Steps[list[str]]:
    """Which of these addresses answer no echo; of very many only the first are asked."""
    asked = [(each, run("ping", "-n", "-q", "-c", "2", "-i", "0.3", "-W", "1", "-I", local, each)) for each in remotes]
    found = []
    for remote, steps in asked[:_PINGS]:
        done = yield from steps
        if done.error:
            found.append(remote)
    return found
