"""What is counted of one VTEP, for operators. Numbers for bindings are statistics.py's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vtep_ryu.core.learning import Outcome


@dataclass(slots=True)
class Counters:
    """What has happened since the program has had this VTEP. All grow only, but for what ends in _now."""

    addresses_learned: int = 0
    """Addresses that a frame showed to be at a binding, and that were known at none."""

    addresses_moved: int = 0
    """Learned addresses that a frame showed at another binding, and that were followed there."""

    addresses_refused: int = 0
    """Sightings that binding_mac_limit or switch_mac_limit refused.

    Whose they were is not remembered, so an address counts with each of its frames that Open vSwitch hands over.
    """

    packet_ins_ignored: int = 0
    """Packet-ins that teach nothing: cut short, another program's, of a binding that has gone, or from no station."""

    addresses_frozen: int = 0
    """How often an address was frozen where it is, since it moved more often than mac_move_limit allows."""

    frozen_now: int = 0
    """Addresses that are frozen at present."""

    # Frames that the switch dropped. They are read with the statistics of bindings, and counted from when the switch
    # has had the flows that count them, also before a restart of this program.

    frames_unclassified: int = 0
    """Of no logical switch: from a VLAN of a port that is not bound, or a VNI or an address that no row names."""

    frames_impossible: int = 0
    """From a source that no station has: a multicast address, broadcast or all zeros."""

    frames_undelivered: int = 0
    """For members that were all down."""

    frames_pinned: int = 0
    """From an address that the NVC has behind another VTEP (pin_remote)."""

    frames_storm_dropped: int = 0
    """Frames that storm_control dropped, read with the statistics too, and counted from when the meters are there."""

    frames_storm_dropped_by_port: Mapping[str, int] = field(default_factory=dict)
    """The same by the name of the port that they came in by, for ports of which any were, and that are still there."""

    def sighted(self, outcome: Outcome) -> None:
        """Take in what became of a sighting."""
        match outcome:
            case Outcome.LEARNED:
                self.addresses_learned += 1
            case Outcome.MOVED:
                self.addresses_moved += 1
            case Outcome.BINDING_FULL | Outcome.SWITCH_FULL:
                self.addresses_refused += 1

    def copy(self) -> Counters:
        """What they are now."""
        return replace(self)
