"""What the databases' threads are to see to for the bridges that are served."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TypeAlias

from vtep_ryu.core.model import TunnelPort
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.drivers.hwvtep import HardwareVtep
from vtep_ryu.drivers.openvswitch import OpenVSwitch, Serve
from vtep_ryu.drivers.publish import PublishSwitches, PublishTunnels

Wish: TypeAlias = tuple[Mapping[str, TunnelPort], frozenset[str], Mapping[str, frozenset[str]]]
"""Tunnel ports, names of the ports, faults."""


class Wishes:
    """Each is remembered: where one bridge has changed, the others need not be looked at."""

    def __init__(self, hwvtep: HardwareVtep, openvswitch: OpenVSwitch) -> None:
        self._hwvtep = hwvtep
        self._openvswitch = openvswitch
        self._wishes: dict[str, Wish] = {}
        self._changed = True
        self._serve: Serve | None = None
        self._switches: PublishSwitches | None = None

    def look(self, vtep: Vtep, ports: frozenset[str], is_behind: bool) -> None:
        """Take in what a bridge needs, which has these ports; and whether its switch is still to be changed."""
        if not is_behind:
            vtep.sessions.release()
        tunnels, complete = vtep.sessions.news()
        if tunnels or complete:
            self._hwvtep.post(PublishTunnels(vtep.name, tunnels, complete))
        wish = (vtep.sessions.ports(), ports, vtep.faults())
        if wish != self._wishes.get(vtep.name):
            self._wishes[vtep.name] = wish
            self._changed = True

    def post(self, served: Set[str], owned: Set[str]) -> None:
        """Hand over what has changed; these are the bridges that are VTEPs of ours, and all that are ours."""
        for name in self._wishes.keys() - served:
            del self._wishes[name]
            self._changed = True
        if not self._changed and self._serve is not None and self._serve.owned == owned:
            return
        self._changed = False
        serve = Serve({name: tunnels for name, (tunnels, _, _) in self._wishes.items()}, frozenset(owned))
        if serve != self._serve:
            self._serve = serve
            self._openvswitch.post(serve)
        faults = {uuid: fault for _, _, found in self._wishes.values() for uuid, fault in found.items()}
        switches = PublishSwitches({name: ports for name, (_, ports, _) in self._wishes.items()}, faults)
        if switches != self._switches:
            self._switches = switches
            self._hwvtep.post(switches)
