"""A station that floods: frames from sources that are random, each another, as fast as one process can send them.

Run in a namespace, ``python -m tests.system.flood INTERFACE``, it is the sender: one system call for many frames. It
sends until it is told to end (SIGTERM), and then prints how many frames and for how many seconds. That is 800,000 a
second where nothing else runs; the kernel's pktgen, which makes as many, is not everywhere.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apps.lab import Host

ROOT = Path(__file__).parents[2]
BATCH = 1024
"""Frames a system call, the most that sendmmsg takes."""
SIZE = 60
"""Bytes of a frame: the smallest on a wire, without its checksum."""
RANDOM = range(8, 12)
"""The bytes of a frame that are random: all of its source but for the first two."""
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20


@dataclass
class Flood:
    """What was sent, once the with statement has ended."""

    sent: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.sent / self.seconds


@contextmanager
def flood(host: Host) -> Iterator[Flood]:
    """A host floods during the with statement."""
    process = host.popen(sys.executable, "-m", __name__, "eth0", cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == "sending\n"
    came_of_it = Flood()
    try:
        yield came_of_it
    finally:
        process.terminate()
        sent, seconds = process.communicate(timeout=10)[0].split()
        came_of_it.sent, came_of_it.seconds = int(sent), float(seconds)


class _Vector(ctypes.Structure):
    """struct iovec of readv(2)."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr of sendmsg(2)."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.POINTER(_Vector)),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr of sendmmsg(2)."""

    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


def main(interface: str) -> None:
    """Send until the end is asked for."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    wire.bind((interface, 0))
    frame = b"\xff" * 6 + b"\x02\x66\0\0\0\0" + b"\x88\xb5" + bytes(SIZE - 14)
    frames = bytearray(frame * BATCH)
    start = ctypes.addressof((ctypes.c_char * len(frames)).from_buffer(frames))
    vectors = (_Vector * BATCH)(*(_Vector(start + n * SIZE, SIZE) for n in range(BATCH)))
    messages = (_Message * BATCH)()
    for message, vector in zip(messages, vectors, strict=True):
        message.header.vector, message.header.vectors = ctypes.pointer(vector), 1
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    print("sending", flush=True)
    began, sent, handle = time.monotonic(), 0, wire.fileno()
    while not ended:
        for byte in RANDOM:
            frames[byte::SIZE] = os.urandom(BATCH)
        sent += max(0, sendmmsg(handle, messages, BATCH, 0))  # It sends less, or nothing, where a queue is full.
    print(sent, time.monotonic() - began)


if __name__ == "__main__":
    main(sys.argv[1])
