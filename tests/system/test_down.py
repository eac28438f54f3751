"""The program is down for a while, or comes back as another version: frames pass meanwhile, rows stay as they are."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

import vtep_ryu
from apps.lab import Lab, Node
from tests.system import support
from tests.system.traffic import TwoVteps, no_packet_lost

pytestmark = pytest.mark.timeout(580)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
OPTIONS = ("--vtep-statistics-interval=0",)
SECONDS = 60 if LONG else 2
MANY = 100_000 if LONG else 3_000
WAYS = [(signal.SIGTERM, 100), (signal.SIGKILL, MANY)]
if LONG:
    WAYS += [(signal.SIGKILL, 100), (signal.SIGTERM, MANY)]
WAYS.sort(key=lambda way: way[1])
TABLES = ("Physical_Switch", "Physical_Port", "Ucast_Macs_Local", "Mcast_Macs_Local")


@pytest.fixture(scope="module")
def site(lab: Lab) -> TwoVteps:
    return TwoVteps(lab, *OPTIONS)


@pytest.fixture
def node(site: TwoVteps) -> Node:
    return site.node


def start(node: Node, *options: str) -> None:
    """Start the program, and wait until it serves the switch."""
    node.start_app(*OPTIONS, *options, timeout=60)
    node.app.wait_log(r"^br0: switch \w+ is served$", 200)


@pytest.fixture(scope="module")
def another_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a version of the program is whose flows are all others than ours."""
    place = tmp_path_factory.mktemp("another")
    copy = shutil.copytree(Path(vtep_ryu.__file__).parent, place / "vtep_ryu")
    (copy / "__init__.py").write_text('__version__ = "another"\n')
    pipeline = copy / "core" / "pipeline.py"
    text, changed = re.subn(r"^(    [A-Z]+ = \d)00$", r"\g<1>11", pipeline.read_text(), flags=re.MULTILINE)
    assert changed == 5, "the priorities of flows"
    pipeline.write_text(text)
    return place


def test_an_upgrade_and_the_way_back_lose_no_packet_and_rewrite_no_row(
    site: TwoVteps, node: Node, another_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, flows = support.identities(node, *TABLES), support.flows(node)
    with no_packet_lost(*site.pairs):
        node.app.stop()
        with monkeypatch.context() as patch:
            patch.setitem(node.env, "PYTHONPATH", str(another_version))
            start(node)
        node.app.wait_log("^vtep_ryu another$")
        assert not set(support.flows(node)) & {flow for flow in flows if "priority=200" in flow}
        node.app.stop()
        start(node)
        node.app.wait_log(f"^vtep_ryu {vtep_ryu.__version__}$")
    assert support.flows(node) == flows
    assert support.identities(node, *TABLES) == rows


@pytest.mark.parametrize(("how", "count"), WAYS)
def test_a_while_without_the_program_loses_no_packet_and_rewrites_no_row(
    site: TwoVteps, node: Node, count: int, how: signal.Signals
) -> None:
    """What changed meanwhile is applied, and learned addresses are kept, as those of hosts that send nothing."""
    silent, dropped, added = (site.lab.new_mac() for _ in range(3))
    site.change_remotes(add=dropped)
    site.insert_remotes(count)
    support.teach(node, site.p0, silent)
    rows, flows = support.identities(node, *TABLES), site.flow_count()
    with no_packet_lost(*site.pairs):
        node.app.stop(how)
        site.change_remotes(add=added, remove=dropped)
        time.sleep(SECONDS)
        start(node)
    assert support.identities(node, *TABLES) == rows
    assert site.flow_count() == flows
    unicast = support.table_flows(node, "unicast")
    assert added in unicast
    assert dropped not in unicast
    assert silent in support.sources(node)
