"""Metrics as Prometheus reads them, of a real switch, and the queries for them in etc/."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from apps.lab import Frame, Host, Lab, Node
from apps.lab.frames import BROADCAST
from apps.lab.underlay import Peer
from tests.system import support
from tests.system.support import ThreePorts, bind, new_frame, teach
from tests.system.tunnels import configure
from vtep_ryu.core.measures import BUCKETS
from vtep_ryu.show.metrics import HISTOGRAM, METRICS

ETC = Path(__file__).parents[2] / "etc"
PAGE = Path(__file__).parents[2] / "docs/metrics.rst"
PORT = 9279
OPTIONS = (
    *(f"--vtep-metrics-listen=127.0.0.1:{PORT}", "--vtep-statistics-interval=1"),
    *("--vtep-storm-control=5", "--vtep-pin-remote"),
)
GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode(), end='')"
PROMETHEUS = {"job", "instance"}
"""The labels that Prometheus adds."""

Series: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(node: Node) -> Series:
    """Every series, by its name and labels."""
    text = node.run(sys.executable, "-c", GET, f"http://127.0.0.1:{PORT}/metrics")
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "no two series are the same"
    return found


def value(node: Node, name: str, **labels: str) -> float | None:
    """What a series says, of br0 if it is a switch's."""
    found = scrape(node)
    for known in (labels, {"physical_switch": "br0", **labels}):
        if (key := (name, frozenset(known.items()))) in found:
            return found[key]
    return None


def wait_value(node: Node, wanted: float, name: str, **labels: str) -> None:
    """Wait until it says that."""
    node.wait_until(lambda: value(node, name, **labels) == wanted, 20, f"{name} {labels} to be {wanted:g}")


def wait_gone(node: Node, remote: str) -> None:
    """Wait until a tunnel has no series any more."""
    name = "vtep_tunnel_sent_packets_total"
    node.wait_until(lambda: value(node, name, remote=remote) is None, 20, f"the tunnel to {remote} to go")


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Peer:
    """Another VTEP."""
    return lab.peer("peer", "10.2.2.2/24")


@pytest.fixture(scope="module")
def site(lab: Lab, peer: Peer) -> ThreePorts:
    """A VTEP whose metrics have a series each: with a tunnel that has BFD, and a port that has flooded."""
    node = lab.node("a", "10.2.2.1/24")
    hosts = [node.add_port(f"p{number}") for number in range(3)]
    support.set_up(node, *OPTIONS)
    support.add_logical_switch(node, "ls0", 5000, "10.2.2.2")
    bind(node, "ls0", "p0", "p1")
    node.wait_until(lambda: node.rows("Tunnel"), what="the tunnel")
    configure(node, "10.2.2.2", "bfd_params", enable=True)
    node.wait_until(lambda: flooded(node, hosts[0]), 30, "storm control")
    return ThreePorts(node, *hosts, lab)


def flooded(node: Node, host: Host) -> bool:
    """Whether storm control has dropped anything, after some more frames."""
    host.send(*(new_frame(host.mac) for _ in range(50)))
    return value(node, "vtep_storm_control_dropped_total", port="p0") is not None


def names(name: str, kind: str) -> tuple[str, ...]:
    """What the series of a metric are called."""
    return tuple(f"{name}_{part}" for part in ("bucket", "sum", "count")) if kind == HISTOGRAM else (name,)


def served(node: Node) -> dict[str, list[dict[str, str]]]:
    """The labels of every series, by name."""
    found: dict[str, list[dict[str, str]]] = {}
    for name, labels in scrape(node):
        found.setdefault(name, []).append(dict(labels))
    return found


def test_every_metric_is_served_with_the_labels_that_it_declares(site: ThreePorts) -> None:
    found = served(site.node)
    declared = {name: metric for metric in METRICS for name in names(metric.name, metric.kind)}
    assert found.keys() == declared.keys()
    for name, metric in declared.items():
        expected = {*metric.labels, *(("le",) if name.endswith("_bucket") else ())}
        assert all(labels.keys() == expected for labels in found[name]), name


def test_the_page_has_every_metric_with_its_kind_its_labels_and_what_it_says() -> None:
    rows = re.findall(r"\* - ``(\w+)``\n +- (\w+)\n +- ?(.*)\n +- ((?:.+\n)+?)(?= +\* - |\n)", PAGE.read_text())
    shown = {
        name: (kind, tuple(re.findall(r"\w+", labels)), " ".join(text.split())) for name, kind, labels, text in rows
    }
    assert shown == {metric.name: (metric.kind, metric.labels, metric.text) for metric in METRICS}


# What they say.


def test_connections_and_what_there_is_are_told(site: ThreePorts) -> None:
    node = site.node
    for database in ("hardware_vtep", "Open_vSwitch"):
        assert value(node, "vtep_database_connected", database=database) == 1
    assert value(node, "vtep_bridges", state="served") == 1
    for name in ("vtep_switch_connected", "vtep_switch_served", "vtep_logical_switches", "vtep_tunnels"):
        assert value(node, name) == 1, name
    assert value(node, "vtep_bindings") == 2
    for table in ("Logical_Switch", "Mcast_Macs_Local", "Physical_Locator", "Tunnel"):
        wait_value(node, len(node.rows(table)), "vtep_database_rows", database="hardware_vtep", table=table)
    assert value(node, "vtep_database_rows", database="Open_vSwitch", table="Bridge") == 2
    assert value(node, "vtep_tunnel_bfd_up", remote="10.2.2.2") == 0, "nobody answers there"


@pytest.mark.parametrize("table", ["classify", "learn", "unicast", "flood", "egress", "undelivered"])
def test_flows_are_as_many_as_the_switch_has(site: ThreePorts, table: str) -> None:
    node = site.node
    node.wait_until(
        lambda: value(node, "vtep_flows", table=table) == support.table_flows(node, table).count("priority="),
        what="the same number of flows",
    )


def test_what_is_learned_and_what_moves_counts(site: ThreePorts) -> None:
    node, (mac,) = site.node, site.stations(1)
    learned, moved = (value(node, f"vtep_addresses_{what}_total") or 0 for what in ("learned", "moved"))
    teach(node, site.p0, mac)
    wait_value(node, learned + 1, "vtep_addresses_learned_total")
    site.p1.send(Frame(BROADCAST, mac))
    wait_value(node, moved + 1, "vtep_addresses_moved_total")
    assert value(node, "vtep_packet_ins_total", outcome="moved") == moved + 1
    assert value(node, "vtep_events_total", event="moved") == moved + 1


def test_traffic_and_drops_are_those_of_the_switch(site: ThreePorts) -> None:
    node, binding = site.node, {"logical_switch": "ls0", "port": "p0", "vlan": "0"}
    before = value(node, "vtep_binding_received_packets_total", **binding) or 0
    dropped = value(node, "vtep_frames_dropped_total", table="classify") or 0
    site.p0.send(*(new_frame(site.p0.mac, site.p1.mac) for _ in range(7)))
    site.p2.send(*(new_frame(site.p2.mac) for _ in range(3)))  # It is not bound.
    # Frames of before may still be to be counted.
    for wanted, name, labels in (
        (before + 7, "vtep_binding_received_packets_total", binding),
        (dropped + 3, "vtep_frames_dropped_total", {"table": "classify"}),
    ):
        node.wait_until(lambda args=(wanted, name, labels): (value(node, args[1], **args[2]) or 0) >= args[0], 20, name)


def test_frames_from_sources_that_cannot_be_or_may_not_be_there_count_as_drops(site: ThreePorts) -> None:
    node, pinned, nobody = site.node, "00:11:22:33:47:01", "00:00:00:00:00:00"
    node.vtep_ctl("add-ucast-remote", "ls0", pinned, "10.2.2.2")
    node.wait_until(lambda: pinned in support.table_flows(node, "learn"), what="its flow")
    support.forget_megaflows(node)
    for source, table, count in ((pinned, "pinned", 3), (nobody, "learn", 2)):
        site.p1.send(*(new_frame(source) for _ in range(count)))
        wait_value(node, count, "vtep_frames_dropped_total", table=table)
    told = support.counters(node)["br0"]
    assert (told["frames_pinned"], told["frames_impossible"]) == (3, 2)
    node.vtep_ctl("del-ucast-remote", "ls0", pinned)
    for table in ("flood", "egress", "tunnel"):
        assert value(node, "vtep_frames_dropped_total", table=table) == 0


def test_what_comes_from_another_vtep_counts_by_that(site: ThreePorts, peer: Peer) -> None:
    node, mac = site.node, site.lab.new_mac()

    def is_counted() -> bool:
        peer.send_vxlan(new_frame(mac, site.p0.mac), 5000, to="10.2.2.1")
        return bool(value(node, "vtep_tunnel_received_packets_total", remote="10.2.2.2"))

    node.wait_until(is_counted, 20, "frames that came")
    assert value(node, "vtep_tunnel_received_bytes_total", remote="10.2.2.2")


def test_what_is_sent_to_another_vtep_counts_by_that_whatever_becomes_of_addresses(site: ThreePorts) -> None:
    node, to_c, also_to_c, to_d = site.node, *(f"00:11:22:33:46:{number:02x}" for number in range(3))

    def send(mac: str, count: int) -> None:
        site.p0.send(*(new_frame(site.p0.mac, mac) for _ in range(count)))

    for mac, remote in ((to_c, "10.2.2.3"), (also_to_c, "10.2.2.3"), (to_d, "10.2.2.4")):
        node.vtep_ctl("add-ucast-remote", "ls0", mac, remote)
        node.wait_until(lambda mac=mac: mac in support.table_flows(node, "unicast"), what="its flow")
    support.forget_megaflows(node)
    for mac, count in ((to_c, 5), (also_to_c, 3), (to_d, 2)):
        send(mac, count)
    wait_value(node, 8, "vtep_tunnel_sent_packets_total", remote="10.2.2.3")
    wait_value(node, 2, "vtep_tunnel_sent_packets_total", remote="10.2.2.4")
    length = len(new_frame(site.p0.mac, to_c).pack())
    assert value(node, "vtep_tunnel_sent_bytes_total", remote="10.2.2.3") == 8 * length
    node.vtep_ctl("del-ucast-remote", "ls0", to_c)
    node.wait_until(lambda: to_c not in support.table_flows(node, "unicast"), what="its flow to be gone")
    send(also_to_c, 3)
    wait_value(node, 11, "vtep_tunnel_sent_packets_total", remote="10.2.2.3")
    node.vtep_ctl("del-ucast-remote", "ls0", also_to_c)
    wait_gone(node, "10.2.2.3")
    assert value(node, "vtep_tunnel_sent_packets_total", remote="10.2.2.4") == 2


def test_each_copy_of_what_is_flooded_counts_by_the_vtep_that_it_is_for(site: ThreePorts) -> None:
    node, count = site.node, 4
    support.add_logical_switch(node, "ls1", 5001, "10.2.2.5", "10.2.2.6")
    node.vtep_ctl("set-replication-mode", "ls1", "source_node")
    bind(node, "ls1", "p2")
    node.wait_until(lambda: "10.2.2.6" in node.ofctl("dump-groups", "br0"), what="the copies")
    support.forget_megaflows(node)
    site.p2.send(*(new_frame(site.p2.mac) for _ in range(count)))
    for remote in ("10.2.2.5", "10.2.2.6"):
        wait_value(node, count, "vtep_tunnel_sent_packets_total", remote=remote)
    node.vtep_ctl("unbind-ls", "br0", "p2", "0")
    for remote in ("10.2.2.5", "10.2.2.6"):
        wait_gone(node, remote)


def test_a_change_of_the_database_is_timed_until_the_switch_has_acknowledged_it(site: ThreePorts) -> None:
    node = site.node
    before = value(node, "vtep_change_seconds_count") or 0
    changes = value(node, "vtep_changes_total", change="put_flow") or 0
    node.vtep_ctl("add-ucast-remote", "ls0", "00:11:22:33:44:55", "10.2.2.2")
    node.wait_until(lambda: (value(node, "vtep_change_seconds_count") or 0) > before, what="it to be timed")
    found = scrape(node)
    of_switch, bounds = ("physical_switch", "br0"), (*map(str, BUCKETS), "+Inf")
    buckets = [found["vtep_change_seconds_bucket", frozenset((of_switch, ("le", each)))] for each in bounds]
    assert buckets == sorted(buckets)
    assert buckets[-1] == found["vtep_change_seconds_count", frozenset((of_switch,))]
    assert (value(node, "vtep_changes_total", change="put_flow") or 0) > changes


def test_faults_and_values_that_are_left_out_count(site: ThreePorts) -> None:
    node = site.node
    node.vtep_ctl("add-ucast-remote", "ls0", "01:00:00:00:00:01", "10.2.2.2")
    wait_value(node, 1, "vtep_errors_total", kind="bad_value")
    node.vtep_ctl("del-ucast-remote", "ls0", "01:00:00:00:00:01")
    add_router = {"op": "insert", "table": "Logical_Router", "row": {"name": "lr0"}}
    node.transact(add_router)
    wait_value(node, 1, "vtep_faults", keyword="lr_support_fault")
    node.transact({"op": "delete", "table": "Logical_Router", "where": []})
    wait_value(node, 0, "vtep_faults", keyword="lr_support_fault")


def test_there_are_no_more_series_with_more_addresses(site: ThreePorts) -> None:
    node = site.node
    teach(node, site.p0, *site.stations(1))
    before = scrape(node).keys()
    teach(node, site.p0, *site.stations(200))
    assert scrape(node).keys() == before
    assert (value(node, "vtep_addresses", kind="local") or 0) > 200


# The queries.


def queries() -> Iterator[tuple[str, str]]:
    """Those of the rules and of the dashboard, by what they are for."""
    for group in yaml.safe_load((ETC / "alerts.yml").read_text())["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])
    for panel in json.loads((ETC / "grafana-dashboard.json").read_text())["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])


def parsed(query: str) -> Any:
    """As Grafana sends it."""
    return promql_parser.parse(query.replace("$physical_switch", ".*").replace("$__rate_interval", "1m"))


def parts(expression: Any) -> Iterator[Any]:
    """An expression and all that is in it."""
    yield expression
    inner = [getattr(expression, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    for each in (*inner, *getattr(expression, "args", ())):
        if each is not None:
            yield from parts(each)


def matches(matcher: promql_parser.Matcher, labels: Mapping[str, str]) -> bool:
    """Whether a series is one that a selector wants, by one of its labels."""
    wanted, is_there = matcher.value, labels.get(matcher.name, "")
    if matcher.name in PROMETHEUS:
        return True
    match str(matcher.op):
        case "MatchOp.Equal":
            return is_there == wanted
        case "MatchOp.Re":
            return re.fullmatch(wanted, is_there) is not None
    pytest.fail(f"nothing here knows {matcher.op}")


@pytest.fixture(scope="module")
def found(site: ThreePorts) -> dict[str, list[dict[str, str]]]:
    """What the running instance serves."""
    return {**served(site.node), "up": [{}]}


@pytest.mark.parametrize(("what", "query"), list(queries()))
def test_every_metric_and_label_in_a_query_is_one_that_is_served(
    found: dict[str, list[dict[str, str]]], what: str, query: str
) -> None:
    labels = set(PROMETHEUS)
    expressions = list(parts(parsed(query)))
    selectors = [each for each in expressions if isinstance(each, promql_parser.VectorSelector)]
    assert selectors
    for selector in selectors:
        wanted = selector.matchers.matchers
        assert any(all(matches(each, known) for each in wanted) for known in found[selector.name or ""]), str(selector)
        labels.update(*found[selector.name or ""])
    by = {label for each in expressions for label in getattr(getattr(each, "modifier", None), "labels", ())}
    assert by <= labels


def test_every_alert_has_a_test_of_what_raises_it() -> None:
    rules = [rule for group in yaml.safe_load((ETC / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    tests = yaml.safe_load((ETC / "alerts_test.yml").read_text())["tests"]
    raised = {case["alertname"] for each in tests for case in each["alert_rule_test"] if case.get("exp_alerts")}
    assert raised == {rule["alert"] for rule in rules}


def test_every_metric_is_in_the_dashboard() -> None:
    used = {each.name for _, query in queries() for each in parts(parsed(query)) if hasattr(each, "matchers")}
    exempt = {f"vtep_change_seconds_{part}" for part in ("sum", "count")}
    assert {name for metric in METRICS for name in names(metric.name, metric.kind)} - exempt <= used


def test_what_alerts_and_panels_say_of_labels_is_there(found: dict[str, list[dict[str, str]]]) -> None:
    for group in yaml.safe_load((ETC / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            check_labels(found, rule["expr"], re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    for panel in json.loads((ETC / "grafana-dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            check_labels(found, target["expr"], re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))


def check_labels(found: Mapping[str, list[dict[str, str]]], query: str, shown: list[str]) -> None:
    """The result of a query has the labels that are shown of it."""
    expressions = list(parts(parsed(query)))
    modifiers = [each.modifier for each in expressions if isinstance(each, promql_parser.AggregateExpr)]
    grouped = [modifier.labels for modifier in modifiers if modifier]
    (name,) = {each.name for each in expressions if isinstance(each, promql_parser.VectorSelector)}
    there = set(grouped[0]) if grouped else PROMETHEUS.union(*found.get(name, ()))
    assert set(shown) <= there, query


# The port.


def test_what_is_no_request_is_refused_and_nothing_else_happens(site: ThreePorts) -> None:
    for nonsense in ("POST /metrics HTTP/1.0\\r\\n\\r\\n", "nonsense\\r\\n\\r\\n", "\\x00" * 100):
        send = f"printf '{nonsense}' | timeout 5 nc -q 1 127.0.0.1 {PORT} || true"
        assert "vtep_" not in site.node.run("sh", "-c", send)
    assert value(site.node, "vtep_switch_served") == 1


def test_a_port_that_another_program_has_is_one_clear_line_and_exit_status_1(site: ThreePorts) -> None:
    node = site.node
    command = node.app.command("--ofp-tcp-listen-port=6654", f"--vtep-metrics-listen=127.0.0.1:{PORT}")
    second = node.popen(*command, stderr=subprocess.PIPE)
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    wrong = f"cannot listen on 127.0.0.1:{PORT} for metrics: Address already in use"
    assert errors.splitlines()[-1] == f"ryu-manager: error: {wrong}"
