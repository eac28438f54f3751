"""Two TAP interfaces in two namespaces with this process between them, as a virtual machine monitor would be.

Usage: tap.py PATH INTERFACE PATH INTERFACE; says "ready" once both exist.
"""

import ctypes
import fcntl
import os
import select
import struct
import sys

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x1002


def open_tap(path: str, interface: str) -> int:
    """Create a TAP interface in the network namespace `path` and return what its frames are read from."""
    namespace = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"cannot enter {path}")
    os.close(namespace)
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TAP_NO_PI))
    return tap


def relay(one: int, other: int) -> None:
    """Carry frames both ways for ever; frames to an interface that is down are lost, as they would be."""
    while True:
        for ready in select.select([one, other], [], [])[0]:
            frame = os.read(ready, 65536)
            try:
                os.write(other if ready == one else one, frame)
            except OSError:
                continue


if __name__ == "__main__":
    first, second = open_tap(*sys.argv[1:3]), open_tap(*sys.argv[3:5])
    print("ready", flush=True)
    relay(first, second)
