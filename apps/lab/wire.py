"""Packet sockets in a namespace: frames out and in, exactly as they are on the wire."""

import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from apps.lab.frames import Frame

CLONE_NEWNET = 0x40000000
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 3
TP_STATUS_VLAN_VALID = 0x10
TP_STATUS_VLAN_TPID_VALID = 0x40
_AUXDATA = struct.Struct("=IIIHHHH")
_RECEIVE_BUFFER = 64 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def in_namespace(path: str, action: Callable[[], socket.socket]) -> socket.socket:
    """Run `action` in the network namespace `path`, in a thread of its own; what it opens stays there."""

    def body() -> socket.socket:
        handle = os.open(path, os.O_RDONLY)
        try:
            if _libc.setns(handle, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {path}")
            return action()
        finally:
            os.close(handle)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(body).result()


def packet_socket(path: str, interface: str, receive: bool = True) -> socket.socket:
    """A packet socket on `interface` in the namespace `path`, for sending or, with `receive`, for arriving frames."""

    def opened() -> socket.socket:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        if receive:
            wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            wire.setsockopt(socket.SOL_SOCKET, 33, _RECEIVE_BUFFER)  # SO_RCVBUFFORCE
        wire.bind((interface, ETH_P_ALL if receive else 0))
        return wire

    return in_namespace(path, opened)


def _receive(wire: socket.socket) -> bytes:
    """The next frame; the kernel takes the outermost VLAN tag out of it, which is put back here."""
    frame, messages, _, _ = wire.recvmsg(65536, socket.CMSG_SPACE(_AUXDATA.size))
    for level, kind, data in messages:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack(data)
            if status & TP_STATUS_VLAN_VALID:
                tag = struct.pack("!HH", tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100, tci)
                frame = frame[:12] + tag + frame[12:]
    return frame


class Capture:
    """The frames that arrived at an interface since the capture began, sent ones excepted."""

    def __init__(self, path: str, interface: str) -> None:
        self._where = f"{Path(path).name} {interface}"
        self._wire = packet_socket(path, interface)
        self._claimed: set[int] = set()
        self._frames: list[Frame] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._wire.close()

    @property
    def frames(self) -> list[Frame]:
        """All frames that have arrived so far, in order."""
        while self._read(0):
            pass
        return list(self._frames)

    def wait(self, wanted: Callable[[Frame], bool], timeout: float = 5) -> Frame:
        """The first frame that is `wanted` and that no earlier wait has returned; waits for it.

        Raises AssertionError that lists what came instead after `timeout` seconds.
        """
        return self._frames[self._find(wanted, timeout)]

    def until(self, marker: Callable[[Frame], bool], timeout: float = 5) -> list[Frame]:
        """All frames that came before the `marker`, which is waited for as by `wait`.

        What is not in this list did not come, given that it went the same way as the marker and earlier.
        """
        return self._frames[: self._find(marker, timeout)]

    def quiet(self, seconds: float = 0.2) -> list[Frame]:
        """All frames so far, once none has come for `seconds`; for what no marker frame can follow."""
        while self._read(seconds):
            pass
        return list(self._frames)

    def _find(self, wanted: Callable[[Frame], bool], timeout: float) -> int:
        deadline = time.monotonic() + timeout
        index = 0
        while True:
            while index < len(self._frames):
                if index not in self._claimed and wanted(self._frames[index]):
                    self._claimed.add(index)
                    return index
                index += 1
            if not self._read(max(0.0, deadline - time.monotonic())):
                came = "".join(f"\n  {frame}" for frame in self._frames[-20:]) or " nothing"
                raise AssertionError(f"{self._where}: no such frame in {timeout:g} s; {len(self._frames)} came:{came}")

    def _read(self, timeout: float) -> bool:
        if not select.select([self._wire], [], [], timeout)[0]:
            return False
        self._frames.append(Frame.parse(_receive(self._wire)))
        return True
