"""Ethernet frames and VXLAN datagrams as values: built byte by byte, and taken apart again."""

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

TPID_CUSTOMER = 0x8100
TPID_SERVICE = 0x88A8
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_TEST = 0x88B5
"""Local experimental ethertype 1 (IEEE 802): no host answers it."""
BROADCAST = "ff:ff:ff:ff:ff:ff"
VXLAN_PORT = 4789
_UDP = 17


def pack_mac(mac: str) -> bytes:
    """The six bytes of a MAC address."""
    return bytes.fromhex(mac.replace(":", ""))


def format_mac(raw: bytes) -> str:
    """Six bytes as a MAC address."""
    return raw.hex(":")


@dataclass(frozen=True, slots=True)
class Tag:
    """One VLAN tag (IEEE 802.1Q 9.3)."""

    vid: int
    pcp: int = 0
    dei: int = 0
    tpid: int = TPID_CUSTOMER

    def __str__(self) -> str:
        return f"vlan {self.vid} pcp {self.pcp} tpid {self.tpid:04x}"


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame without its checksum; `tags` are outermost first."""

    dst: str
    src: str
    payload: bytes = bytes(46)
    ethertype: int = ETHERTYPE_TEST
    tags: tuple[Tag, ...] = ()

    def __str__(self) -> str:
        tags = "".join(f"{tag} " for tag in self.tags)
        start = self.payload[:24].hex()
        text = f"{self.src} > {self.dst} {tags}0x{self.ethertype:04x} {len(self.payload)} bytes {start}"
        inner = Vxlan.parse(self)
        return f"{text}\n    {inner}" if inner else text

    def pack(self) -> bytes:
        """The bytes on the wire."""
        tags = (struct.pack("!HH", t.tpid, t.pcp << 13 | t.dei << 12 | t.vid) for t in self.tags)
        kind = struct.pack("!H", self.ethertype)
        return pack_mac(self.dst) + pack_mac(self.src) + b"".join(tags) + kind + self.payload

    @classmethod
    def parse(cls, raw: bytes) -> "Frame":
        """The frame in these bytes; `pack` gives them back."""
        tags: list[Tag] = []
        at = 12
        (kind,) = struct.unpack_from("!H", raw, at)
        while kind in (TPID_CUSTOMER, TPID_SERVICE):
            tci, following = struct.unpack_from("!HH", raw, at + 2)
            tags.append(Tag(tci & 0xFFF, tci >> 13, tci >> 12 & 1, kind))
            at, kind = at + 4, following
        return cls(format_mac(raw[:6]), format_mac(raw[6:12]), raw[at + 2 :], kind, tuple(tags))

    def tagged(self, *vids: int) -> "Frame":
        """This frame with exactly these VLAN ids, outermost first; with none, untagged."""
        return replace(self, tags=tuple(Tag(vid) for vid in vids))


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A frame in a VXLAN datagram (RFC 7348 section 5) over IPv4."""

    source: str
    destination: str
    vni: int
    frame: Frame
    source_port: int = 49152

    def __str__(self) -> str:
        return f"vxlan {self.source} > {self.destination} vni {self.vni}: {self.frame}"

    def pack(self, dst: str, src: str) -> Frame:
        """The outer frame between two MAC addresses of the underlay."""
        inner = struct.pack("!II", 0x08000000, self.vni << 8) + self.frame.pack()
        udp = struct.pack("!HHHH", self.source_port, VXLAN_PORT, 8 + len(inner), 0) + inner
        addresses = IPv4Address(self.source).packed + IPv4Address(self.destination).packed
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, _UDP, 0) + addresses
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        return Frame(dst, src, header + udp, ETHERTYPE_IPV4)

    @classmethod
    def parse(cls, outer: Frame) -> "Vxlan | None":
        """The VXLAN datagram in an outer frame; None when there is none in it."""
        packet = outer.payload
        if outer.ethertype != ETHERTYPE_IPV4 or len(packet) < 28 or packet[9] != _UDP:
            return None
        at = (packet[0] & 0xF) * 4
        source_port, port, length = struct.unpack_from("!HHH", packet, at)
        if port != VXLAN_PORT or length < 30:
            return None
        (vni,) = struct.unpack_from("!I", packet, at + 12)
        frame = Frame.parse(packet[at + 16 : at + length])
        return cls(str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20])), vni >> 8, frame, source_port)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def arp_request(src: str, sender: str, target: str) -> Frame:
    """A broadcast from MAC `src` with IPv4 address `sender` that asks for the MAC of `target`."""
    header = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, 1)
    addresses = pack_mac(src) + IPv4Address(sender).packed + bytes(6) + IPv4Address(target).packed
    return Frame(BROADCAST, src, header + addresses, ETHERTYPE_ARP)
