"""The lab: what makes machines, keeps them apart, and removes them."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from typing import Self, TypeVar

from apps.lab import datapath
from apps.lab.host import Host
from apps.lab.namespace import LabError, Namespace, wait_until
from apps.lab.node import Node
from apps.lab.underlay import KernelVtep, Peer, Underlay

T = TypeVar("T")
N = TypeVar("N", bound=Namespace)


class Lab:
    """Machines that belong together; use it in a with statement, or close it."""

    def __init__(self, prefix: str = "", mtu: int = 1600) -> None:
        """An empty lab; `prefix` begins every name, so that labs can exist side by side.

        `mtu` is the underlay's: 50 bytes more than the hosts' 1500 and some. Raises LabError
        outside apps/isolate, and when this machine does not have the datapath of `datapath.chosen`.
        """
        place = os.environ.get("VTEP_LAB_DIR")
        if not place:
            raise LabError("labs run under apps/isolate: try 'apps/isolate COMMAND'")
        self.datapath = datapath.chosen()
        self.prefix = prefix
        self.directory = Path(place) / f"{prefix}lab"
        self.directory.mkdir()
        self.nodes: list[Node] = []
        self._namespaces: list[Namespace] = []
        self._numbers = count(1)
        self._mtu = mtu
        self._underlay: Underlay | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything, last made first."""
        while self._namespaces:
            self._namespaces.pop().delete()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def underlay(self) -> Underlay:
        """The network between the VTEPs."""
        if not self._underlay:
            self._underlay = self._owned(Underlay(f"{self.prefix}underlay", self._mtu))
        return self._underlay

    def node(self, name: str, underlay: str = "", start: bool = True) -> Node:
        """A machine with Open vSwitch, with an address on the underlay ("10.2.2.1/24") if given.

        Without `start` nothing runs on it yet, and it joins the underlay by `join` later.
        """
        node = self._owned(Node(self.prefix + name, self.directory / name, self._named_host, self.datapath))
        self.nodes.append(node)
        if start:
            node.start()
            node.add_bridge()
        if underlay:
            self.join(node, underlay)
        return node

    def join(self, node: Node, address: str, learn: bool = True) -> None:
        """Connect a machine whose switch runs to the underlay; see `Node.join_underlay`."""
        node.join_underlay(self.underlay, address, self.new_mac(), learn)

    def host(self, name: str, address: str = "", mac: str = "") -> Host:
        """A host that is not plugged in anywhere yet."""
        return self._named_host(name, mac, address)

    def segment(self, name: str) -> Underlay:
        """A network apart from the underlay, for management say; `Underlay.plug` lays cables to it."""
        return self._owned(Underlay(self.prefix + name, self._mtu))

    def peer(self, name: str, address: str, segment: Underlay | None = None) -> Peer:
        """A machine on the underlay, or another segment, for what is made by hand: VXLAN datagrams, OVSDB requests."""
        return self._owned(Peer(self.prefix + name, self.new_mac(), address, segment or self.underlay))

    def kernel_vtep(self, name: str, address: str) -> KernelVtep:
        """A machine on the underlay whose VTEP is the Linux kernel's vxlan device."""
        return self._owned(KernelVtep(self.prefix + name, self.new_mac(), address, self.underlay))

    def new_mac(self) -> str:
        """A MAC address that no other machine of this lab has."""
        number = next(self._numbers)
        return f"02:00:00:00:{number >> 8:02x}:{number & 0xFF:02x}"

    def wait_until(self, predicate: Callable[[], T], timeout: float = 10, what: str = "") -> T:
        """As `namespace.wait_until`, with the end of every application's log when it takes too long."""
        return wait_until(predicate, timeout, what, lambda: "\n".join(node.app.tail() for node in self.nodes))

    @staticmethod
    def at_once(*actions: Callable[[], object]) -> None:
        """Run actions side by side, and raise what one raises once all have ended (Ctrl-C: at once)."""
        pool = ThreadPoolExecutor(len(actions))
        try:
            ended = wait([pool.submit(action) for action in actions]).done
        finally:
            pool.shutdown(wait=False)
        for future in ended:
            future.result()

    def _named_host(self, name: str, mac: str, address: str) -> Host:
        return self._owned(Host(self.prefix + name, mac or self.new_mac(), address))

    def _owned(self, namespace: N) -> N:
        self._namespaces.append(namespace)
        return namespace
