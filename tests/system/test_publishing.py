"""What is ours in the database: which rows there are in the Local tables, and which are left to others."""

import signal
import time
from typing import Any

import pytest

from apps.lab import Frame, Lab, Node
from apps.lab.frames import BROADCAST
from tests.system.support import (
    ThreePorts,
    add_logical_switch,
    bind,
    identities,
    set_up,
    table_flows,
    teach,
)

pytestmark = pytest.mark.timeout(120)

OURS = "10.2.2.1"
LOCAL = ("Ucast_Macs_Local", "Mcast_Macs_Local")


@pytest.fixture(scope="module")
def site(lab: Lab) -> ThreePorts:
    """p0 and p1 are in ls0."""
    node = lab.node("a", f"{OURS}/24")
    hosts = [node.add_port(f"p{number}") for number in range(3)]
    set_up(node, "--verbose")
    add_logical_switch(node, "ls0", 5000)
    bind(node, "ls0", "p0", "p1")
    return ThreePorts(node, *hosts, lab)


def unknown_dst(node: Node) -> dict[str, tuple[str, ...]]:
    """The unknown-dst rows: locators by logical switch."""
    return {switch: ips for (switch, mac), ips in node.macs("Mcast_Macs_Local").items() if mac == "unknown-dst"}


def uuid_of(node: Node, table: str, **columns: str) -> str:
    """The _uuid of the only row of a table with these values."""
    (row,) = (row for row in node.rows(table) if columns.items() <= row.items())
    return str(row["_uuid"])


def delete(table: str, *where: Any) -> dict[str, Any]:
    """An operation that deletes rows."""
    return {"op": "delete", "table": table, "where": list(where)}


def in_switch(uuid: str) -> list[Any]:
    """A condition: the row is of this logical switch."""
    return ["logical_switch", "==", ["uuid", uuid]]


def test_every_logical_switch_that_is_bound_here_has_unknown_dst_and_no_other(site: ThreePorts) -> None:
    node = site.node
    node.vtep_ctl("add-ls", "bare", "--", "add-ls", "keyed", "--", "set", "Logical_Switch", "keyed", "tunnel_key=77")
    node.vtep_ctl("add-ls", "keyless")
    bind(node, "keyless", "p2", vlan=5)
    node.wait_until(lambda: unknown_dst(node) == {"ls0": (OURS,), "keyless": (OURS,)}, what="the bound ones")
    bind(node, "keyed", "p2", vlan=6)
    bind(node, "keyed", "p1", vlan=6)
    wanted = {"ls0": (OURS,), "keyless": (OURS,), "keyed": (OURS,)}
    node.wait_until(lambda: unknown_dst(node) == wanted, what="the third")
    before = identities(node, "Mcast_Macs_Local")
    node.vtep_ctl("unbind-ls", "br0", "p2", "6")
    node.wait_until(lambda: "dl_vlan=6" not in port_flows(node, "p2"), what="one of two bindings to go")
    assert identities(node, "Mcast_Macs_Local") == before
    node.vtep_ctl("unbind-ls", "br0", "p1", "6", "--", "unbind-ls", "br0", "p2", "5")
    node.wait_until(lambda: unknown_dst(node) == {"ls0": (OURS,)}, 3, "the rows of what is not bound to go")
    for name in ("bare", "keyed", "keyless"):
        node.vtep_ctl("del-ls", name)


def port_flows(node: Node, port: str) -> str:
    """The classify flows of a port."""
    match = f"in_port={node.ofport(port)},"
    return "\n".join(line for line in table_flows(node, "classify").splitlines() if match in line)


def test_a_logical_switch_can_be_deleted_right_after_its_last_binding_went(site: ThreePorts) -> None:
    node = site.node
    for number in range(20):
        name, stations = f"short{number}", site.stations(3)
        node.vtep_ctl("add-ls", name, "--", "set", "Logical_Switch", name, f"tunnel_key={100 + number}")
        bind(node, name, "p2", vlan=9)
        teach(node, site.p2, *stations, logical_switch=name, vlan=9)
        node.vtep_ctl("unbind-ls", "br0", "p2", "9")
        delete_switch(node, name)
    assert "refused" not in node.app.log()
    assert {name for name, _ in node.macs()} <= {"ls0"}


def delete_switch(node: Node, name: str) -> None:
    """Delete a logical switch; it is refused for as long as the program has rows in it, which is a moment."""

    def deleted() -> bool:
        node.vtep_ctl("del-ls", name)
        return True

    node.wait_until(deleted, 1, f"{name} to be deletable")


@pytest.mark.parametrize("thorough", [False, True], ids=["bindings and remote rows", "local rows too"])
def test_a_controller_that_removes_all_of_a_logical_switch_in_one_transaction_succeeds(
    site: ThreePorts, thorough: bool
) -> None:
    node = site.node
    tables = ("Ucast_Macs_Remote", "Mcast_Macs_Remote", *(LOCAL if thorough else ()))
    for number in range(5):
        name, stations = f"whole{number}", site.stations(20)
        add_logical_switch(node, name, 200 + number, "10.2.2.9")
        node.vtep_ctl("add-ucast-remote", name, "02:00:00:00:99:99", "10.2.2.9")
        bind(node, name, "p2", vlan=9)
        teach(node, site.p2, *stations[:10], logical_switch=name, vlan=9)
        switch = uuid_of(node, "Logical_Switch", name=name)
        port = uuid_of(node, "Physical_Port", name="p2")
        site.p2.send(*(Frame(BROADCAST, mac).tagged(9) for mac in stations[10:]))  # Some are about to be published.
        unbind = {"op": "mutate", "table": "Physical_Port", "where": [["_uuid", "==", ["uuid", port]]]}
        unbind["mutations"] = [["vlan_bindings", "delete", ["set", [9]]]]
        last = delete("Logical_Switch", ["_uuid", "==", ["uuid", switch]])
        operations = [unbind, *(delete(table, in_switch(switch)) for table in tables)]
        if thorough:
            node.transact(*operations, last)
        else:
            node.transact(*operations)
            node.wait_until(lambda last=last: node.transact(last), 1, f"{name} to be deletable")
    teach(node, site.p0, *site.stations(1))
    assert {name for name, _ in node.macs()} | unknown_dst(node).keys() == {"ls0"}
    assert "ending the program" not in node.app.log()


def test_what_others_do_to_our_rows_is_put_right(site: ThreePorts) -> None:
    node, (station, invented) = site.node, site.stations(2)
    teach(node, site.p0, station)
    node.vtep_ctl("clear-local-macs", "ls0")
    node.wait_until(lambda: ("ls0", station) in node.macs() and "ls0" in unknown_dst(node), 3, "our rows to be back")
    before = identities(node, *LOCAL)
    node.vtep_ctl("add-ucast-local", "ls0", invented, OURS)
    node.wait_until(lambda: identities(node, *LOCAL) == before, 3, "an address that we have not learned to go")
    locator = uuid_of(node, "Physical_Locator", dst_ip=OURS)
    switch = uuid_of(node, "Logical_Switch", name="ls0")
    node.transact(insert_ucast(station, switch, locator))
    node.wait_until(lambda: len(identities(node, *LOCAL)) == len(before), 3, "a duplicate to go")
    assert node.macs()["ls0", station] == (OURS,)


def test_rows_of_local_addresses_in_the_wrong_table_go(site: ThreePorts) -> None:
    node, station = site.node, site.lab.new_mac()
    teach(node, site.p0, station)
    before = identities(node, *LOCAL)
    locator, switch = uuid_of(node, "Physical_Locator", dst_ip=OURS), uuid_of(node, "Logical_Switch", name="ls0")
    members = {"op": "insert", "table": "Physical_Locator_Set", "row": {"locators": ["uuid", locator]}}
    row = {"MAC": station, "logical_switch": ["uuid", switch], "locator_set": ["named-uuid", "members"]}
    node.transact(
        insert_ucast("unknown-dst", switch, locator),
        {**members, "uuid-name": "members"},
        {"op": "insert", "table": "Mcast_Macs_Local", "row": row},
    )
    node.wait_until(lambda: identities(node, *LOCAL) == before, 3, "what is in the wrong table to go")


def test_a_row_that_is_deleted_as_soon_as_it_is_there_comes_back(site: ThreePorts) -> None:
    node = site.node
    everything: dict[str, Any] = {"op": "delete", "table": "Mcast_Macs_Local", "where": []}
    for _ in range(100):  # How soon is what counts: the row may be gone before the program has seen that it came.
        node.wait_until(lambda: node.transact(everything)[0]["count"], what="a row to delete")
    node.wait_until(lambda: "ls0" in unknown_dst(node), what="our row to be back")


def insert_ucast(mac: str, switch: str, locator: str) -> dict[str, Any]:
    """An operation that inserts a row into Ucast_Macs_Local."""
    row = {"MAC": mac, "logical_switch": ["uuid", switch], "locator": ["uuid", locator]}
    return {"op": "insert", "table": "Ucast_Macs_Local", "row": row}


def test_rows_of_another_physical_switch_of_the_database_are_left_alone(site: ThreePorts) -> None:
    node, (shared, theirs) = site.node, site.stations(2)
    node.vtep_ctl("add-ps", "elsewhere", "--", "set", "Physical_Switch", "elsewhere", "tunnel_ips=10.2.2.7,10.2.2.8")
    node.vtep_ctl("add-ls", "ls9", "--", "add-ucast-local", "ls0", theirs, "10.2.2.7")
    for ip in ("10.2.2.7", "10.2.2.8"):
        node.vtep_ctl("add-mcast-local", "ls9", "unknown-dst", ip)
    node.vtep_ctl("add-ucast-local", "ls0", shared, "10.2.2.8")
    for _ in range(2):
        site.p0.send(Frame(BROADCAST, shared))
        node.wait_until(lambda: locators(node, shared) == {OURS, "10.2.2.8"}, 3, "the station to be in both places")
        node.vtep_ctl("unbind-ls", "br0", "p0", "0")
        node.wait_until(lambda: locators(node, shared) == {"10.2.2.8"}, 3, "ours to go")
        bind(node, "ls0", "p0")
    assert locators(node, theirs) == {"10.2.2.7"}
    assert unknown_dst(node) == {"ls0": (OURS,), "ls9": ("10.2.2.7", "10.2.2.8")}
    node.vtep_ctl(
        "clear-local-macs", "ls9", "--", "clear-local-macs", "ls0", "--", "del-ls", "ls9", "--", "del-ps", "elsewhere"
    )
    node.wait_until(lambda: unknown_dst(node) == {"ls0": (OURS,)}, 3, "our own row to come back")


def locators(node: Node, mac: str) -> set[str]:
    """The locators of all rows of an address."""
    ips = {row["_uuid"]: row["dst_ip"] for row in node.rows("Physical_Locator")}
    return {ips[row["locator"]] for row in node.rows("Ucast_Macs_Local") if row["MAC"] == mac}


def test_local_rows_follow_the_tunnel_ip(site: ThreePorts) -> None:
    node, stations = site.node, site.stations(3)
    teach(node, site.p0, *stations)

    def everything_is_at(*ips: str) -> bool:
        found = {ips for rows in (node.macs(), node.macs("Mcast_Macs_Local")) for ips in rows.values()}
        return found == set(zip(ips, strict=True)) and {row["dst_ip"] for row in node.rows("Physical_Locator")} == set(
            ips
        )

    for ip in ("10.2.2.77", OURS):
        node.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={ip}")
        node.wait_until(lambda ip=ip: everything_is_at(ip), 5, f"all rows to name {ip}")
        assert {("ls0", mac) for mac in stations} <= node.macs().keys()
    node.vtep_ctl("clear", "Physical_Switch", "br0", "tunnel_ips")
    node.wait_until(lambda: not identities(node, *LOCAL), 5, "the rows to go: there is nothing to name")
    node.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={OURS}")
    node.wait_until(lambda: everything_is_at(OURS) and len(node.macs()) >= 3, 5, "the rows to come back")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_rows_outlive_the_database_server_and_are_followed_up_when_it_is_back(
    site: ThreePorts, how: signal.Signals
) -> None:
    """Open vSwitch does nothing at all while its database is down."""
    node, (stays, goes, comes) = site.node, site.stations(3)
    teach(node, site.p0, stays)
    teach(node, site.p1, goes)
    row = {row["_uuid"] for row in node.rows("Ucast_Macs_Local") if row["MAC"] == stays}
    node.ovsdb_server.stop(how)
    node.port_down("p1")
    node.start_ovsdb()
    node.wait_until(lambda: ("ls0", goes) not in node.macs(), 15, "what went meanwhile to go")
    teach(node, site.p0, comes)
    assert {row["_uuid"] for row in node.rows("Ucast_Macs_Local") if row["MAC"] == stays} == row
    assert unknown_dst(node) == {"ls0": (OURS,)}
    node.port_up("p1")
    node.wait_until(lambda: "LIVE" in node.ofctl("dump-ports-desc", "br0", "p1"), what="p1 to be up")


def test_two_thousand_addresses_learned_while_the_database_does_not_answer_are_published_when_it_does(
    site: ThreePorts,
) -> None:
    """Their transactions are larger than a socket's buffer."""
    node = site.node
    stations = [f"02:00:00:02:{number >> 8:02x}:{number & 255:02x}" for number in range(2000)]
    node.ovsdb_server.signal(signal.SIGSTOP)
    try:
        for start in range(0, len(stations), 50):
            site.p0.send(*(Frame(BROADCAST, mac) for mac in stations[start : start + 50]))
            time.sleep(0.05)  # About 1,000 a second.
        node.wait_until(lambda: table_flows(node, "learn").count("02:00:00:02:") == 2000, 20, "all to be learned")
    finally:
        node.ovsdb_server.signal(signal.SIGCONT)
    wanted = {("ls0", mac) for mac in stations}
    node.wait_until(lambda: len(node.rows("Ucast_Macs_Local")) >= len(wanted), 20, "their rows")
    assert wanted <= node.macs().keys()
