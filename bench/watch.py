"""Seeing what arrives in a switch, at next to no cost to it."""

import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from typing import Self

from apps.lab import LabError, Node
from apps.lab.daemons import OPENFLOW_PORT
from apps.lab.node import HARDWARE_VTEP
from apps.lab.wire import in_namespace

_HEADER = struct.Struct("!BBHI")
_TABLE_STATISTICS = struct.Struct("!B3xIQQ")
_VERSION, _HELLO, _ECHO_REQUEST, _ECHO_REPLY, _MULTIPART_REQUEST, _MULTIPART_REPLY = 4, 0, 2, 3, 18, 19
_TABLE = 3
_MORE = 1


class OpenFlow:
    """An OpenFlow 1.3 connection of our own."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.settimeout(120)
        self._send(_HELLO)

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def echo(self) -> None:
        """Send an echo request and wait for the reply."""
        self._send(_ECHO_REQUEST, b"bench")
        self._await(_ECHO_REPLY)

    def flow_count(self) -> int:
        """How many flows the bridge has, by table statistics: the switch has that number without counting."""
        self._send(_MULTIPART_REQUEST, struct.pack("!HH4x", _TABLE, 0))
        total, more = 0, True
        while more:
            body = self._await(_MULTIPART_REPLY)
            total += sum(active for _, active, _, _ in _TABLE_STATISTICS.iter_unpack(body[8:]))
            more = bool(struct.unpack_from("!H", body, 2)[0] & _MORE)
        return total

    def _await(self, wanted: int) -> bytes:
        while True:
            kind, body = self._receive()
            if kind == _ECHO_REQUEST:
                self._send(_ECHO_REPLY, body)
            elif kind == wanted:
                return body

    def _send(self, kind: int, body: bytes = b"") -> None:
        self._socket.sendall(_HEADER.pack(_VERSION, kind, _HEADER.size + len(body), 1) + body)

    def _receive(self) -> tuple[int, bytes]:
        _, kind, length, _ = _HEADER.unpack(self._exactly(_HEADER.size))
        return kind, self._exactly(length - _HEADER.size)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (chunk := self._socket.recv(count - len(data))):
                raise LabError("an OpenFlow connection was closed")
            data += chunk
        return data


def to_bridge(management: Path) -> OpenFlow:
    """A connection to a bridge's own socket, NAME.mgmt."""
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(str(management))
    return OpenFlow(connected)


def to_program(node: Node) -> OpenFlow:
    """A connection to the program on a node, as a switch makes one."""
    return OpenFlow(in_namespace(node.path, lambda: socket.create_connection(("127.0.0.1", OPENFLOW_PORT))))


class Growth:
    """How the flows of a node's bridges become more; use it in a with statement."""

    def __init__(self, node: Node, pattern: str = "br0") -> None:
        """The bridges are those whose names match `pattern` (as file names do); they may come later."""
        self._directory, self._pattern = node.directory, f"{pattern}.mgmt"
        self._bridges: dict[Path, OpenFlow] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for bridge in self._bridges.values():
            bridge.close()

    def read(self) -> int:
        """How many there are."""
        for path in self._directory.glob(self._pattern):
            if path not in self._bridges:
                self._bridges[path] = to_bridge(path)
        return sum(bridge.flow_count() for bridge in self._bridges.values())

    def until(self, wanted: int, quiet: float = 0, timeout: float = 900) -> float:
        """Wait until there are so many, and their number has not changed for `quiet` seconds.

        Returns when it changed for the last time, as time.monotonic() has it.
        """
        deadline = time.monotonic() + timeout
        there, changed = self.read(), time.monotonic()
        while there < wanted or time.monotonic() < changed + quiet:
            if time.monotonic() > deadline:
                raise LabError(f"{there} of {wanted} flows after {timeout:g} s")
            time.sleep(0.02)
            count, now = self.read(), time.monotonic()
            if count != there:
                there, changed = count, now
        return changed


class Lines:
    """The lines that a command on a node prints, each with when it came; use it in a with statement."""

    def __init__(self, node: Node, *command: str, ready: str) -> None:
        """Returns once the command has printed a line that matches `ready`."""
        self.node = node
        self._process = node.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._lines: deque[tuple[float, str]] = deque()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.wait(ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # All that it has started writes to the same pipe.
        self._process.wait()
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append((time.monotonic(), line.rstrip("\n")))

    def wait(self, pattern: str, timeout: float = 120) -> float:
        """Take lines until one matches, and return when it came."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                when, line = self._lines.popleft()
            except IndexError:
                time.sleep(0.001)
                continue
            if re.search(pattern, line):
                return when
        raise LabError(f"{self._process.args!r} printed nothing like {pattern!r} in {timeout:g} s")

    def until(self, pattern: str, count: int, quiet: float) -> list[tuple[float, re.Match[str]]]:
        """Take lines until so many match, or none has come for `quiet` seconds; when those came that match."""
        found: list[tuple[float, re.Match[str]]] = []
        last = time.monotonic()
        while len(found) < count:
            try:
                when, line = self._lines.popleft()
            except IndexError:
                if time.monotonic() > last + quiet:
                    break
                time.sleep(0.001)
                continue
            last = max(last, when)
            if match := re.search(pattern, line):
                found.append((when, match))
        return found


def flow_monitor(node: Node, bridge: str, *watched: str) -> Lines:
    """A line for each flow that comes or goes; `watched` are what `watch:` of ovs-ofctl(8) takes."""
    return Lines(node, "ovs-ofctl", "monitor", bridge, *(f"watch:{each}" for each in watched), ready="FLOW_MONITOR")


def row_monitor(node: Node, table: str, column: str) -> Lines:
    """A line for each row of hardware_vtep that comes or goes; the table must not be empty."""
    options = ("--format=csv", "--data=bare", "--no-headings")
    server = f"unix:{node.vtep_socket}"
    return Lines(node, "ovsdb-client", *options, "monitor", server, HARDWARE_VTEP, table, column, ready=",initial,")
