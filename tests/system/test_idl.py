"""drivers/idl.py beside the ovs package's own IDL: the same rows after the same random transactions."""

import time
from collections.abc import Iterator
from typing import Any

import ovs.db.idl
import ovs.poller
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from apps.lab import Lab, Node
from tests.system import support
from tests.system.test_fuzz import MACS, TRANSACTIONS, Transaction
from vtep_ryu.drivers import jsonrpc
from vtep_ryu.drivers.hwvtep import COLUMNS, COMPACT, REMOTES
from vtep_ryu.drivers.idl import Idl

SCHEMA = "/usr/share/openvswitch/vtep.ovsschema"
NAME = '"},"\\{é'
ROWS = 3000
"""More than the last messages that ovsdb-server keeps for a client that comes back, and than one part of an update."""


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    return support.database_alone(lab)


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates are read in parts from a length on that they have here."""
    monkeypatch.setattr(jsonrpc, "READ_BYTES", 500)
    monkeypatch.setattr(jsonrpc, "PART", 300)


class MonitorCond(Idl):
    """What the server of Open vSwitch 2.6 to 2.11 is asked."""

    def _Idl__send_monitor_request(self, *_: Any) -> None:  # noqa: N802
        self.state = self.IDL_S_INITIAL
        super()._Idl__send_monitor_request()


class Monitor(Idl):
    """What an older one is asked, and what RFC 7047 has."""

    def _Idl__send_monitor_request(self, *_: Any) -> None:  # noqa: N802
        self.state = self.IDL_S_MONITORING
        super()._Idl__send_monitor_request()


class Pair:
    """Both, on one server."""

    def __init__(self, node: Node, ours: type[Idl]) -> None:
        self.node = node
        remote = f"unix:{node.socket}"
        self.stock = ovs.db.idl.Idl(remote, _helper())
        self.ours = ours(remote, _helper(), {table: COLUMNS[table] for table in COMPACT})
        self.before: dict[str, dict[Any, Any]] = {table: {} for table in COMPACT}
        for idl in (self.stock, self.ours):
            # A connection that was lost soon is made again after 1 s, then after 2, 4 and 8: longer than is waited for.
            idl._session.reconnect.min_backoff, idl._session.reconnect.max_backoff = 20, 100

    def check(self) -> None:
        """Wait until both have the rows that the server has, and see that what changed in compact tables was noted."""
        self.node.wait_until(self._same, 60, "the same rows")
        for table, before in self.before.items():
            now = dict(self.ours.rows(table))
            differing = {uuid for uuid in before.keys() | now.keys() if before.get(uuid) != now.get(uuid)}
            assert differing <= self.ours.changed.get(table, set())
            assert not self.ours.tables[table].rows
            self.before[table] = now
        self.ours.changed = {}

    def _same(self) -> bool:
        there = {
            table: {
                row["_uuid"]: (row["_uuid"], *(row[column] for column in COLUMNS[table]))
                for row in self.node.rows(table)
            }
            for table in COMPACT
        }
        for idl in (self.stock, self.ours):
            _catch_up(idl)
        return there == self.ours.compact and _contents(self.stock) == _contents(self.ours)

    def close(self) -> None:
        """Hang up."""
        self.stock.close()
        self.ours.close()


def _helper() -> Any:
    helper = ovs.db.idl.SchemaHelper(location=SCHEMA)
    for table, columns in COLUMNS.items():
        helper.register_columns(table, list(columns))
    return helper


def _catch_up(idl: Any) -> None:
    seen, patience = -1, time.monotonic() + 60
    while idl.state != idl.IDL_S_MONITORING or idl.change_seqno != seen:
        assert time.monotonic() < patience, f"{type(idl).__name__} is in state {idl.state}"
        seen = idl.change_seqno
        poller = ovs.poller.Poller()
        idl.wait(poller)
        poller.timer_wait(20)
        poller.block()
        idl.run()


def _contents(idl: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, table in idl.tables.items():
        rows = table.rows.values()
        found[name] = {str(row.uuid): {column: row._data[column].to_json() for column in table.columns} for row in rows}
    for name, compact in idl.compact.items() if isinstance(idl, Idl) else ():
        found[name] |= {
            uuid: {"MAC": mac, "logical_switch": ["uuid", switch], "locator": ["uuid", locator]}
            for uuid, (_, mac, switch, locator) in compact.items()
        }
    return found


@pytest.fixture(params=[Idl, MonitorCond, Monitor], ids=lambda each: each.__name__)
def pair(node: Node, request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(node, request.param)
    yield pair
    pair.close()


STEPS = st.lists(st.one_of(st.just("reconnect"), *[TRANSACTIONS] * 3), min_size=2, max_size=4)


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(STEPS)
def test_after_any_transactions_both_have_the_same_rows(pair, steps):
    for step in steps:
        if step == "reconnect":
            pair.node.appctl("ovsdb-server", "ovsdb-server/reconnect")
        else:
            for transaction in step:
                Transaction(pair.node)(transaction)
        pair.check()


def test_many_rows_that_come_change_and_go_at_once_are_the_same(pair: Pair) -> None:
    locators = {f"l{n}": {"encapsulation_type": "vxlan_over_ipv4", "dst_ip": f"10.5.0.{n}"} for n in range(3)}
    pair.node.transact(
        {"op": "insert", "table": "Logical_Switch", "row": {"name": NAME}, "uuid-name": "ls"},
        *({"op": "insert", "table": "Physical_Locator", "row": row, "uuid-name": n} for n, row in locators.items()),
        *(
            {
                "op": "insert",
                "table": REMOTES,
                "row": {
                    "MAC": f'{MACS[0]}"}},"{n}',
                    "logical_switch": ["named-uuid", "ls"],
                    "locator": ["named-uuid", f"l{n % 3}"],
                },
            }
            for n in range(ROWS)
        ),
    )
    pair.check()
    assert len(pair.before[REMOTES]) >= ROWS
    pair.node.transact({"op": "update", "table": REMOTES, "where": [], "row": {"MAC": MACS[1]}})
    pair.check()
    pair.node.appctl("ovsdb-server", "ovsdb-server/reconnect")
    pair.check()
    assert {mac for _, mac, _, _ in pair.before[REMOTES].values()} == {MACS[1]}
    pair.node.transact(
        {"op": "delete", "table": REMOTES, "where": []},
        {"op": "delete", "table": "Logical_Switch", "where": [["name", "==", NAME]]},
    )
    pair.check()
    assert not pair.before[REMOTES]
