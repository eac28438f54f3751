"""Packet-ins, which say who is where. There can be thousands a second, and Ryu takes ten times as long to read one."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ryu.ofproto import ofproto_v1_3 as ofp

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Field

# OpenFlow 1.3, section 7.4.1: header, what is known of the frame, a match that is its context, padding, the frame.
_FIXED = struct.Struct("!8xIHBBQHH")
_MATCH = _FIXED.size - 4
_PADDING = 2
IN_PORT = slice(_FIXED.size, _FIXED.size + 8)
"""Where the first field of the match is; Open vSwitch puts the port there."""


def sighting(message: bytes) -> tuple[int, int, str] | None:
    """The switch id, the binding id and the source address that a packet-in tells of.

    None where there is nothing to learn: it is cut short, another's, or from an address that no station has.
    """
    try:
        *_, cookie, _, length = _FIXED.unpack_from(message)
        context = dict(_fields(message, _FIXED.size, _MATCH + length))
    except struct.error:
        return None
    start = _MATCH + (length + 7) // 8 * 8 + _PADDING
    frame = message[start : start + p.PACKET_IN_BYTES]
    if p.epoch_of(cookie) is None or len(frame) < p.PACKET_IN_BYTES:
        return None
    source = frame[6:12]
    if source[0] & 1 or not any(source):
        return None
    switch = context.get(_METADATA, 0) >> p.SWITCH.shift & (1 << p.SWITCH.width) - 1
    return switch, context.get(_BINDING, 0), source.hex(":")


def _fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The fields of a match by their headers (OpenFlow 1.3, section 7.2.3.2)."""
    while start + 4 <= end:
        (header,) = struct.unpack_from("!I", message, start)
        start += 4 + (header & 0xFF)
        yield header, int.from_bytes(message[start - (header & 0xFF) : start])


def _header(field: Field) -> int:
    buffer = bytearray()
    ofp.oxm_serialize_header(ofp.oxm_from_user_header(field.oxm), buffer, 0)
    return int.from_bytes(buffer)


_METADATA, _BINDING = _header(p.SWITCH), _header(p.INGRESS_BINDING)
