"""Random transactions on hardware_vtep, valid by the schema and otherwise arbitrary: what they lead to is right."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from apps.lab import Host, Lab, LabError, Node
from apps.lab.database import listed
from tests.system.nvc import VTEP
from tests.system.reference import Reference
from tests.system.support import set_up
from vtep_ryu.core.model import UNKNOWN_DST, Settings

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
pytestmark = pytest.mark.timeout(7200 if LONG else 600)

PORTS = ("p0", "p1", "p2")
MACS = [f"02:00:00:00:00:0{n}" for n in range(4)]
OURS = {
    "Physical_Switch": {"ports", "tunnels", "switch_fault_status"},
    "Physical_Port": {"vlan_stats", "port_fault_status"},
}
"""Columns of the NVC's tables that are the program's."""


@dataclass(frozen=True)
class Row:
    """One of the rows that a table has by then."""

    table: str
    index: int


@dataclass(frozen=True)
class Locator:
    """A Physical_Locator that is there or made."""

    ip: str
    key: int | None


@dataclass(frozen=True)
class Members:
    """A new Physical_Locator_Set."""

    locators: tuple[Locator, ...]


@dataclass(frozen=True)
class NewTunnel:
    """A new Tunnel row."""

    local: Locator
    remote: Locator
    enable: bool


@dataclass(frozen=True)
class Operation:
    """An operation of RFC 7047, with Row, Locator, Members and NewTunnel for what has a UUID only when it is run."""

    op: str
    table: str
    row: dict[str, Any]
    index: int = 0


class Transaction:
    """A transaction on a node's database."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._new: dict[Any, list[str]] = {}
        self._inserts: list[dict[str, Any]] = []

    def __call__(self, operations: list[Operation]) -> None:
        """Run operations that the server may refuse."""
        resolved = [made for each in operations if (made := self._resolve(each)) is not None]
        with suppress(LabError):
            self.node.transact(*self._inserts, *resolved)

    def _resolve(self, operation: Operation) -> dict[str, Any] | None:
        try:
            row = {column: self._value(value) for column, value in operation.row.items()}
            if operation.op == "insert":
                return {"op": "insert", "table": operation.table, "row": row}
            where = [["_uuid", "==", self._value(Row(operation.table, operation.index))]]
        except LookupError:
            return None
        made = {"op": operation.op, "table": operation.table, "where": where}
        return made | ({"row": row} if operation.op == "update" else {})

    def _value(self, value: Any) -> Any:
        match value:
            case Row(table, index):
                rows = sorted(row["_uuid"] for row in self.node.rows(table))
                if not rows:
                    raise LookupError(table)
                return ["uuid", rows[index % len(rows)]]
            case Locator(ip, key):
                for row in self.node.rows("Physical_Locator"):
                    if (row["dst_ip"], listed(row["tunnel_key"])) == (ip, [] if key is None else [key]):
                        return ["uuid", row["_uuid"]]
                columns = {"encapsulation_type": "vxlan_over_ipv4", "dst_ip": ip}
                return self._made("Physical_Locator", value, columns | ({} if key is None else {"tunnel_key": key}))
            case Members(locators):
                members = [self._value(each) for each in locators]
                return self._made("Physical_Locator_Set", value, {"locators": ["set", members]})
            case NewTunnel(local, remote, enable):
                params = ["map", [["enable", "true"]] if enable else []]
                columns = {"local": self._value(local), "remote": self._value(remote), "bfd_params": params}
                return self._made("Tunnel", value, columns)
            case ["set", elements]:
                return ["set", [self._value(each) for each in elements]]
            case ["map", pairs]:
                return ["map", [[self._value(key), self._value(each)] for key, each in pairs]]
            case _:
                return value

    def _made(self, table: str, what: Any, columns: dict[str, Any]) -> list[str]:
        if what not in self._new:
            name = f"new{len(self._new)}"
            self._inserts.append({"op": "insert", "table": table, "row": columns, "uuid-name": name})
            self._new[what] = ["named-uuid", name]
        return self._new[what]


def rows(table: str) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(table), st.integers(0, 5))


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(["set", []]) | strategy


def maps(keys: st.SearchStrategy[Any], values: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[Any]:
    pairs = st.lists(st.tuples(keys, values).map(list), max_size=most, unique_by=lambda pair: str(pair[0]))
    return pairs.map(lambda found: ["map", found])


def sets(values: st.SearchStrategy[Any], least: int = 0, most: int = 4) -> st.SearchStrategy[Any]:
    elements = st.lists(values, min_size=least, max_size=most, unique_by=str)
    return elements.map(lambda found: ["set", found])


# The server refuses text that is no valid Unicode, and NUL.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
LARGE = st.builds(lambda text, count: text * count, TEXT, st.sampled_from([1000, 20000]))
STRINGS = st.one_of(TEXT, TEXT, TEXT, LARGE)
IPS = st.sampled_from([*(f"10.2.2.{n}" for n in range(1, 6)), "224.0.0.1", "0.0.0.0", "10.2.2.300", "fe80::1", ""])
KEYS = st.none() | st.sampled_from([0, 1, 5000, 5001, (1 << 24) - 1, 1 << 24, -1])
LOCATORS = st.builds(Locator, IPS | TEXT, st.none() | KEYS)
SOME = st.lists(LOCATORS, min_size=1, max_size=4, unique=True).map(tuple)
MANY = st.integers(2, 900).map(lambda count: tuple(Locator(f"10.3.{n // 250}.{n % 250}", None) for n in range(count)))
NEW_TUNNELS = st.builds(NewTunnel, LOCATORS, LOCATORS, st.booleans())
MEMBERS = st.builds(Members, st.one_of(SOME, SOME, SOME, MANY))
GROUPS = ["01:00:5e:00:00:01", "33:33:00:00:00:01", UNKNOWN_DST, UNKNOWN_DST, "ff:ff:ff:ff:ff:ff"]
ADDRESSES = st.sampled_from([*MACS, *GROUPS, "02-00-00-00-00-01", "2:0:0:0:0:1", "00:00:00:00:00:00", "0"]) | STRINGS
VLANS = st.sampled_from([0, 0, 10, 20, 4094, 4095])
CONFIG = maps(st.sampled_from(["bfd_dst_ip", "bfd_dst_mac"]) | TEXT, STRINGS)
PARAMS = maps(
    st.sampled_from(["enable", "min_rx", "min_tx", "decay_min_rx", "forwarding_if_rx", "cpath_down", "check_tnl_key"]),
    st.sampled_from(["true", "false", "0", "1", "100", "-5", ""]) | STRINGS,
)
WRITTEN = {
    "Logical_Switch": {
        "name": STRINGS,
        "description": STRINGS,
        "tunnel_key": optional(KEYS.filter(lambda key: key is not None)),
        "replication_mode": optional(st.sampled_from(["service_node", "source_node"])),
    },
    "Ucast_Macs_Remote": {"MAC": ADDRESSES, "logical_switch": rows("Logical_Switch"), "locator": LOCATORS},
    "Mcast_Macs_Remote": {"MAC": ADDRESSES, "logical_switch": rows("Logical_Switch"), "locator_set": MEMBERS},
    "Ucast_Macs_Local": {"MAC": ADDRESSES, "logical_switch": rows("Logical_Switch"), "locator": LOCATORS},
    "Mcast_Macs_Local": {"MAC": ADDRESSES, "logical_switch": rows("Logical_Switch"), "locator_set": MEMBERS},
    "Logical_Router": {"name": STRINGS},
}
"""Tables whose rows stand for themselves, with the columns that they are given."""
CHANGED = WRITTEN | {
    "Physical_Port": {
        "name": st.sampled_from([*PORTS, "br0", "vtep-0a020201"]) | STRINGS,
        "description": STRINGS,
        "vlan_bindings": maps(VLANS, rows("Logical_Switch")),
        "vlan_stats": st.just(["map", []]),
        "port_fault_status": sets(STRINGS),
    },
    "Physical_Switch": {
        "description": STRINGS,
        "tunnel_ips": sets(st.sampled_from(["10.2.2.1", "10.2.2.1", "10.2.2.9"]) | STRINGS, most=3),
        "ports": sets(rows("Physical_Port"), most=4),
        "tunnels": sets(rows("Tunnel") | NEW_TUNNELS),
        "switch_fault_status": sets(STRINGS),
    },
    "Physical_Locator": {"tunnel_key": optional(KEYS.filter(lambda key: key is not None))},
    "Tunnel": {
        "local": LOCATORS,
        "remote": LOCATORS,
        "bfd_params": PARAMS,
        "bfd_config_remote": CONFIG,
        "bfd_config_local": CONFIG,
        "bfd_status": PARAMS,
    },
}


def operations() -> Iterator[st.SearchStrategy[Operation]]:
    for table, columns in WRITTEN.items():
        yield st.builds(Operation, st.just("insert"), st.just(table), st.fixed_dictionaries(columns))
    for table, columns in CHANGED.items():
        index = st.integers(0, 5)
        some = st.fixed_dictionaries({}, optional=columns)
        yield st.builds(Operation, st.just("update"), st.just(table), some, index)
        if table in WRITTEN:
            yield st.builds(Operation, st.just("delete"), st.just(table), st.just({}), index)


TRANSACTIONS = st.lists(st.lists(st.one_of(*operations()), min_size=1, max_size=8), min_size=3, max_size=10)


@dataclass(frozen=True)
class Site:
    """A VTEP, the hosts at its ports, and what it should have."""

    node: Node
    hosts: dict[str, Host]
    reference: Reference

    def reset(self) -> None:
        """A database with two logical switches, each bound somewhere and with another VTEP, and nothing else."""
        tables = ("Ucast_Macs_Remote", "Mcast_Macs_Remote", "Ucast_Macs_Local", "Mcast_Macs_Local", "Logical_Router")
        unbind = {"op": "update", "table": "Physical_Port", "where": [], "row": {"vlan_bindings": ["map", []]}}
        clear = [{"op": "delete", "table": table, "where": []} for table in (*tables, "Logical_Switch")]
        self.node.wait_until(lambda: self._try(unbind, *clear), what="an empty database")
        switch = {"name": "br0", "tunnel_ips": VTEP, "ports": ["set", []]}
        self.node.transact({"op": "update", "table": "Physical_Switch", "where": [], "row": switch})
        self.node.wait_until(
            lambda: {row["name"] for row in self.node.rows("Physical_Port")} == set(PORTS), what="the ports' rows"
        )
        for n, name in enumerate(("ls0", "ls1")):
            self.node.vtep_ctl("add-ls", name, "--", "set", "Logical_Switch", name, f"tunnel_key={5000 + n}")
            self.node.vtep_ctl("add-ucast-remote", name, MACS[n], f"10.2.2.{n + 2}")
            self.node.vtep_ctl("add-mcast-remote", name, UNKNOWN_DST, f"10.2.2.{n + 2}")
            self.node.vtep_ctl("bind-ls", "br0", PORTS[n], "0", name)

    def _try(self, *operations: dict[str, Any]) -> bool:
        self.node.transact(*operations)
        return True

    def theirs(self) -> dict[str, dict[str, Any]]:
        """What the NVC has written, by the row's UUID."""
        return {
            row["_uuid"]: {column: row[column] for column in columns if column not in OURS.get(table, ())}
            for table, columns in CHANGED.items()
            if table not in ("Tunnel", "Physical_Locator") and not table.endswith("Local")
            for row in self.node.rows(table)
        }

    def check(self) -> None:
        """Wait until switch and rows are as the databases say, and nothing that is the NVC's has changed meanwhile."""
        before = self.theirs()
        found: list[Any] = []

        def right() -> bool:
            vtep = self.reference.vtep()
            found[:] = [*self.reference.differences(vtep), *self.reference.unlike(vtep)]
            return not found

        try:
            self.node.wait_until(right, timeout=20)
        except LabError as error:
            raise AssertionError("\n".join(map(str, found))) from error
        assert self.node.app.running
        after = self.theirs()
        gone = {uuid: row for uuid, row in before.items() if after.get(uuid) != row}
        ports = {uuid for uuid, row in gone.items() if "vlan_bindings" in row and not row["vlan_bindings"]}
        assert not gone.keys() - ports, [(row, after.get(uuid)) for uuid, row in gone.items()]


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    node = lab.node("a", f"{VTEP}/24")
    set_up(node, "--vtep-statistics-interval=0")
    hosts = {port: node.add_port(port) for port in PORTS}
    return Site(node, hosts, Reference(node, Settings()))


@settings(
    max_examples=1000 if LONG else 15,
    deadline=None,
    derandomize=not LONG,
    database=None,
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if LONG else [])],
    suppress_health_check=list(HealthCheck),
)
@given(TRANSACTIONS)
def test_after_any_transactions_switch_and_rows_are_as_the_database_says(site, transactions):
    site.reset()
    for transaction in transactions:
        Transaction(site.node)(transaction)
    site.check()
