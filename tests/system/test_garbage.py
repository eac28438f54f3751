"""Somebody speaks no OpenFlow after the first message: he is hung up on and named, and the switches are served on."""

import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest
from ryu.ofproto import ofproto_v1_3 as ofp

from apps.lab import Lab, Node
from tests.system import support

CLIENT = """if True:
    import json, socket, sys
    for line in sys.stdin:
        with socket.create_connection(("127.0.0.1", 6653)) as connection:
            connection.settimeout(20)
            connection.sendall(bytes.fromhex(line))
            try:
                while connection.recv(1 << 16):
                    pass
                print("closed", flush=True)
            except ConnectionError:
                print("closed", flush=True)
            except TimeoutError:
                print("open", flush=True)
    """
"""Sends what each line has, and says whether it is hung up on."""


def message(kind: int, body: bytes = b"", version: int = ofp.OFP_VERSION, length: int | None = None) -> bytes:
    """An OpenFlow message, which may say that it is of another length."""
    return struct.pack("!BBHI", version, kind, 8 + len(body) if length is None else length, 1) + body


def statistics(kind: int, body: bytes = b"") -> bytes:
    return message(ofp.OFPT_MULTIPART_REPLY, struct.pack("!HH4x", kind, 0) + body)


HELLO = message(ofp.OFPT_HELLO)
NUMBER = 0x99
FEATURES = message(ofp.OFPT_FEATURES_REPLY, struct.pack("!QIBB2xII", NUMBER, 0, 254, 0, 0, 0))
CONNECTED = HELLO + FEATURES + statistics(ofp.OFPMP_PORT_DESC)

BEFORE = {
    "another version": (HELLO + message(ofp.OFPT_ECHO_REQUEST, version=1), "a message of version 1"),
    "an unknown type": (HELLO + message(77), "a message of type 77"),
    "a wrong length": (HELLO + message(ofp.OFPT_ECHO_REQUEST, length=3), "a message of 3 bytes"),
    "a long one that is none": (HELLO + message(78, length=60_000), "a message of type 78"),
    "a short one": (HELLO + message(ofp.OFPT_FEATURES_REPLY, b"abc"), "a message of type 6 that cannot be read"),
    "a part without end": (message(ofp.OFPT_HELLO, struct.pack("!HH", 1, 0)), "a part of 0 bytes"),
    "an answer to nothing": (HELLO + statistics(ofp.OFPMP_PORT_DESC), "statistics of type 13, for which"),
    "words that are none": (
        HELLO + message(ofp.OFPT_ERROR, struct.pack("!HH", ofp.OFPET_HELLO_FAILED, 0) + b"\xff"),
        "what cannot be taken in",
    ),
}
"""What is sent by one who is no switch yet."""

AFTER = {
    "a short port status": (message(ofp.OFPT_PORT_STATUS, b"abc"), "a message of type 12 that cannot be read"),
    "a short role status": (
        message(ofp.OFPT_EXPERIMENTER, struct.pack("!II", 0x4F4E4600, 1911)) + message(79),
        "a message of type 79",
    ),
    "a short packet-in": (message(ofp.OFPT_PACKET_IN) + message(80), "a message of type 80"),
}
"""What is sent by one who has said that he is switch 99."""


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    made = lab.node("a", "10.2.2.1/24")
    made.add_port("p0")
    support.set_up(made)
    support.add_logical_switch(made, "ls0", 5000)
    return made


@pytest.fixture(scope="module")
def client(node: Node) -> Iterator["subprocess.Popen[str]"]:
    process = node.popen(sys.executable, "-c", CLIENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def hung_up_on(client: "subprocess.Popen[str]", data: bytes) -> bool:
    """Whether one who sends this is."""
    assert client.stdin
    assert client.stdout
    client.stdin.write(f"{data.hex()}\n")
    client.stdin.flush()
    return client.stdout.readline() == "closed\n"


def said(node: Node) -> list[str]:
    """The log since the application has started, from warnings on."""
    return re.findall(r"^\S+Z (?:WARNING|ERROR|CRITICAL) (.*)$", node.app.logfile.read_text(), re.MULTILINE)


def still_serves(node: Node, vlan: int) -> None:
    """Nothing of br0's connection was lost, nor is there a traceback, and what is wished is done."""
    support.bind(node, "ls0", "p0", vlan=vlan)
    assert len(re.findall(r"br0: switch \w+ is served$", node.app.log(), re.MULTILINE)) == 1
    assert "Traceback" not in node.app.log()


def test_who_sends_what_is_no_openflow_is_hung_up_on_and_named_in_one_line(
    node: Node, client: "subprocess.Popen[str]"
) -> None:
    for case, (data, what) in BEFORE.items():
        before = said(node)
        assert hung_up_on(client, data), case
        node.wait_until(lambda before=before: said(node) != before, what=f"a line of {case}")
        (line,) = said(node)[len(before) :]
        assert line.startswith(f"OpenFlow: 127.0.0.1 is hung up on: it sends {what}"), case
    still_serves(node, 1)


def test_who_does_it_again_and_again_is_named_once(node: Node, client: "subprocess.Popen[str]") -> None:
    data, _ = BEFORE["another version"]
    assert hung_up_on(client, data)
    node.wait_until(lambda: said(node)[-1].endswith("version 1"), what="the line")
    before = said(node)
    for _ in range(5):
        assert hung_up_on(client, data)
    still_serves(node, 2)
    assert said(node) == before


def test_a_switch_that_does_it_is_hung_up_on_and_why_is_said(node: Node, client: "subprocess.Popen[str]") -> None:
    for case, (data, what) in AFTER.items():
        before = said(node)
        assert hung_up_on(client, CONNECTED + data), case
        node.wait_until(lambda before=before: said(node) != before, what=f"a line of {case}")
        (line,) = said(node)[len(before) :]
        assert line.startswith(f"switch {NUMBER:016x} disconnected: 127.0.0.1 sends {what}"), case
    still_serves(node, 3)


def test_a_flow_of_somebody_elses_that_times_out_is_nothing_to_us(node: Node) -> None:
    """It is in the table of stations, and has no address."""
    node.ofctl("add-flow", "br0", "table=2,priority=1,idle_timeout=1,send_flow_rem,actions=drop")
    node.wait_until(lambda: "priority=1 " not in node.ofctl("dump-flows", "br0", "table=2"), 20, "it to time out")
    still_serves(node, 4)
    assert json.loads(support.ask(node, "vtep/status"))["bridges"] == ["br0"]
