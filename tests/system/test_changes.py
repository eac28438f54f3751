"""A changed row among many changes what it touches and nothing else: other flows keep their counters."""

import re
from collections.abc import Callable

import pytest

from apps.lab import Lab
from tests.system.nvc import Nvc, Site, new_frame
from tests.system.support import reconciliations
from vtep_ryu.core.pipeline import ID_BITS, GroupKind

pytestmark = pytest.mark.timeout(120)

NEAR, FAR = "10.2.2.8", "10.2.2.9"
ROWS = 10_000
MACS = [f"02:99:00:00:{n >> 8:02x}:{n & 0xFF:02x}" for n in range(ROWS)]
CHANGED = MACS[ROWS // 2]
NEW = "02:98:00:00:00:01"
GROUP = "01:00:5e:00:00:01"
LOCAL_6000, LOCAL_7000 = (f"group:{0x20000000 | vni}" for vni in (6000, 7000))
"""The local bindings of ls1."""
SETTLES = re.compile(r"metadata[=:]0x(100)?f0")
"""The flows of the logical switch that tells when the switch has followed the database."""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """A VTEP with three hosts and two peers, and 10,000 rows in Ucast_Macs_Remote of ls0."""
    site = Site(lab, ("p0", "p1", "p2"), (NEAR, FAR), "--verbose", "--vtep-statistics-interval", "0")
    nvc = site.reset(replication_mode="source_node")
    nvc.multicast("ls0", "unknown-dst", NEAR, FAR, settle=False)
    nvc.multicast("ls0", GROUP, NEAR, settle=False)
    nvc.logical_switch("ls1", tunnel_key=6000, settle=False)
    nvc.unicast("ls0", dict.fromkeys(MACS, FAR), settle=False)
    nvc.bind({"p0": {0: "ls0", 5: "ls1"}, "p1": {0: "ls0", 5: "ls1"}, "p2": {0: "ls0"}})
    nvc.settle()  # So many flows take several bundles; the first may tell that the switch follows.
    return site


def counters(site: Site) -> dict[str, str]:
    """What each flow and each group of the bridge has counted, by its text; those that tell of settling left out."""
    site.node.appctl("ovs-vswitchd", "revalidator/purge")  # What the datapath has counted so far reaches the flows.
    flow = re.compile(r"cookie=\S+, duration=\S+ (.*?)(n_packets=\d+), n_bytes=\d+, (.*)")
    flows = (flow.search(line) for line in site.node.ofctl("dump-flows", "br0").splitlines())
    found = {match[1] + match[3]: match[2] for match in flows if match and not SETTLES.search(match[3])}
    group = re.compile(r"group_id=(\d+),(?:duration=\S+?,ref_count=\d+,)?(.*)")
    for command in ("dump-groups", "dump-group-stats"):
        for match in group.finditer(site.node.ofctl(command, "br0")):
            if not tells_of_settling(int(match[1])):
                found[f"{command} group:{match[1]}"] = match[2]
    return found


def tells_of_settling(group: int) -> bool:
    """Whether a group is of the logical switch that tells when the switch has followed: its id has that one's VNI."""
    kind, id = divmod(group, 1 << ID_BITS)
    return kind != GroupKind.NUMBERED and id >> 20 == 0xF


def use_everything(site: Site) -> None:
    """Traffic through every stage: learned, known remote, flooded, multicast, tagged, and from a tunnel."""
    for host in site.hosts.values():
        host.send(new_frame(host.mac), new_frame(host.mac, GROUP), *(new_frame(host.mac, mac) for mac in MACS[:5]))
        host.send(new_frame(host.mac, CHANGED), *(new_frame(host.mac, other.mac) for other in site.hosts.values()))
        site.carried(host)
    for port in ("p0", "p1"):
        site.hosts[port].send(new_frame(site.hosts[port].mac, "ff:ff:ff:ff:ff:ff", 5))
    site.delivered(NEAR, 5000, new_frame(NEW), marker=new_frame(NEW))
    learned = {("ls0", host.mac) for host in site.hosts.values()}
    learned |= {("ls1", site.hosts[port].mac) for port in ("p0", "p1")}
    site.node.wait_until(lambda: learned <= site.node.macs().keys(), what="all stations to be learned")
    site.nvc.settle()


def retag(nvc: Nvc) -> None:
    """Change one VLAN of a port that has two bindings."""
    nvc.bind({"p1": {0: "ls0", 6: "ls1"}})


@pytest.mark.parametrize(
    ("change", "undo", "touched"),
    [
        pytest.param(
            lambda nvc: nvc.move_unicast(CHANGED, NEAR),
            lambda nvc: nvc.move_unicast(CHANGED, FAR),
            {CHANGED},
            id="a locator",
        ),
        pytest.param(
            lambda nvc: nvc.unicast("ls0", {NEW: FAR}),
            lambda nvc: nvc.delete("Ucast_Macs_Remote", NEW),
            {NEW},
            id="a new address",
        ),
        pytest.param(
            lambda nvc: nvc.multicast("ls0", GROUP, NEAR, FAR),
            lambda nvc: nvc.multicast("ls0", GROUP, NEAR),
            {GROUP, "{group}"},
            id="a group's members",
        ),
        pytest.param(
            lambda nvc: nvc.logical_switch("ls1", tunnel_key=7000),
            lambda nvc: nvc.logical_switch("ls1", tunnel_key=6000),
            {"0x1770/", "0x100001770/", "0x1b58/", "0x100001b58/", LOCAL_6000, LOCAL_7000},
            id="another logical switch's key",
        ),
        pytest.param(
            retag,
            lambda nvc: nvc.bind({"p1": {0: "ls0", 5: "ls1"}}),
            {"0x{p1}005", "0x{p1}006", LOCAL_6000},
            id="a binding",
        ),
    ],
)
def test_flows_that_a_change_does_not_touch_keep_their_counters(
    site: Site, change: Callable[[Nvc], None], undo: Callable[[Nvc], None], touched: set[str]
) -> None:
    (group,) = re.findall(rf"dl_dst={GROUP} actions=(group:\d+)", site.node.ofctl("dump-flows", "br0"))
    touched = {part.format(p1=f"{site.node.ofport('p1'):x}", group=group) for part in touched}
    use_everything(site)
    before = counters(site)
    assert len(before) > ROWS
    assert sum(counted not in ("n_packets=0", "") for counted in before.values()) > 30
    try:
        change(site.nvc)
        after = counters(site)
        changed = {flow for flow, _ in before.items() ^ after.items()}
        assert changed, "the change is seen in the flows, or the test proves nothing"
        assert {flow for flow in changed if not any(part in flow for part in touched)} == set()
    finally:
        undo(site.nvc)


def test_one_changed_row_among_10000_renders_one_unit(site: Site) -> None:
    rows = {row["MAC"]: row["_uuid"] for row in site.node.rows("Ucast_Macs_Remote")}
    near = next(row["_uuid"] for row in site.node.rows("Physical_Locator") if row["dst_ip"] == NEAR)
    assert len(rows) >= ROWS
    before = len(reconciliations(site.node))
    site.node.transact(
        {
            "op": "update",
            "table": "Ucast_Macs_Remote",
            "where": [["_uuid", "==", ["uuid", rows[MACS[7]]]]],
            "row": {"locator": ["uuid", near]},
        }
    )
    flow = ("dump-flows", "br0", f"dl_dst={MACS[7]}")
    site.node.wait_until(lambda: f"{NEAR}->tun_dst" in site.node.ofctl(*flow), what="the flow to lead to its new VTEP")
    site.node.wait_until(lambda: len(reconciliations(site.node)) > before, what="the line in the log")
    assert reconciliations(site.node)[before:] == [(1, 1)]


def test_rows_that_are_all_replaced_in_one_transaction_change_no_flow(site: Site) -> None:
    """They are handed over in parts."""
    rows = [row for row in site.node.rows("Ucast_Macs_Remote") if row["MAC"] in MACS]
    assert len(rows) == ROWS
    new = [
        {"MAC": row["MAC"], "logical_switch": ["uuid", row["logical_switch"]], "locator": ["uuid", row["locator"]]}
        for row in rows
    ]
    before = len(reconciliations(site.node))
    site.node.transact(
        {"op": "delete", "table": "Ucast_Macs_Remote", "where": []},
        *({"op": "insert", "table": "Ucast_Macs_Remote", "row": row} for row in new),
    )
    site.nvc.settle()
    there = {row["_uuid"] for row in site.node.rows("Ucast_Macs_Remote")}
    assert there.isdisjoint(row["_uuid"] for row in rows)

    def since() -> list[tuple[int, int]]:
        return reconciliations(site.node)[before:]

    site.node.wait_until(lambda: sum(units for units, _ in since()) >= ROWS, timeout=60, what="their units rendered")
    site.nvc.settle()
    assert sum(changes for _, changes in since()) < 100  # Those by which the switch is seen to have followed.
