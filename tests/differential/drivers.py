"""The two tools that a controller's steps are done with: vtep-ctl, and ovsdbapp's hardware_vtep API."""

from itertools import count
from typing import Any

from ovsdbapp.backend.ovs_idl.command import BaseCommand
from ovsdbapp.backend.ovs_idl.connection import Connection, OvsdbIdl
from ovsdbapp.schema.hardware_vtep.impl_idl import HwVtepApiIdlImpl

from apps.lab import LabError, Node
from tests.differential import steps

UNKNOWN_DST = "unknown-dst"
BRIDGE = "br0"


class Refused(Exception):
    """The database did not take a step."""


class VtepCtl:
    """Steps by vtep-ctl."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def do(self, step: steps.Step) -> None:
        """Do a step; raises Refused."""
        try:
            self._node.vtep_ctl(*self._command(step))
        except LabError as error:
            raise Refused(str(error)) from error

    def _command(self, step: steps.Step) -> tuple[str, ...]:
        match step:
            case steps.AddSwitch(_, name, key, mode):
                columns = {"tunnel_key": key, "replication_mode": mode}
                wanted = [f"{column}={value}" for column, value in columns.items() if value is not None]
                return ("add-ls", name, *(("--", "set", "Logical_Switch", name, *wanted) if wanted else ()))
            case steps.DelSwitch(_, name):
                return ("del-ls", name)
            case steps.SetKey(_, name, key):
                return ("set", "Logical_Switch", name, f"tunnel_key={key}")
            case steps.SetMode(_, name, None):
                return ("clear", "Logical_Switch", name, "replication_mode")
            case steps.SetMode(_, name, mode):
                return ("set", "Logical_Switch", name, f"replication_mode={mode}")
            case steps.AddMac(_, name, mac, ip):
                return ("add-ucast-remote", name, mac, ip)
            case steps.DelMac(_, name, mac):
                return ("del-ucast-remote", name, mac)
            case steps.DelUnknown(_, name, ip):
                return ("del-mcast-remote", name, UNKNOWN_DST, ip)
            case steps.AddUnknown(_, name, ip):
                return ("add-mcast-remote", name, UNKNOWN_DST, ip)
            case steps.Rebind(_, name, port, vlan):
                return ("unbind-ls", BRIDGE, port, str(vlan), "--", "bind-ls", BRIDGE, port, str(vlan), name)
            case steps.Bind(_, name, port, vlan):
                return ("bind-ls", BRIDGE, port, str(vlan), name)
            case steps.Unbind(_, port, vlan):
                return ("unbind-ls", BRIDGE, port, str(vlan))
        raise ValueError(step)


class Ovsdbapp:
    """Steps by ovsdbapp: its own commands where it has them, and its general ones on the rows of addresses."""

    def __init__(self, node: Node) -> None:
        idl = OvsdbIdl.from_server(f"unix:{node.socket}", HwVtepApiIdlImpl.schema)
        # The connection is an attribute of the class.
        self._api = type("Api", (HwVtepApiIdlImpl,), {})(Connection(idl, timeout=30))
        self._times = count(1)

    def stop(self) -> None:
        """Disconnect."""
        self._api.ovsdb_connection.stop()

    def do(self, step: steps.Step) -> None:
        """Do a step; raises Refused."""
        # Commands look at what the library has of the database: with the answer it has all that was written before.
        self._api.db_set("Physical_Switch", BRIDGE, description=f"step {next(self._times)}").execute(check_error=True)
        try:
            with self._api.transaction(check_error=True, log_errors=False) as transaction:
                for command in self._commands(step):
                    transaction.add(command)
        except RuntimeError as error:
            raise Refused(str(error)) from error

    def _commands(self, step: steps.Step) -> list[BaseCommand]:
        api = self._api
        match step:
            case steps.AddSwitch(_, name, key, mode):
                columns = {"tunnel_key": key, "replication_mode": mode}
                return [api.add_ls(name, **{column: value for column, value in columns.items() if value is not None})]
            case steps.DelSwitch(_, name):
                return [api.del_ls(name)]
            case steps.SetKey(_, name, key):
                return [api.db_set("Logical_Switch", name, tunnel_key=key)]
            case steps.SetMode(_, name, None):
                return [api.db_clear("Logical_Switch", name, "replication_mode")]
            case steps.SetMode(_, name, mode):
                return [api.db_set("Logical_Switch", name, replication_mode=mode)]
            case steps.AddMac(_, name, mac, ip):
                locator, *made = self._locators([ip])
                row = {"MAC": mac, "logical_switch": api.lookup("Logical_Switch", name), "locator": locator}
                return [*made, api.db_create("Ucast_Macs_Remote", **row)]
            case steps.DelMac(_, name, mac):
                return [api.db_destroy("Ucast_Macs_Remote", self._row("Ucast_Macs_Remote", name, mac).uuid)]
            case steps.DelUnknown(_, name, ip):
                return self._unknown_dst(name, self._members(name) - {ip})
            case steps.AddUnknown(_, name, ip):
                return self._unknown_dst(name, self._members(name) | {ip})
            case steps.Bind(_, name, port, vlan):
                return [api.bind_ls(BRIDGE, port, vlan, name)]
            case steps.Unbind(_, port, vlan):
                return [api.unbind_ls(BRIDGE, port, vlan)]
        raise ValueError(step)

    def _row(self, table: str, name: str, mac: str) -> Any:
        switch = self._api.lookup("Logical_Switch", name)
        rows = self._api.tables[table].rows.values()
        return next((row for row in rows if mac == row.MAC and row.logical_switch == switch), None)

    def _members(self, name: str) -> set[str]:
        row = self._row("Mcast_Macs_Remote", name, UNKNOWN_DST)
        return {locator.dst_ip for locator in row.locator_set.locators} if row else set()

    def _unknown_dst(self, name: str, members: set[str]) -> list[BaseCommand]:
        row = self._row("Mcast_Macs_Remote", name, UNKNOWN_DST)
        if not members:
            return [self._api.db_destroy("Mcast_Macs_Remote", row.uuid)]
        *made, members_set = self._locator_set(sorted(members))
        if row:
            return [*made, members_set, self._api.db_set("Mcast_Macs_Remote", row.uuid, locator_set=members_set)]
        columns = {"MAC": UNKNOWN_DST, "logical_switch": self._api.lookup("Logical_Switch", name)}
        return [*made, members_set, self._api.db_create("Mcast_Macs_Remote", **columns, locator_set=members_set)]

    def _locator_set(self, ips: list[str]) -> list[BaseCommand]:
        """The commands for a new set, which is the last one's."""
        found = [self._locators([ip]) for ip in ips]
        made = [command for _, *commands in found for command in commands]
        return [*made, self._api.db_create("Physical_Locator_Set", locators=[locator for locator, *_ in found])]

    def _locators(self, ips: list[str]) -> list[Any]:
        """A locator's row, or the command that makes it and stands for it, and then that command."""
        (ip,) = ips
        rows = self._api.tables["Physical_Locator"].rows.values()
        if row := next((row for row in rows if row.dst_ip == ip and row.tunnel_key == []), None):
            return [row.uuid]
        made = self._api.db_create("Physical_Locator", dst_ip=ip, encapsulation_type="vxlan_over_ipv4")
        return [made, made]
