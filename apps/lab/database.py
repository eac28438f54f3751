"""OVSDB transactions (RFC 7047) over a Unix socket, and rows as plain Python values."""

import json
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from apps.lab.namespace import LabError


class Connection:
    """A connection to ovsdb-server, for one transaction after another; use it in a with statement."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        """`timeout` is how long an answer may take, in seconds. Raises LabError when nobody listens there."""
        self._path = path
        self.replied = 0.0
        """When the last answer was there, as time.monotonic() has it."""
        self._server = socket.socket(socket.AF_UNIX)
        self._server.settimeout(timeout)
        try:
            self._server.connect(str(path))
        except OSError as error:
            self._server.close()
            raise LabError(f"{path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.close()

    def transact(self, database: str, *operations: dict[str, Any]) -> list[Any]:
        """Run operations in one transaction and return their results.

        Raises LabError with the server's answer when the transaction or one of its operations fails.
        """
        request = {"method": "transact", "params": [database, *operations], "id": 0}
        try:
            self._server.sendall(json.dumps(request).encode())
            reply = self._receive()
        except OSError as error:
            raise LabError(f"{self._path}: {error}") from error
        results: list[Any] = reply["result"] or []
        if reply["error"] or any("error" in (result or {}) for result in results):
            raise LabError(f"{self._path}: transaction on {database} failed: {reply}")
        return results

    def _receive(self) -> dict[str, Any]:
        """One JSON object; the protocol has nothing else that marks the end of it."""
        received = bytearray()
        while chunk := self._server.recv(1 << 20):
            self.replied = time.monotonic()
            received += chunk
            if chunk.endswith(b"}"):
                try:
                    reply: dict[str, Any] = json.loads(received)
                except ValueError:
                    continue
                return reply
        raise LabError(f"ovsdb-server hung up after {bytes(received[:200])!r}")


def transact(path: Path, database: str, *operations: dict[str, Any], timeout: float = 60) -> list[Any]:
    """Run operations in one transaction, as `Connection.transact`, on a connection of its own."""
    with Connection(path, timeout) as connection:
        return connection.transact(database, *operations)


def plain(value: Any) -> Any:
    """A column as Python: a set becomes a list (but a set of one its element, as on the wire), a map a dict."""
    match value:
        case ["uuid" | "named-uuid", name]:
            return name
        case ["set", elements]:
            return [plain(element) for element in elements]
        case ["map", pairs]:
            return {plain(key): plain(content) for key, content in pairs}
        case _:
            return value


def listed(value: Any) -> list[Any]:
    """A column that `plain` made, as a list whatever the number of elements."""
    return value if isinstance(value, list) else [value]


def select(path: Path, database: str, tables: Iterable[str]) -> list[list[dict[str, Any]]]:
    """All rows of some tables, table by table, from one transaction."""
    operations = ({"op": "select", "table": table, "where": []} for table in tables)
    results = transact(path, database, *operations)
    return [[{column: plain(value) for column, value in row.items()} for row in result["rows"]] for result in results]
