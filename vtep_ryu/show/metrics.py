"""Metrics: what each is called, what it says, and where it is read.

None has a series for each address: how many series there are grows with ports, bindings, tunnels and switches alone.
docs/metrics.rst has this list as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from vtep_ryu.core import faults
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.events import Events, Kind
from vtep_ryu.core.learning import Outcome
from vtep_ryu.core.measures import CHANGES, GROUPS, METERS, Delays, Measures, TunnelTraffic
from vtep_ryu.core.statistics import BindingStats
from vtep_ryu.show.site import Served, Site

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

KEYWORDS = (
    *(faults.INVALID_ACL_BINDING, faults.INVALID_VLAN_MAP, faults.LR_SUPPORT_FAULT),
    *(faults.MAC_TABLE_EXHAUSTION, faults.TUNNEL_EXHAUSTION, faults.UNSPECIFIED_FAULT),
)
ERRORS = ("bad_value", "not_written", "database_lost", "switch_lost", "refused_by_switch")
OUTCOMES = (*(each.name.lower() for each in Outcome), "frozen", "pinned", "lost")

Labels: TypeAlias = tuple[str, ...]
Series: TypeAlias = Iterable[tuple[Labels, float | Delays]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where metrics are read: of databases whether they are connected and how many rows of each table they have,
    of bridges how many are in which state.

    errors are those that the databases' clients count, build is what the program is, process what it takes.
    """

    site: Site
    databases: Mapping[str, bool]
    rows: Mapping[str, Mapping[str, int]]
    bridges: Mapping[str, int]
    events: Events
    errors: Mapping[str, int]
    build: Mapping[str, str]
    process: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. read gives its series: the labels' values, and the value, of a histogram the delays."""

    name: str
    kind: str
    labels: Labels
    text: str
    read: Callable[[Sources], Series]


def _of_switches(
    name: str,
    kind: str,
    labels: Labels,
    text: str,
    read: Callable[[Served], Iterable[tuple[Labels, float | Delays]]],
) -> Metric:
    """A metric of each physical switch, whose name is its first label."""

    def series(sources: Sources) -> Series:
        for switch, served in tuple(sources.site.vteps.items()):
            for values, value in read(served):
                yield (switch, *values), value

    return Metric(name, kind, ("physical_switch", *labels), text, series)


def _one(name: str, kind: str, text: str, read: Callable[[Served], float | Delays]) -> Metric:
    return _of_switches(name, kind, (), text, lambda served: [((), read(served))])


def _process(name: str, kind: str, text: str) -> Metric:
    return Metric(name, kind, (), text, lambda sources: [((), sources.process[name])])


def _errors(sources: Sources) -> Series:
    refused = sum(served.vtep.measures.refused for served in sources.site.vteps.values())
    here = {"switch_lost": sources.events.counts[Kind.LOST], "refused_by_switch": refused}
    return [((kind,), here.get(kind, sources.errors.get(kind, 0))) for kind in ERRORS]


def _rows(sources: Sources) -> Series:
    for database, sizes in sources.rows.items():
        yield from (((database, table), size) for table, size in sizes.items())


def _addresses(served: Served) -> Series:
    vtep = served.vtep
    switches = vtep.bindings.logical_switches()
    yield ("local",), sum(len(vtep.stations.of_switch(each)) for each in switches)
    yield ("remote",), sum(len(vtep.database.remotes(each)) for each in switches)
    yield ("frozen",), vtep.counters.frozen_now


def _faults(served: Served) -> Series:
    vtep = served.vtep
    found = [each for keywords in vtep.faults().values() for each in keywords]
    return [((keyword,), found.count(keyword)) for keyword in KEYWORDS]


def _packet_ins(served: Served) -> Series:
    yield ("ignored",), served.vtep.counters.packet_ins_ignored
    for outcome in OUTCOMES:
        yield (outcome,), served.vtep.measures.packet_ins[outcome]


def _drops(served: Served) -> Series:
    yield (p.LEARN.name,), served.vtep.drops.frames[p.LEARN.name]
    yield (p.UNICAST.name,), served.vtep.counters.frames_storm_dropped
    for table in p.TABLES:
        if table.miss is None:
            yield (table.name,), served.vtep.drops.frames[table.name]


def _storms(served: Served) -> Series:
    return [((port,), frames) for port, frames in served.vtep.counters.frames_storm_dropped_by_port.items()]


def _sessions(served: Served) -> Series:
    sessions = served.vtep.sessions
    return [((ip,), sessions.is_alive(ip)) for ip in sorted(sessions.remotes()) if sessions.port_with(ip)]


def _tunnels(name: str, text: str, traffic: Callable[[Measures], TunnelTraffic], index: int) -> Metric:
    def read(served: Served) -> Series:
        return [((ip,), counts[index]) for ip, counts in traffic(served.vtep.measures).counted.items()]

    return _of_switches(name, COUNTER, ("remote",), text, read)


def _bindings(name: str, text: str, field: str) -> Metric:
    def read(served: Served) -> Iterator[tuple[Labels, float | Delays]]:
        vtep = served.vtep
        nothing = BindingStats()
        for place, row in tuple(vtep.bindings.all_places()):
            switch = vtep.database.logical_switch(vtep.bindings.logical_switch(place) or "")
            if switch is not None:
                stats = vtep.measures.bindings.get((row, place.vlan), nothing)
                yield (switch.name, place.port, str(place.vlan)), getattr(stats, field)

    return _of_switches(name, COUNTER, ("logical_switch", "port", "vlan"), text, read)


METRICS = (
    Metric(
        "vtep_build_info",
        GAUGE,
        ("version", "python", "ovs"),
        "1; the labels say which versions of the program, of Python and of its ovs package these are.",
        lambda sources: [((*map(sources.build.__getitem__, ("version", "python", "ovs")),), 1)],
    ),
    Metric(
        "vtep_database_connected",
        GAUGE,
        ("database",),
        "Whether a database is connected, and its rows are there.",
        lambda sources: [((name,), up) for name, up in sources.databases.items()],
    ),
    Metric(
        "vtep_database_rows",
        GAUGE,
        ("database", "table"),
        "Rows of the tables that are followed, as last read.",
        _rows,
    ),
    Metric(
        "vtep_bridges",
        GAUGE,
        ("state",),
        "Bridges that this instance owns, has the flows in of (served), or stands by for.",
        lambda sources: [((state,), number) for state, number in sources.bridges.items()],
    ),
    Metric(
        "vtep_events_total",
        COUNTER,
        ("event",),
        "What has happened, by the names of the events.",
        lambda sources: [((kind.value,), sources.events.counts[kind]) for kind in Kind],
    ),
    Metric("vtep_errors_total", COUNTER, ("kind",), "What went wrong, by kind.", _errors),
    _one("vtep_switch_connected", GAUGE, "Whether the switch is connected.", lambda each: each.datapath_id is not None),
    _one("vtep_switch_served", GAUGE, "Whether its flows are in, and follow the database.", lambda each: each.served),
    _one(
        "vtep_logical_switches",
        GAUGE,
        "Logical switches that are bound there.",
        lambda each: len(each.vtep.bindings.logical_switches()),
    ),
    _one("vtep_bindings", GAUGE, "VLANs of ports that are bound.", lambda each: each.vtep.bindings.count()),
    _one(
        "vtep_tunnels", GAUGE, "Other VTEPs that there are tunnels to.", lambda each: len(each.vtep.sessions.remotes())
    ),
    _of_switches(
        "vtep_addresses",
        GAUGE,
        ("kind",),
        "Addresses of the logical switches that are bound: learned here (local), of Ucast_Macs_Remote, and frozen.",
        _addresses,
    ),
    _of_switches(
        "vtep_faults",
        GAUGE,
        ("keyword",),
        "Rows that have this keyword in a fault column of vtep(5): the physical switch's and its ports'.",
        _faults,
    ),
    _of_switches(
        "vtep_flows",
        GAUGE,
        ("table",),
        "Flows that the program has in each table of the switch.",
        lambda each: [((table.name,), each.vtep.measures.installed[table.name]) for table in p.TABLES],
    ),
    _one("vtep_groups", GAUGE, "Groups that it has there.", lambda each: each.vtep.measures.installed[GROUPS]),
    _one("vtep_meters", GAUGE, "Meters that it has there.", lambda each: each.vtep.measures.installed[METERS]),
    _of_switches(
        "vtep_changes_total",
        COUNTER,
        ("change",),
        "Changes that the switch has taken.",
        lambda each: [((change,), each.vtep.measures.changes[change]) for change in CHANGES.values()],
    ),
    _one(
        "vtep_change_seconds",
        HISTOGRAM,
        "From an update of the database, when it was received, until the switch has acknowledged all that follows.",
        lambda each: each.vtep.measures.delays,
    ),
    _of_switches(
        "vtep_packet_ins_total", COUNTER, ("outcome",), "Frames to learn from, by what became of them.", _packet_ins
    ),
    _one(
        "vtep_addresses_learned_total",
        COUNTER,
        "Addresses that were known at no binding, and learned.",
        lambda each: each.vtep.counters.addresses_learned,
    ),
    _one(
        "vtep_addresses_moved_total",
        COUNTER,
        "Addresses that were seen at another binding, and followed.",
        lambda each: each.vtep.counters.addresses_moved,
    ),
    _one(
        "vtep_addresses_frozen_total",
        COUNTER,
        "How often an address was frozen where it is, for it moved too often.",
        lambda each: each.vtep.counters.addresses_frozen,
    ),
    _of_switches(
        "vtep_frames_dropped_total",
        COUNTER,
        ("table",),
        "Frames that a table dropped: of no logical switch (classify), from an impossible source (learn), from one "
        "that pin_remote keeps away (pinned), by storm control (unicast), for members that were all down "
        "(undelivered), and where flows were still to come or had just gone (flood, egress, tunnel).",
        _drops,
    ),
    _of_switches(
        "vtep_storm_control_dropped_total", COUNTER, ("port",), "Frames of a port that storm control dropped.", _storms
    ),
    _of_switches("vtep_tunnel_bfd_up", GAUGE, ("remote",), "Whether BFD says that another VTEP is reached.", _sessions),
    _tunnels(
        "vtep_tunnel_received_packets_total",
        "Frames that came from another VTEP; any is for a VNI that is taken from whoever sends it (accept_any_source).",
        lambda measures: measures.from_tunnels,
        0,
    ),
    _tunnels("vtep_tunnel_received_bytes_total", "Bytes of these.", lambda measures: measures.from_tunnels, 1),
    _tunnels(
        "vtep_tunnel_sent_packets_total",
        "Frames that were sent to another VTEP, each copy.",
        lambda measures: measures.to_tunnels,
        0,
    ),
    _tunnels("vtep_tunnel_sent_bytes_total", "Bytes of these.", lambda measures: measures.to_tunnels, 1),
    _bindings("vtep_binding_received_packets_total", "Frames that a binding received.", "packets_from_local"),
    _bindings("vtep_binding_received_bytes_total", "Bytes of these.", "bytes_from_local"),
    _bindings("vtep_binding_sent_packets_total", "Frames that a binding sent.", "packets_to_local"),
    _bindings("vtep_binding_sent_bytes_total", "Bytes of these.", "bytes_to_local"),
    _process("process_cpu_seconds_total", COUNTER, "Processor time that the program has taken, in seconds."),
    _process("process_resident_memory_bytes", GAUGE, "Memory that the program has, in bytes."),
    _process("process_open_fds", GAUGE, "File descriptors that the program has open."),
)
"""All of them."""
