"""A controller that writes what it is told to and waits for nobody: what it writes to may be away."""

from collections.abc import Iterable, Mapping
from typing import Any

from apps.lab import LabError, Node
from tests.system import tunnels
from tests.system.nvc import SETTLE, UNSET, Locator, Nvc
from tests.system.traffic import FAR, OURS
from vtep_ryu.core.model import UNKNOWN_DST

STEADY = "ls0"
"""The logical switch whose traffic is counted: it may get more rows, but keeps what its hosts need."""
KEPT = ("p0", "p1", SETTLE)
"""Ports whose bindings stay as they are: VLAN 0."""
_CHANGED = {
    "Logical_Switch": ("name", "tunnel_key", "replication_mode"),
    "Ucast_Macs_Remote": ("MAC", "logical_switch", "locator"),
    "Mcast_Macs_Remote": ("MAC", "logical_switch", "locator_set"),
    "Physical_Port": ("name", "vlan_bindings"),
    "Logical_Router": ("name",),
}


class Controller(Nvc):
    """Each method leaves the database so, whatever was there before; what a logical switch is missing for is made."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.written = self.theirs()

    def settle(self) -> None:
        """Nobody waits here: see follow()."""

    def follow(self) -> None:
        """Wait until the switch has what the database says now."""
        super().settle()

    def theirs(self) -> dict[str, dict[str, Any]]:
        """What is the NVC's own, by the row's UUID. Rows of ports are the program's but for their bindings."""
        return {
            row["_uuid"]: {column: row[column] for column in columns}
            for table, columns in _CHANGED.items()
            for row in self.node.rows(table)
            if row.get("vlan_bindings") != {} and row.get("name") != SETTLE
        }

    def note(self) -> None:
        """What the database says now is what was wanted."""
        self.written = self.theirs()

    def switch(self, name: str, **columns: Any) -> None:
        """A logical switch with these columns."""
        self.logical_switch(name, settle=False, **columns)

    def remove(self, name: str) -> None:
        """No logical switch of this name. The server keeps it until the program has withdrawn its local rows."""
        uuid = self._uuid("Logical_Switch", "name", name)
        if uuid is None:
            return
        for row in self.node.rows("Physical_Port"):
            left = [[int(vlan), ["uuid", at]] for vlan, at in row["vlan_bindings"].items() if at != uuid]
            if len(left) < len(row["vlan_bindings"]):
                self._update("Physical_Port", "name", row["name"], {"vlan_bindings": ["map", left]})
        own = [["logical_switch", "==", ["uuid", uuid]]]
        deletes = [
            {"op": "delete", "table": table, "where": own} for table in ("Ucast_Macs_Remote", "Mcast_Macs_Remote")
        ]
        itself = {"op": "delete", "table": "Logical_Switch", "where": [["_uuid", "==", ["uuid", uuid]]]}
        self.node.wait_until(lambda: self.node.transact(*deletes, itself), 60, f"{name} to be deleted")

    def bindings(self, port: str, wanted: Mapping[int, str]) -> None:
        """The bindings of a port; nothing where it has no row."""
        for name in wanted.values():
            self.switch(name)
        names = {row["name"]: row["_uuid"] for row in self.node.rows("Logical_Switch")}
        pairs = [[vlan, ["uuid", names[name]]] for vlan, name in wanted.items()]
        self._update("Physical_Port", "name", port, {"vlan_bindings": ["map", pairs]})

    def macs(self, name: str, wanted: Mapping[str, Locator]) -> None:
        """These remote addresses, beside others."""
        self.switch(name)
        self._write_anew(lambda: [*self._without(name, wanted), *self._unicast(name, wanted)])

    def no_macs(self, name: str, macs: Iterable[str]) -> None:
        """None of these remote addresses."""
        if self._uuid("Logical_Switch", "name", name):
            self.node.transact(*self._without(name, macs))

    def members(self, name: str, mac: str, locators: Iterable[Locator]) -> None:
        """The members of a multicast address or of unknown-dst; without any the row goes."""
        self.switch(name)
        needed = [FAR] if (name, mac) == (STEADY, UNKNOWN_DST) else []
        if wanted := [*needed, *locators]:
            self._write_anew(lambda: self._multicast(name, mac, *wanted))
        else:
            where = [["MAC", "==", mac], ["logical_switch", "==", self._reference(name)]]
            self.node.transact({"op": "delete", "table": "Mcast_Macs_Remote", "where": where})

    def key_of_locator(self, locator: Locator, key: int | None) -> None:
        """Another tunnel_key of a locator, where it is there and no other has that key."""
        found = {(row["dst_ip"], str(row["tunnel_key"])): row["_uuid"] for row in self.node.rows("Physical_Locator")}
        ip, before = (locator, []) if isinstance(locator, str) else locator
        if (uuid := found.get((ip, str(before)))) and (ip, str([] if key is None else key)) not in found:
            row = {"tunnel_key": UNSET if key is None else key}
            where = [["_uuid", "==", ["uuid", uuid]]]
            self.node.transact({"op": "update", "table": "Physical_Locator", "where": where, "row": row})

    def bfd(self, remote: str, **params: Any) -> None:
        """bfd_params of a tunnel, where there is one."""
        if (OURS, remote) in tunnels.tunnels(self.node):
            tunnels.configure(self.node, remote, "bfd_params", **params)

    def router(self, there: bool) -> None:
        """A logical router, or none."""
        self.node.transact({"op": "delete", "table": "Logical_Router", "where": []})
        if there:
            self.node.transact({"op": "insert", "table": "Logical_Router", "row": {"name": "lr0"}})

    def only_steady(self, key: int, macs: Iterable[str]) -> None:
        """Nothing but the logical switch whose traffic is counted, as it was at first, with these remote addresses."""
        for row in self.node.rows("Physical_Port"):
            left = [[0, ["uuid", at]] for vlan, at in row["vlan_bindings"].items() if row["name"] in KEPT]
            self._update("Physical_Port", "name", row["name"], {"vlan_bindings": ["map", left]})
        for name in {row["name"] for row in self.node.rows("Logical_Switch")} - {STEADY, SETTLE}:
            self.remove(name)
        self.switch(STEADY, replication_mode=UNSET, tunnel_key=key)
        others = [["MAC", "!=", mac] for mac in macs]
        self.node.transact({"op": "delete", "table": "Ucast_Macs_Remote", "where": others})
        self.node.transact({"op": "delete", "table": "Mcast_Macs_Remote", "where": [["MAC", "!=", UNKNOWN_DST]]})
        self.members(STEADY, UNKNOWN_DST, ())
        self.router(False)

    def _without(self, name: str, macs: Iterable[str]) -> list[dict[str, Any]]:
        own = ["logical_switch", "==", self._reference(name)]
        return [{"op": "delete", "table": "Ucast_Macs_Remote", "where": [own, ["MAC", "==", mac]]} for mac in macs]

    def _reference(self, name: str) -> list[str]:
        uuid = self._uuid("Logical_Switch", "name", name)
        if uuid is None:
            raise LabError(f"no logical switch {name}")
        return ["uuid", uuid]
