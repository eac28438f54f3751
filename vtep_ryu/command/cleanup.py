"""``vtep-ryu --cleanup``: what serving a bridge has left is removed, and the bridge forwards as before."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import ovs.util

from vtep_ryu.command import applications, bridge
from vtep_ryu.command.bridge import Bridge, Failure
from vtep_ryu.command.databases import HARDWARE_VTEP, OPEN_VSWITCH, TIMEOUT, Databases, NoAnswer, listed
from vtep_ryu.command.steps import Steps, run, wait_for
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.marks import FAIL_MODE_BEFORE, MARK

T = TypeVar("T")

LOCAL = tuple(f"{scheme}:{host}:" for scheme in ("tcp", "ssl") for host in ("127.0.0.1", "[::1]"))
"""Where controllers are that are this program."""

OFCTL = ("ovs-ofctl", TIMEOUT, "--protocols=OpenFlow13")


def clean_up(name: str, databases: Databases, directory: Path) -> int:
    """Remove what this program has left of one physical switch; return 1 where something could not be, 0 otherwise.

    Raises Failure while an application serves the bridge, and where there is nothing of that name.
    """
    problems: list[NoAnswer] = []

    def attempt(steps: Steps[T]) -> T | None:
        try:
            return wait_for(steps, f"cleaning up {name}: waiting for an answer")
        except NoAnswer as problem:
            problems.append(problem)
            return None

    there, row = attempt(bridge.find(databases, name)), attempt(bridge.has_row(databases, name))
    if there is not None and row:
        wait_for(_refuse_while_served(name, databases, directory))
    if there is None and not row and not problems:
        raise Failure(f"there is neither a bridge nor a physical switch {name}")
    addresses: set[str] = set()
    if there is not None:
        tunnels = attempt(_tunnels(databases, name)) or {}
        addresses = set(tunnels.values())
        attempt(_remove_flows(name))
        attempt(_reset(databases, name, there, tunnels, wait=not problems))
    attempt(_remove_rows(databases, name, addresses))
    for problem in problems:
        ovs.util.ovs_error(0, str(problem))
    return 1 if problems else 0


def _refuse_while_served(name: str, databases: Databases, directory: Path) -> Steps[None]:
    """An application would make anew what is removed, also before the bridge has connected to it."""
    application = yield from applications.find_any(directory, databases)
    if application is not None:
        how = applications.how_to_end(application, directory)
        raise Failure(f"{name} is served by process {application.pid}: end that first ({how})")


def _tunnels(databases: Databases, name: str) -> Steps[dict[str, str]]:
    """Our tunnel ports on the bridge and their addresses."""
    (row,) = yield from databases.rows(OPEN_VSWITCH, "Bridge", "ports", name=name)
    ports = yield from databases.rows(OPEN_VSWITCH, "Port", "_uuid", "name", "external_ids")
    its = set(listed(row["ports"]))
    return {
        port["name"]: port["external_ids"][MARK]
        for port in ports
        if port["_uuid"] in its and MARK in port["external_ids"]
    }


def _ofctl(name: str, command: str, *argv: str, stdin: str = "") -> Steps[str]:
    done = yield from run(*OFCTL, command, name, *argv, stdin=stdin)
    if done.error:
        raise NoAnswer(f"{name}: its flows and groups are left, if it still has any: {done.error}")
    return done.output


def _remove_flows(name: str) -> Steps[None]:
    """As Switch.forget_everything(): flows of ours say that groups with ids like ours are ours, so they go last."""
    ours = f"cookie={p.OWNER:#x}/{p.OWNER_MASK:#x}"
    for meter in re.findall(r"meter=(\d+)", (yield from _ofctl(name, "dump-meters"))):
        if p.metered_port(int(meter)) is not None:
            yield from _ofctl(name, "del-meter", f"meter={meter}")
    if "cookie=" not in (yield from _ofctl(name, "dump-flows", ours)):
        return
    dump = yield from _ofctl(name, "dump-groups")
    ids = (int(number) for number in re.findall(r"group_id=(\d+)", dump))
    groups = "".join(f"group_id={number}\n" for number in ids if p.is_ours(number))
    if groups:
        yield from _ofctl(name, "del-groups", "-", stdin=groups)
    yield from _ofctl(name, "del-flows", ours)


def _reset(databases: Databases, name: str, there: Bridge, ports: Collection[str], wait: bool) -> Steps[None]:
    """Take our ports and controllers from the bridge, and give it back the fail_mode that it had.

    With its last controller Open vSwitch takes all its flows and groups, whoever made them; another's controller stays.
    """
    commands = [["--if-exists", "del-port", name, port] for port in sorted(ports)]
    ours = (uuid for target, uuid in there.controllers.items() if target.startswith(LOCAL))
    commands += [["remove", "Bridge", name, "controller", uuid] for uuid in ours]
    if FAIL_MODE_BEFORE in there.external_ids:
        before = there.external_ids[FAIL_MODE_BEFORE]
        commands.append(["set-fail-mode", name, before] if before else ["del-fail-mode", name])
        commands.append(["remove", "Bridge", name, "external_ids", FAIL_MODE_BEFORE])
    if commands:
        remotes = f"--db={','.join(databases.remotes[OPEN_VSWITCH])}"
        options = () if wait else ("--no-wait",)
        done = yield from run(
            *("ovs-vsctl", TIMEOUT, *databases.tls, remotes, *options),
            *(word for each in commands for word in ("--", *each)),
        )
        if done.error:
            raise NoAnswer(f"{OPEN_VSWITCH}: {done.error}")


def _remove_rows(databases: Databases, name: str, tunnel_addresses: set[str]) -> Steps[None]:
    """Empty what is ours in hardware_vtep: local addresses, tunnels, ports that are not bound, faults, statistics.

    Older schemas lack some of these columns.
    """
    switches = yield from databases.rows(HARDWARE_VTEP, "Physical_Switch")
    addresses, ports = set(tunnel_addresses), set()
    for switch in switches:
        if switch["name"] == name:
            addresses.update(listed(switch["tunnel_ips"]))
            ports.update(listed(switch["ports"]))
    for switch in switches:
        if switch["name"] != name:
            addresses.difference_update(listed(switch["tunnel_ips"]))
    operations = yield from _local_addresses(databases, addresses)
    rows = [row for row in (yield from databases.rows(HARDWARE_VTEP, "Physical_Port")) if row["_uuid"] in ports]
    unbound = [["uuid", row["_uuid"]] for row in rows if not row["vlan_bindings"]]
    mutation = {"op": "mutate", "table": "Physical_Switch", "where": [["name", "==", name]]}
    operations.append(mutation | {"mutations": [["ports", "delete", ["set", unbound]]]})
    for switch in switches:
        if switch["name"] == name:
            operations.append(_empty("Physical_Switch", switch, "switch_fault_status", "tunnels"))
    operations += (_empty("Physical_Port", row, "vlan_stats", "port_fault_status") for row in rows)
    yield from databases.transact(HARDWARE_VTEP, *operations)


def _local_addresses(databases: Databases, addresses: set[str]) -> Steps[list[dict[str, Any]]]:
    """The operations that delete the local rows with these locators."""
    locators = yield from databases.rows(HARDWARE_VTEP, "Physical_Locator", "_uuid", "dst_ip")
    sets = yield from databases.rows(HARDWARE_VTEP, "Physical_Locator_Set", "_uuid", "locators")
    ours = {row["_uuid"] for row in locators if row["dst_ip"] in addresses}
    groups = {row["_uuid"] for row in sets if ours.intersection(listed(row["locators"]))}
    found = (("Ucast_Macs_Local", "locator", ours), ("Mcast_Macs_Local", "locator_set", groups))
    return [
        {"op": "delete", "table": table, "where": [[column, "==", ["uuid", uuid]]]}
        for table, column, uuids in found
        for uuid in sorted(uuids)
    ]


def _empty(table: str, row: dict[str, Any], *columns: str) -> dict[str, Any]:
    """The operation that empties those of the columns that the row has."""
    nothing = {
        column: ["map", []] if isinstance(row[column], dict) else ["set", []] for column in columns if column in row
    }
    return {"op": "update", "table": table, "where": [["_uuid", "==", ["uuid", row["_uuid"]]]], "row": nothing}
