"""What a switch sends is read strictly: what is no OpenFlow 1.3, or nothing that a switch says, ends its connection.

Ryu 4.34 shows such bytes as a traceback and goes on, or takes them for another version's. A part of a message that says
it is 0 bytes long Ryu reads for ever, in the thread that serves all switches. To Ryu's controller this module is in the
place of ``ryu.ofproto.ofproto_parser``.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from ryu.ofproto import ofproto_parser
from ryu.ofproto import ofproto_v1_3 as ofp

KINDS = frozenset(
    {
        *(ofp.OFPT_HELLO, ofp.OFPT_ERROR, ofp.OFPT_ECHO_REQUEST, ofp.OFPT_ECHO_REPLY, ofp.OFPT_EXPERIMENTER),
        *(ofp.OFPT_FEATURES_REPLY, ofp.OFPT_PACKET_IN, ofp.OFPT_FLOW_REMOVED, ofp.OFPT_PORT_STATUS),
        *(ofp.OFPT_MULTIPART_REPLY, ofp.OFPT_BARRIER_REPLY, ofp.OFPT_ROLE_REPLY),
    }
)
"""What a switch says by itself, or when it is asked what this program asks."""

PARTS = {
    ofp.OFPMP_FLOW: (0, ofp.OFP_FLOW_STATS_SIZE),
    ofp.OFPMP_GROUP: (0, ofp.OFP_GROUP_STATS_SIZE),
    ofp.OFPMP_GROUP_DESC: (0, ofp.OFP_GROUP_DESC_STATS_SIZE),
    ofp.OFPMP_METER: (4, ofp.OFP_METER_STATS_SIZE),
    ofp.OFPMP_METER_CONFIG: (0, ofp.OFP_METER_CONFIG_SIZE),
    **dict.fromkeys((ofp.OFPMP_AGGREGATE, ofp.OFPMP_PORT_STATS, ofp.OFPMP_METER_FEATURES, ofp.OFPMP_PORT_DESC)),
}
"""The statistics that are asked for. Where parts say how long they are: where that is, and the least that it can be."""

HELLO_ELEMENT = (2, 4)

_SHORT = Struct("!H")

header = ofproto_parser.header


class Malformed(Exception):
    """It is no OpenFlow, or nothing that a switch says; the text says what of it."""


def check_header(version: int, kind: int, length: int) -> None:
    """See that a message begins there.

    Raises Malformed.
    """
    if kind not in KINDS:
        raise Malformed(f"a message of type {kind}")
    if version != ofp.OFP_VERSION and kind != ofp.OFPT_HELLO:
        raise Malformed(f"a message of version {version}")
    if length < ofp.OFP_HEADER_SIZE:
        raise Malformed(f"a message of {length} bytes")


def msg(datapath: Any, version: int, kind: int, length: int, xid: int, data: bytes) -> Any:
    """The message in these bytes, as Ryu has it; the arguments are those of Ryu's function.

    Raises Malformed.
    """
    try:
        _check(datapath, kind, data)
        parse = ofproto_parser._MSG_PARSERS[version]
        return parse(datapath, version, kind, length, xid, data)
    except Malformed:
        raise
    except Exception as error:  # Whatever Ryu stumbles upon.
        raise Malformed(f"a message of type {kind} that cannot be read ({error})") from error


def _check(datapath: Any, kind: int, data: bytes) -> None:
    """See that Ryu comes to an end of it, and can place it."""
    if kind == ofp.OFPT_HELLO:
        _walk(data, ofp.OFP_HELLO_HEADER_SIZE, *HELLO_ELEMENT)
    elif kind == ofp.OFPT_MULTIPART_REPLY:
        (statistics,) = _SHORT.unpack_from(data, ofp.OFP_HEADER_SIZE)
        if statistics not in PARTS or datapath.id is None:
            raise Malformed(f"statistics of type {statistics}, for which it was not asked")
        if (parts := PARTS[statistics]) is not None:
            _walk(data, ofp.OFP_MULTIPART_REPLY_SIZE, *parts)


def _walk(data: bytes, start: int, where: int, least: int) -> None:
    """Go from part to part by the length that each has there."""
    while start < len(data):
        (length,) = _SHORT.unpack_from(data, start + where)
        if length < least:
            raise Malformed(f"a part of {length} bytes")
        start += length
