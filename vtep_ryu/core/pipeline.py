"""The pipeline's vocabulary: its tables, fields, priorities, cookies and ids. No other module knows these numbers.

docs/architecture.rst walks a packet through the tables.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from zlib import crc32

from vtep_ryu.core.flow import Field, Flow, Table, ToController

# What a packet carries with it. Its logical switch and where it came from are in the metadata, which OpenFlow tables
# can match and packet-ins report; the two bindings are in registers, which a group's bucket can write.
IN_PORT = Field("in_port", "in_port")
VLAN = Field("vlan", "vlan_vid")
TUNNEL_KEY = Field("tunnel_key", "tunnel_id")
TUNNEL_SRC = Field("tunnel_src", "tun_ipv4_src")
TUNNEL_DST = Field("tunnel_dst", "tun_ipv4_dst")
ETH_SRC = Field("eth_src", "eth_src")
ETH_DST = Field("eth_dst", "eth_dst")
SWITCH = Field("switch", "metadata", shift=0, width=32)
FROM_TUNNEL = Field("from_tunnel", "metadata", shift=32, width=1)
INGRESS_BINDING = Field("ingress", "reg1")
EGRESS_BINDING = Field("egress", "reg2")

# The values of VLAN: OpenFlow sets this bit in vlan_vid for a frame that has a tag.
TAG = 0x1000
NO_TAG = 0
PRIORITY_TAG = TAG | 0

MULTICAST_BIT = "01:00:00:00:00:00"
NO_ADDRESS = "00:00:00:00:00:00"
EVERY_BIT = "ff:ff:ff:ff:ff:ff"

# The tunnel key is VXLAN's 24-bit VNI (RFC 7348, section 5). OVN writes 0 for "not ready yet".
MAX_VNI = 0xFFFFFF
MAX_VLAN = 4094

# As much of a frame as the learner reads: its Ethernet header.
PACKET_IN_BYTES = 14


def _table(id: int, name: str, fields: set[Field], leads_to: set[str], miss: str | None, comment: str) -> Table:
    return Table(id, name, frozenset(fields), frozenset(leads_to), miss, comment)


CLASSIFY = _table(
    0,
    "classify",
    {IN_PORT, VLAN, TUNNEL_KEY, TUNNEL_SRC, TUNNEL_DST},
    {"ingress_policy"},
    None,
    "A frame as it arrived. One from a port is looked up by port and VLAN, which give its binding, and its tag is "
    "removed; one from a tunnel by VNI, source and destination address. Either way its logical switch is known from "
    "here on. Whatever belongs to no logical switch is dropped.",
)
INGRESS_POLICY = _table(
    1, "ingress_policy", set(), {"learn"}, "learn", "Untagged, logical switch known. Reserved for ingress ACLs."
)
LEARN = _table(
    2,
    "learn",
    {SWITCH, FROM_TUNNEL, INGRESS_BINDING, ETH_SRC},
    {"suppress", "pinned"},
    "suppress",
    "A source that is known at this binding goes on, and keeps its entry from ageing. An unknown one is copied to the "
    "controller and goes on too; without a copy if it is frozen elsewhere. Frames from tunnels teach nothing. A source "
    "that no station can have is dropped.",
)
SUPPRESS = _table(3, "suppress", set(), {"unicast"}, "unicast", "Reserved for ARP and ND suppression, and routing.")
UNICAST = _table(
    4,
    "unicast",
    {SWITCH, FROM_TUNNEL, ETH_DST, IN_PORT},
    {"multicast", "flood", "egress_policy", "tunnel"},
    "flood",
    "A known destination: a local one gets its egress binding; a remote one its VTEP's address and the VNI there, "
    "unless the frame came from a tunnel. Multicast and broadcast go to the next table, unknown addresses to flood; "
    "with storm control by the meter of the port that they came in by.",
)
MULTICAST = _table(
    5,
    "multicast",
    {SWITCH, FROM_TUNNEL, ETH_DST},
    {"flood", "undelivered", "tunnel"},
    "flood",
    "A multicast address that has VTEPs of its own: to the local bindings and to those. All others go to flood.",
)
FLOOD = _table(
    6,
    "flood",
    {SWITCH, FROM_TUNNEL},
    {"egress_policy", "undelivered", "tunnel"},
    None,
    "Broadcast, unknown unicast and multicast: to every local binding of the logical switch, and, for frames from a "
    "local port, to the VTEPs of unknown-dst.",
)
EGRESS_POLICY = _table(
    7,
    "egress_policy",
    set(),
    {"egress"},
    "egress",
    "Egress binding known, one copy a binding. Reserved for egress ACLs.",
)
EGRESS = _table(
    8,
    "egress",
    {INGRESS_BINDING, EGRESS_BINDING},
    set(),
    None,
    "A copy for one binding. It is dropped where the frame came from that binding; otherwise it gets the binding's "
    "VLAN tag and leaves, even by the port it came in on (another VLAN of that port).",
)

UNDELIVERED = _table(
    9,
    "undelivered",
    {SWITCH, ETH_DST},
    set(),
    None,
    "A copy for one of several VTEPs, none of which is healthy. It is dropped, and counted for its logical switch or "
    "multicast address.",
)

TUNNEL = _table(
    10,
    "tunnel",
    {TUNNEL_DST},
    set(),
    None,
    "A copy for another VTEP, with the VNI and the address that it goes to. It leaves by the tunnel port, and is "
    "counted for that VTEP.",
)

PINNED = _table(
    11,
    "pinned",
    set(),
    set(),
    None,
    "A frame from an address that the NVC has behind another VTEP, with pin_remote. It is dropped, and counted with "
    "all others, for there can be very many such addresses.",
)

_OF_FRAMES = (CLASSIFY, INGRESS_POLICY, LEARN, SUPPRESS, UNICAST, MULTICAST, FLOOD)
_OF_COPIES = (EGRESS_POLICY, EGRESS, UNDELIVERED, TUNNEL)
TABLES = (*_OF_FRAMES, *_OF_COPIES, PINNED)
BY_NAME = {table.name: table for table in TABLES}


class Priority(IntEnum):
    """Which of two matching flows wins; the higher."""

    MISS = 0
    GENERAL = 100
    FROZEN = 150
    REMOTE = 200
    LOCAL = 300
    SPECIAL = 400
    METERED = 500


DROPS = 0x64726F70
"""What is noted on flows that drop frames which are to be counted: by that they are found among all others."""


def misses() -> tuple[Flow, ...]:
    """What every table does with a packet that nothing matches, as flows, so that it is counted."""
    nexts = [(table, None if table.miss is None else BY_NAME[table.miss]) for table in TABLES]
    return tuple(Flow(table, Priority.MISS, goto=goto, note=0 if goto else DROPS) for table, goto in nexts)


TUNNEL_PORT = re.compile(r"vtep-[0-9a-f]{8}|bfd[0-9a-f]{12}")
"""What the names of our VXLAN ports look like."""


@lru_cache
def tunnel_port_name(ip: str) -> str:
    """The name of the VXLAN port whose local address this IPv4 address is (at most 15 characters, as names are)."""
    return "vtep-" + _hex(ip)


def bfd_port_name(local: str, remote: str) -> str:
    """The name of the VXLAN port for BFD between two IPv4 addresses: bridges with a VTEP each have different ones."""
    return f"bfd{crc32(local.encode()) & 0xFFFF:04x}{_hex(remote)}"


def remote_of_bfd_port(name: str) -> str | None:
    """The remote address in the name of such a port; None in any other name."""
    if not (TUNNEL_PORT.fullmatch(name) and name.startswith("bfd")):
        return None
    return ".".join(str(octet) for octet in bytes.fromhex(name[-8:]))


def _hex(ip: str) -> str:
    return "".join(f"{int(octet):02x}" for octet in ip.split("."))


# A binding's id can be read in a flow dump and survives a restart: OpenFlow port, then twelve bits of VLAN. 0 is none.
def binding_id(port: int, vlan: int) -> int:
    """The id of a VLAN of the port with this OpenFlow number."""
    return port << 12 | vlan


def binding_of(id: int) -> tuple[int, int]:
    """The OpenFlow port number and the VLAN of a binding's id."""
    return id >> 12, id & 0xFFF


# A logical switch's id is its VNI; without one it takes a number above all VNIs. Both fit in 29 bits, which leaves a
# group id's upper three for the group's kind. Group ids of kind 0 are not ours.
ID_BITS = 29
UNKEYED = 1 << 28


class GroupKind(IntEnum):
    """What a group is for."""

    LOCAL = 1
    REMOTE = 2
    NUMBERED = 3


def group_id(kind: GroupKind, id: int) -> int:
    """The id of a logical switch's group of this kind, or of a numbered group."""
    return kind << ID_BITS | id


def kind_of(group: int) -> GroupKind | None:
    """What a group is for, or None where it is not this program's."""
    kind = group >> ID_BITS
    return GroupKind(kind) if kind in GroupKind.__members__.values() else None


def is_ours(group: int) -> bool:
    """Whether a group id found on the switch is one of this program's."""
    return kind_of(group) is not None


# A port's meter has the port's number below sixteen bits that say whose it is: meters have no cookie either.
_METER_OWNER = 0x7674
_METER_BITS = 16


def meter_id(port: int) -> int:
    """The id of the meter of the port with this OpenFlow number."""
    return _METER_OWNER << _METER_BITS | port


def metered_port(meter: int) -> int | None:
    """The OpenFlow number of the port whose meter has this id, or None where the meter is not this program's."""
    return meter & (1 << _METER_BITS) - 1 if meter >> _METER_BITS == _METER_OWNER else None


# A cookie says whose a flow is, in which connection's epoch it was last affirmed, and what is noted on it.
OWNER = 0x7674 << 48
OWNER_MASK = 0xFFFF << 48
OURS = (OWNER, OWNER_MASK)
WHOLE = (1 << 64) - 1
"""The mask for a cookie as it is."""
EPOCHS = 1 << 16
_EPOCH_SHIFT = 32


def cookie(epoch: int, note: int = 0) -> int:
    """The cookie of this program's flows in an epoch, 0 to EPOCHS - 1, with a note of 32 bits."""
    return OWNER | epoch << _EPOCH_SHIFT | note


def epoch_of(cookie: int) -> int | None:
    """The epoch in a flow's cookie, or None where the flow is not this program's."""
    if cookie & OWNER_MASK != OWNER:
        return None
    return cookie >> _EPOCH_SHIFT & EPOCHS - 1


def note_of(cookie: int) -> int:
    """The note in a flow's cookie."""
    return cookie & (1 << _EPOCH_SHIFT) - 1


def note_on(text: str | None) -> int:
    """A note by which a text is known again, nearly surely; 0 for none."""
    return 0 if text is None else crc32(text.encode()) or 1


def of_epoch(epoch: int) -> tuple[int, int]:
    """The cookie and the mask that together match this program's flows of an epoch, whatever their notes are."""
    return cookie(epoch), OWNER_MASK | EPOCHS - 1 << _EPOCH_SHIFT


def other_epochs(epoch: int) -> tuple[tuple[int, int], ...]:
    """(cookie, mask) pairs that together match this program's flows of every epoch but this one.

    OpenFlow can match a cookie under a mask but not its being different: for each bit of the epoch there is one
    pair, for the flows that have that bit otherwise. The first pair is for those of the epoch before, among others.
    """
    bits = [1 << _EPOCH_SHIFT + n for n in range(EPOCHS.bit_length() - 1)]
    current = cookie(epoch)
    return tuple((OWNER | ~current & bit, OWNER_MASK | bit) for bit in bits)


TO_CONTROLLER = ToController(PACKET_IN_BYTES)
