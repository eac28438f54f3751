"""From rows to flows: many at once, one among many, and those that the switch does not take."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from apps.lab import Frame, Host, Lab, Node
from apps.lab.frames import BROADCAST
from tests.system.support import (
    add_logical_switch,
    bind,
    identities,
    reconciliations,
    set_up,
    sources,
    switch_faults,
    table_flows,
    teach,
)

pytestmark = pytest.mark.timeout(120)

ROWS = 10_000
PEER = "10.2.2.9"


@dataclass(frozen=True)
class Site:
    """p0 and p1 are in ls0, whose unknown-dst is the peer; many is 10,000 addresses."""

    node: Node
    p0: Host
    p1: Host
    lab: Lab


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    node = lab.node("a", "10.2.2.1/24")
    lab.peer("peer", f"{PEER}/24")
    hosts = [node.add_port(f"p{number}") for number in range(3)]
    set_up(node, "--verbose", "--vtep-statistics-interval=0")
    add_logical_switch(node, "ls0", 5000, PEER)
    bind(node, "ls0", "p0", "p1")
    return Site(node, *hosts[:2], lab)


def addresses(prefix: str, count: int) -> list[str]:
    """Addresses that begin with two bytes of a prefix."""
    return [f"{prefix}:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(count)]


def insert_remotes(node: Node, macs: Iterable[str]) -> None:
    """Add rows to Ucast_Macs_Remote of ls0 in one transaction."""
    (switch,) = (row["_uuid"] for row in node.rows("Logical_Switch") if row["name"] == "ls0")
    (locator,) = (row["_uuid"] for row in node.rows("Physical_Locator") if row["dst_ip"] == PEER)
    row = {"logical_switch": ["uuid", switch], "locator": ["uuid", locator]}
    node.transact(*({"op": "insert", "table": "Ucast_Macs_Remote", "row": {"MAC": mac, **row}} for mac in macs))


def delete_remotes(node: Node, macs: Iterable[str]) -> None:
    """Delete them in one transaction."""
    node.transact(*(delete("Ucast_Macs_Remote", ["MAC", "==", mac]) for mac in macs))


def delete(table: str, *where: list[Any]) -> dict[str, Any]:
    return {"op": "delete", "table": table, "where": list(where)}


def remotes(node: Node) -> set[str]:
    """The addresses that have a flow to a tunnel."""
    return set(re.findall(r"priority=200,\S*dl_dst=(\S+) ", table_flows(node, "unicast")))


def reconciled_by(node: Node, change: Callable[[], object], done: Callable[[], object]) -> list[tuple[int, int]]:
    """(units rendered, changes) of the reconciliations that a change leads to until it is done."""
    before = len(reconciliations(node))
    change()
    node.wait_until(done, what="the change to be on the switch")
    node.wait_until(lambda: len(reconciliations(node)) > before, what="the line in the log")
    return reconciliations(node)[before:]


@pytest.fixture(scope="module")
def many(site: Site) -> list[str]:
    """10,000 addresses that are in Ucast_Macs_Remote and on the switch."""
    macs = addresses("02:10", ROWS)
    insert_remotes(site.node, macs)
    site.node.wait_until(lambda: len(remotes(site.node)) == ROWS, 60, "all flows")
    return macs


def test_10000_rows_in_one_transaction_arrive_completely(site: Site, many: list[str]) -> None:
    assert remotes(site.node) == set(many)


def test_one_row_among_10000_that_is_added_or_deleted_renders_one_unit(site: Site, many: list[str]) -> None:
    node, new = site.node, "02:11:00:00:00:01"
    added = reconciled_by(node, lambda: insert_remotes(node, [new]), lambda: new in remotes(node))
    assert added == [(1, 1)]
    deleted = reconciled_by(node, lambda: delete_remotes(node, [new]), lambda: new not in remotes(node))
    assert deleted == [(1, 1)]
    assert remotes(node) == set(many)


def test_a_binding_among_10000_rows_renders_itself_and_its_logical_switch_s_flooding(
    site: Site, many: list[str]
) -> None:
    node, match = site.node, f"in_port={site.node.ofport('p2')},"

    def change(*command: str) -> Callable[[], str]:
        return lambda: node.vtep_ctl(*command)

    bind_it, unbind_it = change("bind-ls", "br0", "p2", "0", "ls0"), change("unbind-ls", "br0", "p2", "0")
    bound = reconciled_by(node, bind_it, lambda: match in table_flows(node, "classify"))
    assert [units for units, _ in bound] == [2]
    unbound = reconciled_by(node, unbind_it, lambda: match not in table_flows(node, "classify"))
    assert [units for units, _ in unbound] == [2]


def test_a_station_among_10000_rows_renders_one_unit(site: Site, many: list[str]) -> None:
    node, station = site.node, site.lab.new_mac()
    learned = reconciled_by(node, lambda: site.p0.send(Frame(BROADCAST, station)), lambda: station in sources(node))
    assert learned == [(1, 2)]


def test_a_restart_among_10000_rows_leaves_them_as_they_are(site: Site, many: list[str]) -> None:
    node = site.node
    before = identities(node, "Ucast_Macs_Local", "Mcast_Macs_Local")
    node.app.stop()
    node.start_app("--verbose", "--vtep-statistics-interval=0")
    node.app.wait_log("^br0: switch .* is served$", 60)
    assert remotes(node) == set(many)
    assert identities(node, "Ucast_Macs_Local", "Mcast_Macs_Local") == before


def test_10000_rows_that_are_deleted_in_one_transaction_vanish(site: Site, many: list[str]) -> None:
    site.node.transact(delete("Ucast_Macs_Remote"))
    site.node.wait_until(lambda: not remotes(site.node), 60, "all flows to go")
    teach(site.node, site.p1, site.lab.new_mac())


def test_what_the_switch_refuses_is_named_with_the_reason_and_all_else_is_applied(site: Site) -> None:
    node, macs, room = site.node, addresses("02:12", 20), 5
    limit = table_flows(node, "unicast").count("priority=") + room
    table = ("--id=@table", "create", "Flow_Table", f"flow_limit={limit}", "overflow_policy=refuse")
    node.vsctl("--", *table, "--", "set", "Bridge", "br0", "flow_tables:4=@table")
    try:
        insert_remotes(node, macs)
        pattern = r"^br0: Ucast_Macs_Remote (\S+) of ls0 is refused by the switch: OFPFMFC_TABLE_FULL\(1\)$"

        def refused() -> list[str]:
            return re.findall(pattern, node.app.log(), re.MULTILINE)

        node.wait_until(lambda: len(refused()) == len(macs) - room, what="the refusals in the log")
        assert remotes(node) == set(macs) - set(refused())
        assert "unexpected error" not in node.app.log()
        node.vtep_ctl("bind-ls", "br0", "p2", "0", "ls0")
        node.wait_until(lambda: f"in_port={node.ofport('p2')}," in table_flows(node, "classify"), what="a binding")
        assert switch_faults(node) == ["mac_table_exhaustion"]
    finally:
        node.vsctl("clear", "Bridge", "br0", "flow_tables")
    node.wait_until(lambda: remotes(node) == set(macs), what="all of them, now that there is room")
    node.wait_until(lambda: switch_faults(node) == [], what="no fault")
    assert len(refused()) == len(macs) - room
    delete_remotes(node, macs)
    node.wait_until(lambda: not remotes(node), what="all of them to go")
