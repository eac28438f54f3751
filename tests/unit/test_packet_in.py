"""What packet-ins say, and that nothing in them can be the end of the program."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ryu.ofproto import ofproto_parser, ofproto_protocol
from ryu.ofproto import ofproto_v1_3 as ofp

from vtep_ryu.core import pipeline as p
from vtep_ryu.drivers.packet_in import IN_PORT, sighting
from vtep_ryu.drivers.replies import place_of

DATAPATH = ofproto_protocol.ProtocolDesc(version=ofp.OFP_VERSION)
COOKIE = p.cookie(7)
MAC = "02:00:00:00:00:07"
FRAME = bytes.fromhex("ffffffffffff 020000000007 88b5")
FIELDS = {"in_port": 3, "metadata": 5000, "reg1": p.binding_id(3, 10)}


def packet_in(frame=FRAME, cookie=COOKIE, **fields):
    """One as Open vSwitch makes it: its match begins with the port."""
    match = bytearray()
    for name, value in (fields or FIELDS).items():
        ofp.oxm_serialize(*ofp.oxm_from_user(name, value), match, len(match))
    length = 4 + len(match)
    body = struct.pack("!IHBBQ", ofp.OFP_NO_BUFFER, 1500, 0, p.LEARN.id, cookie)
    body += struct.pack("!HH", ofp.OFPMT_OXM, length) + match + bytes(-length % 8) + bytes(2) + frame
    return struct.pack("!BBHI", ofp.OFP_VERSION, ofp.OFPT_PACKET_IN, 8 + len(body), 0) + body


@given(
    switch=st.integers(0, p.UNKEYED * 2 - 1),
    port=st.integers(1, 0xFEFF),
    vlan=st.integers(0, 4095),
    others=st.fixed_dictionaries({}, optional={"reg2": st.integers(0, 99), "tunnel_id": st.integers(0, 99)}),
    mac=st.binary(min_size=6, max_size=6).filter(lambda raw: any(raw) and not raw[0] & 1),
    rest=st.binary(min_size=2, max_size=60),
)
def test_it_reads_what_ryu_reads(switch, port, vlan, others, mac, rest):
    fields = {"in_port": port, "metadata": switch, "reg1": p.binding_id(port, vlan), **others}
    message = packet_in(bytes(6) + mac + rest, **fields)
    by_ryu = ofproto_parser.msg(DATAPATH, ofp.OFP_VERSION, ofp.OFPT_PACKET_IN, len(message), 0, message)
    assert sighting(message) == (*place_of(by_ryu.match), by_ryu.data[6:12].hex(":"))
    assert sighting(message) == (switch, p.binding_id(port, vlan), mac.hex(":"))


def test_what_a_switch_leaves_out_is_0():
    assert sighting(packet_in(in_port=3)) == (0, 0, MAC)


def test_the_port_is_found_without_reading_the_rest():
    same, other = packet_in(in_port=3, metadata=1), packet_in(in_port=4, metadata=1)
    assert packet_in()[IN_PORT] == same[IN_PORT] != other[IN_PORT]


@pytest.mark.parametrize(
    "message",
    {
        "another's": packet_in(cookie=0x1234),
        "no frame": packet_in(b""),
        "frame cut short": packet_in(FRAME[:-1]),
        "multicast source": packet_in(FRAME[:6] + bytes.fromhex("01005e000001") + FRAME[12:]),
        "broadcast source": packet_in(FRAME[:6] + b"\xff" * 6 + FRAME[12:]),
        "source of zeros": packet_in(FRAME[:6] + bytes(6) + FRAME[12:]),
        "nothing": b"",
    }.values(),
)
def test_there_is_nothing_to_learn_from_what_is_not_ours_not_whole_or_from_no_station(message):
    assert sighting(message) is None


@pytest.mark.parametrize("length", range(len(packet_in())))
def test_one_that_is_cut_short_anywhere_tells_nothing(length):
    assert sighting(packet_in()[:length]) is None


@given(st.binary(max_size=200), st.integers(0, 80))
def test_whatever_is_in_one_the_answer_is_a_station_or_nothing(garbage, start):
    for message in (garbage, packet_in()[:start] + garbage, packet_in()[:start] + garbage + packet_in()[start:]):
        told = sighting(message)
        if told is not None:
            switch, binding, mac = told
            raw = bytes.fromhex(mac.replace(":", ""))
            assert switch >> p.SWITCH.width == 0 <= binding
            assert len(raw) == 6
            assert any(raw)
            assert not raw[0] & 1
