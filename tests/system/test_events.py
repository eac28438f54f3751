"""Every event there is, in one lab, as the event log and ovs-appctl tell of it."""

import json
import string
from pathlib import Path
from typing import Any

import pytest

from apps.lab import Frame, Host, Lab, Node
from apps.lab.frames import BROADCAST
from tests.system import support
from tests.system.tunnels import VNI, VTEP, configure, wait_tunnels
from vtep_ryu.core.events import Kind
from vtep_ryu.show.events import SENTENCES

pytestmark = pytest.mark.timeout(180)

DOCS = Path(__file__).parents[2] / "docs"
MEMBERS = FIRST, SECOND = "10.2.2.5", "10.2.2.6"
BFD = {"enable": True, "min_rx": 100, "min_tx": 100}


class Site:
    """Our VTEP, with two service nodes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.node = lab.node("a", f"{VTEP}/24")
        self.log = self.node.directory / "events.jsonl"
        self.members = {ip: self._member(name, ip) for name, ip in (("m1", FIRST), ("m2", SECOND))}
        self.p0, self.p1 = (self.node.add_port(name) for name in ("p0", "p1"))
        support.set_up(
            self.node,
            *(f"--vtep-event-log={self.log}", "--vtep-mac-ageing-time=5"),
            *("--vtep-mac-move-limit=1", "--vtep-mac-move-window=2"),
        )
        support.add_logical_switch(self.node, "ls0", VNI, *MEMBERS)
        support.bind(self.node, "ls0", "p0", "p1")
        wait_tunnels(self.node, *MEMBERS)

    def _member(self, name: str, ip: str) -> Node:
        member = self.lab.node(name, f"{ip}/24")
        options = (f"options:remote_ip={VTEP}", f"options:local_ip={ip}", "options:key=flow")
        bfd = (f"bfd:{key}={str(value).lower()}" for key, value in BFD.items())
        member.vsctl("add-port", "br0", "vx", "--", "set", "Interface", "vx", "type=vxlan", *options, *bfd)
        return member

    def told(self, kind: str, **fields: str) -> list[dict[str, Any]]:
        """The events of a kind that have these fields."""
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [each for each in found if each["event"] == kind and fields.items() <= each["fields"].items()]

    def wait(self, kind: str, timeout: float = 30, **fields: str) -> None:
        """Wait for one."""
        self.node.wait_until(lambda: self.told(kind, **fields), timeout, f"{kind} {fields}")

    def send_until(self, kind: str, host: Host, mac: str) -> None:
        """Send frames from an address until it is told that this has happened to it."""

        def is_told() -> bool:
            host.send(Frame(BROADCAST, mac))
            return bool(self.told(kind, mac=mac))

        self.node.wait_until(is_told, 30, f"{mac} to be {kind}")


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    return Site(lab)


def stations_come_and_go(site: Site) -> None:
    mac, other = site.lab.new_mac(), site.lab.new_mac()
    for kind, host in (("learned", site.p0), ("moved", site.p1), ("frozen", site.p0)):
        site.send_until(kind, host, mac)
    site.wait("thawed", mac=mac)
    site.wait("aged", mac=mac)
    site.send_until("learned", site.p1, other)
    site.node.vtep_ctl("unbind-ls", "br0", "p1", "0")
    site.wait("withdrawn", mac=other)


def tunnels_come_and_go(site: Site) -> None:
    for ip in MEMBERS:
        configure(site.node, ip, "bfd_params", **BFD)
    for ip in MEMBERS:
        site.wait("tunnel_up", remote=ip)
    site.members[FIRST].vswitchd.kill()
    site.wait("tunnel_down", remote=FIRST)
    site.wait("failed_over", before=FIRST, now=SECOND)


def faults_come_and_go(site: Site) -> None:
    site.node.transact({"op": "insert", "table": "Logical_Router", "row": {"name": "lr0"}})
    site.wait("fault_raised", keyword="lr_support_fault")
    site.node.transact({"op": "delete", "table": "Logical_Router", "where": []})
    site.wait("fault_cleared", keyword="lr_support_fault")


def connections_come_and_go(site: Site) -> None:
    site.wait("connected")
    site.node.vsctl("del-controller", "br0")
    site.wait("lost")
    site.wait("database_connected", database="hardware_vtep", remote=f"unix:{site.node.socket}")
    site.node.ovsdb_server.kill()
    site.wait("database_lost", database="hardware_vtep", remote=f"unix:{site.node.socket}")
    site.wait("database_lost", database="Open_vSwitch")
    site.node.start_ovsdb()


def test_everything_that_happens_is_an_event_with_the_fields_that_are_documented(site: Site) -> None:
    stations_come_and_go(site)
    tunnels_come_and_go(site)
    faults_come_and_go(site)
    connections_come_and_go(site)
    told = [json.loads(line) for line in site.log.read_text().splitlines()]
    assert {each["event"] for each in told} == set(Kind)
    for each in told:
        assert each.keys() == {"number", "time", "event", "physical_switch", "fields"}
        assert each["fields"].keys() == {
            name for _, name, _, _ in string.Formatter().parse(SENTENCES[each["event"]]) if name
        }
        assert each["physical_switch"] == ("" if "database" in each["event"] else "br0")


def test_both_pages_name_every_event() -> None:
    pages = [(DOCS / f"{name}.rst").read_text() for name in ("metrics", "asking")]
    assert [kind for kind in Kind for page in pages if f"``{kind}``" not in page] == []
