"""The statistics of flows and the descriptions of groups, which come by the thousand, read by struct.

Ryu makes an object of every field, action and instruction: 10,000 flows take it half a second, in which no echo is
answered. Here a match is a dictionary of the fields that the pipeline knows, with values as Ryu has them, and of a flow
there are its table, its priority, its cookie and its counters besides; of a group there is its id. A test holds what is
read to be what Ryu reads. Sections are those of the OpenFlow 1.3.5 specification.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from socket import inet_ntoa
from struct import Struct
from typing import Any, TypeAlias

from ryu.ofproto import ofproto_v1_3_parser as parser

from vtep_ryu.drivers.packer import OXM

Match: TypeAlias = dict[str, Any]
"""By OpenFlow field: a number, or an address as text; with its mask where it has one."""

_MATCH = Struct("!HH")
_OXM_HEADER = Struct("!I")
_FLOW_STATS = Struct("!HBxIIHHHH4xQQQ")
_GROUP_DESC = Struct("!HBxI")


def _number(data: bytes) -> int:
    return int.from_bytes(data)


def _mac(data: bytes) -> str:
    return data.hex(":")


def _reader(size: int, name: str) -> Callable[[bytes], Any]:
    if size == 6:
        return _mac
    return inet_ntoa if "ipv4" in name else _number


_READERS = {
    cls << 16 | number << 9 | masked << 8 | size << masked: (name, size, masked, _reader(size, name))
    for name, (cls, number, size) in OXM.items()
    for masked in (0, 1)
}
"""Name, size, whether there is a mask, and how to read it, by the header of a field (section 7.2.3.2)."""


def _match(data: bytes, offset: int) -> Match:
    """The match that begins there."""
    _, length = _MATCH.unpack_from(data, offset)
    found: Match = {}
    at, end = offset + _MATCH.size, offset + length
    while at < end:
        (header,) = _OXM_HEADER.unpack_from(data, at)
        at += _OXM_HEADER.size
        if (known := _READERS.get(header)) is not None:
            name, size, masked, read = known
            value = read(data[at : at + size])
            found[name] = (value, read(data[at + size : at + 2 * size])) if masked else value
        at += header & 0xFF
    return found


@dataclass(slots=True)
class FlowStats:
    """The statistics of one flow, as the body of Ryu's reply."""

    length: int
    table_id: int
    priority: int
    cookie: int
    packet_count: int
    byte_count: int
    match: Match

    @classmethod
    def parser(cls, data: bytes, offset: int) -> FlowStats:
        """The flow whose statistics begin there (section 7.3.5.2)."""
        length, table_id, _, _, priority, _, _, _, cookie, packets, octets = _FLOW_STATS.unpack_from(data, offset)
        return cls(length, table_id, priority, cookie, packets, octets, _match(data, offset + _FLOW_STATS.size))


@dataclass(slots=True)
class GroupDesc:
    """The description of one group, as the body of Ryu's reply."""

    length: int
    group_id: int

    @classmethod
    def parser(cls, data: bytes, offset: int) -> GroupDesc:
        """The group whose description begins there (section 7.3.5.7)."""
        length, _, group_id = _GROUP_DESC.unpack_from(data, offset)
        return cls(length, group_id)


def install() -> None:
    """Have Ryu read with this."""
    parser.OFPGroupDescStatsReply.cls_stats_body_cls = GroupDesc
    parser.OFPFlowStatsReply.cls_stats_body_cls = FlowStats
