"""What the checks are about, gathered once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtep_ryu.command import applications
from vtep_ryu.command.databases import HARDWARE_VTEP, OPEN_VSWITCH, TIMEOUT, Databases, NoAnswer, plain, select
from vtep_ryu.command.doctor import machine
from vtep_ryu.command.steps import Steps, run
from vtep_ryu.options import RUN_DIRECTORIES

Row = dict[str, Any]

UNKNOWN = "unknown database"
"""The problem where a server answers, and does not have it."""

TABLES = {
    OPEN_VSWITCH: ("Open_vSwitch", "Bridge", "Port", "Interface", "Controller"),
    HARDWARE_VTEP: (
        *("Physical_Switch", "Physical_Port", "Logical_Switch", "Physical_Locator", "Physical_Locator_Set"),
        *("Ucast_Macs_Remote", "Mcast_Macs_Remote", "Tunnel"),
    ),
}


@dataclass(slots=True)
class Database:
    """A database: its rows by table, its schema's version and what that has, or why it cannot be read."""

    problem: str = ""
    version: str = ""
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tables: Mapping[str, list[Row]] = field(default_factory=dict)

    def rows(self, table: str) -> list[Row]:
        """The rows of a table; none where it has no such table."""
        return self.tables.get(table, [])

    def by_uuid(self, table: str) -> dict[str, Row]:
        """The same by UUID."""
        return {row["_uuid"]: row for row in self.rows(table)}


@dataclass(slots=True)
class Facts:
    """Everything. name is the physical switch that is asked about, None for all.

    vswitchd is what is wrong with ovs-vswitchd, silent are the sockets of applications that do not answer.
    """

    name: str | None
    remotes: Mapping[str, tuple[str, ...]]
    ovs: Database
    vtep: Database
    vswitchd: str
    application: dict[str, Any] | None
    silent: list[str]
    links: list[Row]

    def physical_switches(self) -> list[Row]:
        """The rows that are asked about."""
        rows = self.vtep.rows("Physical_Switch")
        return sorted((row for row in rows if self.name in (None, row["name"])), key=lambda row: str(row["name"]))

    def bridge(self, switch: Row) -> Row | None:
        """The bridge of a physical switch."""
        return next((row for row in self.ovs.rows("Bridge") if row["name"] == switch["name"]), None)

    def bindings(self, switch: Row) -> list[tuple[str, int, str]]:
        """(port's name, VLAN, UUID of the logical switch) of a physical switch."""
        ports, names = self.vtep.by_uuid("Physical_Port"), listed(switch["ports"])
        rows = (ports[uuid] for uuid in names if uuid in ports)
        return [(row["name"], vlan, uuid) for row in rows for vlan, uuid in row["vlan_bindings"].items()]

    def remote_addresses(self, switch: Row) -> list[str]:
        """The addresses of the VTEPs that rows of the logical switches bound there name, whatever they have there."""
        bound = {uuid for _, _, uuid in self.bindings(switch)}
        locators, sets = self.vtep.by_uuid("Physical_Locator"), self.vtep.by_uuid("Physical_Locator_Set")
        named = {row["locator"] for row in self.vtep.rows("Ucast_Macs_Remote") if row["logical_switch"] in bound}
        for row in self.vtep.rows("Mcast_Macs_Remote"):
            if row["logical_switch"] in bound:
                named.update(listed(sets.get(row["locator_set"], {}).get("locators", [])))
        ips = {locators[uuid]["dst_ip"] for uuid in named if uuid in locators}
        return sorted(ips - set(listed(switch["tunnel_ips"])))


def listed(value: Any) -> list[Any]:
    """A column that may have any number of values."""
    return value if isinstance(value, list) else [value]


def gather(name: str | None, databases: Databases, directory: Path) -> Steps[Facts]:
    """Look at everything."""
    ovs = yield from _database(databases, OPEN_VSWITCH)
    vtep = yield from _database(databases, HARDWARE_VTEP)
    silent: list[str] = []
    application = yield from applications.find_any(directory, databases, silent)
    status = None if application is None else (yield from application.status())
    if application is not None:
        application.close()
    vswitchd, links = (yield from _vswitchd(directory)), (yield from machine.links())
    return Facts(name, databases.remotes, ovs, vtep, vswitchd, status, silent, links)


def _database(databases: Databases, name: str) -> Steps[Database]:
    remotes = ",".join(databases.remotes[name])
    done = yield from run("ovsdb-client", TIMEOUT, *databases.tls, "get-schema", remotes, name)
    if done.is_silent:
        return Database(problem=done.error)
    if done.error:
        names = yield from run("ovsdb-client", TIMEOUT, *databases.tls, "list-dbs", remotes)
        is_unknown = not names.error and name not in names.output.split()
        return Database(problem=UNKNOWN if is_unknown else done.error)
    schema = json.loads(done.output)
    columns = {table: frozenset(each["columns"]) for table, each in schema["tables"].items()}
    there = [table for table in TABLES[name] if table in columns]
    try:
        results = yield from databases.transact(name, *(select(table, [], ()) for table in there))
    except NoAnswer as problem:
        return Database(problem=str(problem))
    tables = {
        table: [{column: plain(value) for column, value in row.items()} for row in result["rows"]]
        for table, result in zip(there, results, strict=True)
    }
    return Database("", schema["version"], columns, tables)


def _vswitchd(directory: Path) -> Steps[str]:
    """What is wrong with the process of an ovs-vswitchd.pid, if anything."""
    for each in (directory, *map(Path, RUN_DIRECTORIES)):
        try:
            pid = int((each / "ovs-vswitchd.pid").read_text())
            os.kill(pid, 0)
        except PermissionError:
            return ""
        except (OSError, ValueError):
            continue
        done = yield from run("ovs-appctl", TIMEOUT, "-t", f"{each}/ovs-vswitchd.{pid}.ctl", "version")
        return f"process {pid} does not answer" if done.is_silent else ""
    return "does not run on this machine"
