"""Seeing what arrives in a switch, at next to no cost to it."""

import re
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from apps.lab import LabError, Node

_HEADER = struct.Struct("!BBHI")
_TABLE_STATISTICS = struct.Struct("!B3xIQQ")
_VERSION, _HELLO, _ECHO_REQUEST, _ECHO_REPLY, _MULTIPART_REQUEST, _MULTIPART_REPLY = 4, 0, 2, 3, 18, 19
_TABLE = 3
_MORE = 1


class FlowCount:
    """How many flows a bridge has, by OpenFlow table statistics: the switch has that number without counting."""

    def __init__(self, management: Path) -> None:
        """`management` is the bridge's own socket, NAME.mgmt."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        self._socket.connect(str(management))
        self._send(_HELLO)

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def read(self) -> int:
        """The number now."""
        self._send(_MULTIPART_REQUEST, struct.pack("!HH4x", _TABLE, 0))
        total, more = 0, True
        while more:
            kind, body = self._receive()
            if kind == _ECHO_REQUEST:
                self._send(_ECHO_REPLY, body)
            elif kind == _MULTIPART_REPLY:
                total += sum(active for _, active, _, _ in _TABLE_STATISTICS.iter_unpack(body[8:]))
                more = bool(struct.unpack_from("!H", body, 2)[0] & _MORE)
        return total

    def _send(self, kind: int, body: bytes = b"") -> None:
        self._socket.sendall(_HEADER.pack(_VERSION, kind, _HEADER.size + len(body), 1) + body)

    def _receive(self) -> tuple[int, bytes]:
        _, kind, length, _ = _HEADER.unpack(self._exactly(_HEADER.size))
        return kind, self._exactly(length - _HEADER.size)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (chunk := self._socket.recv(count - len(data))):
                raise LabError("ovs-vswitchd hung up")
            data += chunk
        return data


class Growth:
    """How the flows of a node's bridges become more; use it in a with statement."""

    def __init__(self, node: Node, pattern: str = "br0") -> None:
        """The bridges are those whose names match `pattern` (as file names do); they may come later."""
        self._directory, self._pattern = node.directory, f"{pattern}.mgmt"
        self._counts: dict[Path, FlowCount] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for count in self._counts.values():
            count.close()

    def read(self) -> int:
        """How many there are."""
        for path in self._directory.glob(self._pattern):
            if path not in self._counts:
                self._counts[path] = FlowCount(path)
        return sum(count.read() for count in self._counts.values())

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
        self._process.kill()
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

    def taken(self) -> Iterable[tuple[float, str]]:
        """What has come and has not been taken yet."""
        while self._lines:
            yield self._lines.popleft()


def flow_monitor(node: Node, bridge: str, *watched: str) -> Lines:
    """A line for each flow that comes or goes; `watched` are what `watch:` of ovs-ofctl(8) takes."""
    return Lines(node, "ovs-ofctl", "monitor", bridge, *(f"watch:{each}" for each in watched), ready="FLOW_MONITOR")
