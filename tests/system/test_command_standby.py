"""vtep-ryu on a bridge that another instance serves: it stands by where the bridge is to connect to both."""

import os
from collections.abc import Iterator

import pytest

from apps.lab import Lab, Node
from tests.system import command, support
from tests.system.command import Command, alive, controllers
from tests.system.support import CONTROLLER
from tests.system.traffic import TwoVteps, no_packet_lost

pytestmark = pytest.mark.timeout(180)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
SECOND = "tcp:127.0.0.1:6654"


class Apart(Command):
    """A vtep-ryu with a run directory of its own, as etc/vtep_ryu@.service has it, so it meets no other application."""

    def __init__(self, node: Node) -> None:
        directory = node.directory / "apart"
        if not directory.exists():
            directory.mkdir()
            (directory / "db.sock").symlink_to(node.socket)
        super().__init__(node, "apart/vtep-ryu")
        self.directory = directory

    def start(self, *argv: str) -> None:
        super().start("env", f"OVS_RUNDIR={self.directory}", *argv)

    def wait_serves(self) -> None:
        """Wait until br0 is its own, and served."""
        self.wait_until(lambda: "is served" in self.appctl("vtep/show"), "br0 to be served")

    def appctl(self, *argv: str) -> str:
        return self.node.appctl(str(self.directory / f"vtep-ryu.{self.pid}.ctl"), *argv)


@pytest.fixture(scope="module")
def made(lab: Lab) -> TwoVteps:
    return TwoVteps(lab)


@pytest.fixture
def site(made: TwoVteps) -> Iterator[TwoVteps]:
    yield made
    command.kill_all(made.node)


def test_it_stands_by_for_a_bridge_with_a_controller_more_takes_over_and_hands_over(site: TwoVteps) -> None:
    node, apart = site.node, Apart(site.node)
    node.vsctl("set-controller", "br0", CONTROLLER, SECOND)
    there = controllers(node).keys()
    with no_packet_lost(*site.pairs):
        apart.detach()
        apart.wait_log("br0: served by another instance; process ")
        assert controllers(node).keys() == there
        node.app.kill()
        apart.wait_serves()
        support.teach(node, site.p0, site.lab.new_mac())
        node.start_app()
        node.app.wait_log("^br0: another instance has its lock$")
        pid = apart.pid
        assert pid
        apart.appctl("exit")
        apart.wait_until(lambda: not alive(pid), "it to end")
        node.app.wait_log(r"^br0: switch \w+ is served$")
        support.teach(node, site.p0, site.lab.new_mac())
    assert controllers(node).keys() == there


if LONG:  # For nobody will want it like this.

    def test_where_the_bridge_has_no_controller_for_it_it_takes_the_bridge_and_nothing_is_lost(site: TwoVteps) -> None:
        node, apart = site.node, Apart(site.node)
        node.start_app()
        node.vsctl("set-controller", "br0", CONTROLLER)
        node.app.wait_log(r"^br0: switch \w+ is served$")
        with no_packet_lost(*site.pairs):
            apart.detach()
            apart.wait_serves()
            assert len(controllers(node)) == 1
            assert CONTROLLER not in controllers(node)
            support.teach(node, site.p0, site.lab.new_mac())
