"""What a switch sends is read as Ryu reads it, or said to be no OpenFlow; and reading comes to an end."""

import random
import struct

import pytest
from ryu.controller import ofp_event
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto.ofproto_protocol import ProtocolDesc

from vtep_ryu.drivers import flow_stats
from vtep_ryu.drivers.wellformed import KINDS, PARTS, Malformed, msg


class Switch(ProtocolDesc):
    id = 1
    socket = None


def read(kind, body, switch=None):
    length = ofp.OFP_HEADER_SIZE + len(body)
    data = struct.pack("!BBHI", ofp.OFP_VERSION, kind, length, 7) + body
    return msg(switch or Switch(ofp.OFP_VERSION), ofp.OFP_VERSION, kind, length, 7, bytearray(data))


def statistics(kind, body=b""):
    return struct.pack("!HH4x", kind, 0) + body


PORT = struct.pack("!I4x6s2x16s8I", 1, bytes(6), b"p0", *range(8))


def test_what_a_switch_says_is_what_ryu_makes_of_it():
    assert [port.name for port in read(ofp.OFPT_MULTIPART_REPLY, statistics(ofp.OFPMP_PORT_DESC, PORT * 2)).body] == [
        b"p0",
        b"p0",
    ]
    hello = read(ofp.OFPT_HELLO, struct.pack("!HHI", ofp.OFPHET_VERSIONBITMAP, 8, 1 << 4 | 1 << 1))
    assert [element.versions for element in hello.elements] == [[1, 4]]


@pytest.mark.parametrize(
    ("kind", "body", "what"),
    [
        (ofp.OFPT_HELLO, struct.pack("!HH", 1, 0), "a part of 0 bytes"),
        (ofp.OFPT_HELLO, struct.pack("!HH", 1, 60_000), "a message of type 0 that cannot be read"),
        (ofp.OFPT_FEATURES_REPLY, b"", "a message of type 6 that cannot be read"),
        (ofp.OFPT_PORT_STATUS, b"", "a message of type 12 that cannot be read"),
        (ofp.OFPT_MULTIPART_REPLY, b"", "a message of type 19 that cannot be read"),
        (ofp.OFPT_MULTIPART_REPLY, statistics(500), "statistics of type 500, for which it was not asked"),
        (ofp.OFPT_MULTIPART_REPLY, statistics(ofp.OFPMP_FLOW, bytes(56)), "a part of 0 bytes"),
        (ofp.OFPT_MULTIPART_REPLY, statistics(ofp.OFPMP_METER, bytes(40)), "a part of 0 bytes"),
        (
            ofp.OFPT_MULTIPART_REPLY,
            statistics(ofp.OFPMP_METER_CONFIG, struct.pack("!HHIHHII", 20, 0, 1, 1, 0, 0, 0)),
            "a message of type 19 that cannot be read",
        ),
    ],
)
def test_what_is_none_is_said(kind, body, what):
    with pytest.raises(Malformed, match=f"^{what}"):
        read(kind, body)


def test_a_switch_that_has_not_said_who_it_is_has_no_statistics():
    switch = Switch(ofp.OFP_VERSION)
    switch.id = None
    with pytest.raises(Malformed, match=r"^statistics of type 13, for which it was not asked$"):
        read(ofp.OFPT_MULTIPART_REPLY, statistics(ofp.OFPMP_PORT_DESC), switch)


def test_random_bytes_are_read_or_said_to_be_none():
    """It also comes to an end, whatever they say of their own length."""
    flow_stats.install()
    numbers = random.Random(1)
    kinds = sorted(KINDS - {ofp.OFPT_PACKET_IN})
    read_at_all = 0
    for _ in range(3000):
        kind = numbers.choice(kinds)
        body = bytearray(numbers.choice((0, 0, 1, 4, 16, 255)) for _ in range(numbers.randrange(200)))
        if kind == ofp.OFPT_MULTIPART_REPLY:
            body = statistics(numbers.choice(sorted(PARTS)), body)
        try:
            ofp_event.ofp_msg_to_ev(read(kind, bytes(body)))
        except Malformed:
            continue
        read_at_all += 1
    assert read_at_all > 300
