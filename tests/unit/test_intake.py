"""What comes from a switch: whole messages for Ryu, however they are cut on the way, and packet-ins apart."""

import socket
import struct

import pytest
from eventlet.greenio import GreenSocket
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3 as ofp

from tests.unit.test_packet_in import packet_in
from vtep_ryu.drivers.intake import PACKET_INS, Intake
from vtep_ryu.drivers.wellformed import Malformed


def message(kind, body=b""):
    return struct.pack("!BBHI", ofp.OFP_VERSION, kind, 8 + len(body), 0) + body


ECHO, ERROR = message(ofp.OFPT_ECHO_REQUEST), message(ofp.OFPT_ERROR, bytes(4))


@pytest.fixture
def ends():
    """The intake, and the socket of the switch."""
    ours, switch = socket.socketpair()
    intake = Intake(GreenSocket(ours))
    intake.settimeout(5)
    yield intake, switch
    intake.close()
    switch.close()


def test_messages_come_whole_and_in_order_however_they_are_cut(ends):
    intake, switch = ends
    sent = [ECHO, ERROR, message(ofp.OFPT_MULTIPART_REPLY, bytes(60_000)), ECHO]
    data = b"".join(sent)
    for start in range(0, len(data), 7001):
        switch.sendall(data[start : start + 7001])
        hub.sleep(0)
    assert [intake.recv(8) for _ in sent] == sent


def test_packet_ins_are_told_of_and_wait_for_their_turn_while_messages_pass_by(ends):
    intake, switch = ends
    heard = hub.Event()
    intake.on_packet_in = heard.set
    flood, other = packet_in(in_port=3), packet_in(in_port=4)
    for _ in range(20):
        switch.sendall(flood * 1000)
        hub.sleep(0.001)
    switch.sendall(other + ECHO)
    assert intake.recv(8) == ECHO
    assert heard.wait(5)
    assert len(intake.packet_ins) == PACKET_INS
    assert intake.packet_ins.lost == 20 * 1000 + 1 - PACKET_INS
    assert other in (intake.packet_ins.take(), intake.packet_ins.take())


def test_packet_ins_of_a_switch_that_is_not_served_are_dropped(ends):
    intake, switch = ends
    switch.sendall(packet_in() * 10 + ECHO)
    assert intake.recv(8) == ECHO
    assert not intake.packet_ins


def test_a_switch_that_hangs_up_is_noticed_after_what_it_has_said(ends):
    intake, switch = ends
    switch.sendall(ECHO + ECHO[:5])
    switch.close()
    assert [intake.recv(8), intake.recv(8), intake.recv(8)] == [ECHO, b"", b""]


def test_a_switch_that_is_silent_times_out_as_on_a_socket(ends):
    intake, switch = ends
    intake.settimeout(0.05)
    with pytest.raises(TimeoutError):
        intake.recv(8)
    switch.sendall(ECHO)
    intake.settimeout(5)
    assert intake.recv(8) == ECHO


@pytest.mark.parametrize(
    ("version", "kind", "length", "what"),
    [
        (4, ofp.OFPT_ECHO_REQUEST, 7, "a message of 7 bytes"),
        (4, ofp.OFPT_ECHO_REQUEST, 0, "a message of 0 bytes"),
        (4, 77, 60_000, "a message of type 77"),
        (5, ofp.OFPT_ECHO_REQUEST, 60_000, "a message of version 5"),
    ],
)
def test_what_is_no_message_is_said_after_those_before_it_and_nothing_behind_it_is_read(
    ends, version, kind, length, what
):
    intake, switch = ends
    switch.sendall(ECHO + struct.pack("!BBHI", version, kind, length, 0) + ECHO)
    assert intake.recv(8) == ECHO
    for _ in range(2):
        with pytest.raises(Malformed, match=f"^{what}$"):
            intake.recv(8)
