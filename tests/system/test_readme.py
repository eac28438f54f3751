"""The commands of README.rst, run as they are written there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.lab import Lab, Node

README = Path(__file__).parents[2] / "README.rst"
DATABASE = Path("/etc/openvswitch/vtep.db")
OVS_CTL = (
    "/usr/share/openvswitch/scripts/ovs-ctl --no-ovs-vswitchd --no-monitor --system-id=random --no-record-hostname"
)
"""As Debian's service has it."""


@pytest.fixture(autouse=True)
def _tidy(lab: Lab) -> Iterator[None]:
    """The file that the README's commands make is gone afterwards with its lock, and nobody has it open."""
    yield
    for node in lab.nodes:
        node.ovsdb_server.stop()
    for file in (DATABASE, DATABASE.with_name(f".{DATABASE.name}.~lock~")):
        file.unlink(missing_ok=True)


def blocks(section: str, page: Path = README) -> list[list[str]]:
    """The literal blocks of a section of a page, as lines."""
    text = page.read_text()
    body = text.split(f"\n{section}\n{'=' * len(section)}\n")[1]
    body = re.split(r"\n[^\n]+\n={4,}\n", body)[0]
    found = re.findall(r"::\n\n((?:    [^\n]*\n|\n)+)", body)
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in found]


def test_the_steps_of_the_readme_make_a_bridge_a_vtep_that_can_be_driven_as_it_says(lab: Lab) -> None:
    node = lab.node("readme", start=False)
    node.create_databases("ovs")
    node.start_ovsdb("ovs")
    node.start_vswitchd()
    lab.join(node, "10.2.2.1/24")
    node.add_bridge()
    host = node.add_port("p0", address="192.168.1.1/24")
    peer = lab.peer("service-node", "10.2.2.2/24")

    steps, second_database, _ = blocks("Your own bridge")
    for command in second_database:
        node.shell(command)
    for command in steps:
        if command.startswith("ryu-manager "):
            assert command == "ryu-manager vtep_ryu.apps.vtep"
            node.start_app()
        else:
            node.shell(command)
    node.wait_until(lambda: [row["name"] for row in node.rows("Physical_Port")] == ["p0"], what="the Physical_Port row")
    (drive,) = blocks("Drive it")
    for command in drive:
        if "list-local-macs" in command:
            with peer.capture() as captured:
                host.ping("192.168.1.2", count=1, timeout=0.2)
                captured.wait(lambda frame: frame.ethertype == 0x0800)
            _wait_for_output(node, command, host.mac)
        else:
            node.shell(command)
    flows = node.wait_until(lambda: _flows_when_ready(node), what="the flow of add-ucast-remote")
    assert "set_field:10.2.2.3->tun_dst" in flows
    assert "set_field:0x21->tun_id" in flows
    _wait_for_output(node, "ss --no-header --listening --tcp --numeric", ":6640 ")


def test_debians_service_has_both_databases_and_their_managers_with_the_line_of_the_readme(lab: Lab) -> None:
    node = lab.node("debian", start=False)
    _, (create, *_), (settings,) = blocks("Your own bridge")
    node.shell(create)
    try:
        node.shell(f"{settings}; {OVS_CTL} start $OVS_CTL_OPTS")
        databases = node.appctl("ovsdb-server", "ovsdb-server/list-dbs").split()
        remotes = node.appctl("ovsdb-server", "ovsdb-server/list-remotes").split()
        assert {"Open_vSwitch", "hardware_vtep"} <= set(databases)
        assert "db:hardware_vtep,Global,managers" in remotes
    finally:
        node.shell(f"{OVS_CTL} stop", check=False)


def _flows_when_ready(node: Node) -> str:
    flows: str = node.ofctl("dump-flows", "br0", "--no-stats")
    return flows if "dl_dst=00:11:22:33:44:55" in flows else ""


def _wait_for_output(node: Node, command: str, text: str) -> None:
    node.wait_until(lambda: text in node.shell(command), what=f"{text} in the output of {command}")
