"""A network virtualization controller on a machine of its own: raw OVSDB (RFC 7047), JSON over TCP."""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, TypeVar

from apps.lab import LabError, Namespace
from apps.lab.database import listed, plain
from apps.lab.wire import in_namespace

T = TypeVar("T")

DATABASE = "hardware_vtep"
TABLES = (
    "Physical_Switch",
    "Physical_Port",
    "Logical_Switch",
    "Physical_Locator",
    "Physical_Locator_Set",
    "Ucast_Macs_Local",
    "Mcast_Macs_Local",
    "Ucast_Macs_Remote",
    "Mcast_Macs_Remote",
)
TIMEOUT = 10.0
"""Seconds that anything is waited for."""


class Session:
    """One TCP connection to an ovsdb-server, and a copy of what that monitors there.

    A thread reads: it answers echo requests, keeps replies, and carries updates into `tables`.
    """

    def __init__(self, wire: socket.socket) -> None:
        self.tables: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in TABLES}
        self.echoes = 0
        """Echo requests of the server that were answered."""
        self.open = True
        self._wire = wire
        self._news = threading.Condition()
        self._replies: dict[int, dict[str, Any]] = {}
        self._ids = count(1)
        threading.Thread(target=self._read, daemon=True).start()

    def request(self, method: str, *params: Any) -> Any:
        """Send a request and return the result of its reply; LabError with the reply if that is an error."""
        number = next(self._ids)
        self._send({"method": method, "params": list(params), "id": number})
        self.wait(lambda: number in self._replies, f"the reply to {method}")
        reply = self._replies.pop(number)
        if reply["error"] is not None:
            raise LabError(f"{method} failed: {reply}")
        return reply["result"]

    def transact(self, *operations: dict[str, Any]) -> list[Any]:
        """One transaction; LabError with the results if one of them is an error."""
        results: list[Any] = self.request("transact", DATABASE, *operations)
        if any("error" in (result or {}) for result in results):
            raise LabError(f"transaction failed: {results}")
        return results

    def wait(self, predicate: Callable[[], T], what: str = "") -> T:
        """Wait until what the predicate returns is true, and return that; it is asked whenever something arrives."""
        with self._news:
            found = self._news.wait_for(lambda: predicate() or not self.open, TIMEOUT) and predicate()
        if not found:
            raise LabError(f"waited for {what or predicate}; {'open' if self.open else 'closed'}; {self.tables}")
        return found

    def wait_closed(self) -> None:
        """Wait until the server has hung up."""
        with self._news:
            if not self._news.wait_for(lambda: not self.open, TIMEOUT):
                raise LabError("the connection is still open")

    def close(self) -> None:
        """Hang up."""
        self._wire.shutdown(socket.SHUT_RDWR)
        self.wait_closed()

    def _send(self, message: dict[str, Any]) -> None:
        with self._news:  # Both threads send.
            self._wire.sendall(json.dumps(message).encode())

    def _read(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        try:
            while received := self._wire.recv(1 << 16):
                text += received.decode()
                while text:
                    try:
                        message, end = decoder.raw_decode(text)
                    except ValueError:
                        break  # The rest of it is still to come.
                    text = text[end:].lstrip()
                    with self._news:
                        self._take(message)
                        self._news.notify_all()
        except OSError:
            pass  # The machine's end of the connection is closed, or the network gave up.
        finally:
            self._wire.close()
            with self._news:
                self.open = False
                self._news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "echo":
                self._send({"result": message["params"], "error": None, "id": message["id"]})
                self.echoes += message["id"] == "echo"  # What the server's inactivity probes call themselves.
            case "update":
                self._update(message["params"][1])
            case None:
                self._replies[message["id"]] = message
                if "Physical_Switch" in (message["result"] or {}):
                    self._update(message["result"])  # The reply to monitor; updates follow it at once.

    def _update(self, updates: dict[str, dict[str, Any]]) -> None:
        tables = {table: dict(rows) for table, rows in self.tables.items()}
        for table, rows in updates.items():
            for uuid, row in rows.items():
                if "new" in row:
                    tables[table][uuid] = {column: plain(value) for column, value in row["new"].items()}
                else:
                    del tables[table][uuid]
        self.tables = tables  # At once, for whoever is reading it.


class RemoteNvc:
    """What an NVC does on its connection to one VTEP. Every method that writes is one transaction."""

    def __init__(self, machine: Namespace) -> None:
        self.machine = machine
        self._listener: socket.socket | None = None
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The connection that it has, or had last."""
        assert self._session
        return self._session

    def listen(self, port: int) -> None:
        """Be there for a VTEP that calls."""
        self._listener = in_namespace(self.machine.path, lambda: socket.create_server(("0.0.0.0", port)))
        self._listener.settimeout(TIMEOUT)

    def answer(self) -> None:
        """Wait for a VTEP's call, and follow its database."""
        assert self._listener
        self._follow(self._listener.accept()[0])

    def call(self, address: str, port: int) -> None:
        """Connect to a VTEP that listens, and follow its database."""
        where = (address, port)
        self._follow(in_namespace(self.machine.path, lambda: socket.create_connection(where, TIMEOUT)))

    def close(self) -> None:
        """Hang up, and listen no more."""
        if self._listener:
            self._listener.close()
        if self._session and self._session.open:
            self._session.close()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table as far as updates have told."""
        return list(self.session.tables[table].values())

    def local_macs(self) -> dict[tuple[str, str], str]:
        """What the VTEP has learned: (logical switch's name, MAC) -> the VTEP's address."""
        tables = self.session.tables
        switches, locators = tables["Logical_Switch"], tables["Physical_Locator"]
        return {
            (switches[row["logical_switch"]]["name"], row["MAC"]): locators[row["locator"]]["dst_ip"]
            for row in tables["Ucast_Macs_Local"].values()
        }

    def ports(self, switch: str) -> set[str]:
        """The names of a physical switch's ports."""
        tables = self.session.tables
        return {
            tables["Physical_Port"][uuid]["name"]
            for row in tables["Physical_Switch"].values()
            if row["name"] == switch
            for uuid in listed(row["ports"])
        }

    def add_logical_switch(self, name: str, key: int) -> None:
        """A logical switch with this tunnel key."""
        row = {"name": name, "tunnel_key": key}
        self._write({"op": "insert", "table": "Logical_Switch", "row": row})

    def delete_logical_switch(self, name: str) -> None:
        """Its bindings and remote addresses go first, and once the VTEP's own rows have followed, itself."""
        uuid = self._uuid("Logical_Switch", "name", name)
        of_it = [["logical_switch", "==", ["uuid", uuid]]]
        remote = ({"op": "delete", "table": f"{kind}_Macs_Remote", "where": of_it} for kind in ("Ucast", "Mcast"))
        unbound = {"op": "update", "table": "Physical_Port", "where": [], "row": {"vlan_bindings": ["map", []]}}
        self._write(unbound, *remote)
        local = ("Ucast_Macs_Local", "Mcast_Macs_Local")
        self.session.wait(lambda: not any(self.rows(table) for table in local), "the VTEP to withdraw its rows")
        self._write({"op": "delete", "table": "Logical_Switch", "where": [["name", "==", name]]})

    def bind(self, port: str, vlan: int, switch: str) -> None:
        """One more binding of a port."""
        added = ["map", [[vlan, ["uuid", self._uuid("Logical_Switch", "name", switch)]]]]
        mutation = ["vlan_bindings", "insert", added]
        where = [["name", "==", port]]
        self._write({"op": "mutate", "table": "Physical_Port", "where": where, "mutations": [mutation]})

    def set_remote_mac(self, switch: str, mac: str, ip: str) -> None:
        """An address is behind this VTEP."""
        locator, inserts = self._locator(ip)
        row = {"MAC": mac, "logical_switch": self._reference(switch), "locator": locator}
        self._write(*inserts, {"op": "insert", "table": "Ucast_Macs_Remote", "row": row})

    def set_unknown_dst(self, switch: str, ip: str) -> None:
        """What is broadcast or has no known address goes to this VTEP."""
        locator, inserts = self._locator(ip)
        members = {"op": "insert", "table": "Physical_Locator_Set", "row": {"locators": locator}, "uuid-name": "set"}
        reference = self._reference(switch)
        row = {"MAC": "unknown-dst", "logical_switch": reference, "locator_set": ["named-uuid", "set"]}
        self._write(*inserts, members, {"op": "insert", "table": "Mcast_Macs_Remote", "row": row})

    def delete_remote(self, table: str, mac: str) -> None:
        """Take back what one of the two above said."""
        self._write({"op": "delete", "table": table, "where": [["MAC", "==", mac]]})

    def _follow(self, wire: socket.socket) -> None:
        wire.settimeout(None)
        self._session = Session(wire)
        self._session.request("monitor", DATABASE, "everything", {table: {} for table in TABLES})

    def _write(self, *operations: dict[str, Any]) -> None:
        self.session.transact(*operations)

    def _reference(self, switch: str) -> list[str]:
        return ["uuid", self._uuid("Logical_Switch", "name", switch)]

    def _locator(self, ip: str) -> tuple[list[str], Iterable[dict[str, Any]]]:
        """A reference to the locator of an address, and what inserts that if it is not there."""
        for uuid, row in self.session.tables["Physical_Locator"].items():
            if row["dst_ip"] == ip:
                return ["uuid", uuid], ()
        row = {"encapsulation_type": "vxlan_over_ipv4", "dst_ip": ip}
        return ["named-uuid", "locator"], (
            {"op": "insert", "table": "Physical_Locator", "row": row, "uuid-name": "locator"},
        )

    def _uuid(self, table: str, column: str, value: str) -> str:
        """The UUID of a row, once an update has told of it."""

        def found() -> str:
            rows = self.session.tables[table].items()
            return next((uuid for uuid, row in rows if row[column] == value), "")

        return self.session.wait(found, f"{value} in {table}")
