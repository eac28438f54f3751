"""What a switch says, as values: ports, stations, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ryu.ofproto import ofproto_v1_3 as ofp

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.model import Port

ANSWER_NAMES = (
    *("OFPPortDescStatsReply", "OFPPortStatsReply", "OFPFlowStatsReply", "OFPAggregateStatsReply"),
    *("OFPGroupStatsReply", "OFPGroupDescStatsReply"),
    *("OFPMeterConfigStatsReply", "OFPMeterFeaturesStatsReply", "OFPMeterStatsReply"),
    *("OFPBarrierReply", "ONFBundleCtrlMsg", "OFPRoleReply", "OFPExperimenter", "OFPErrorMsg"),
)
"""The messages that answer a request, as Ryu calls them."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What the learn table of a switch holds: (switch id, binding id, address, note) each, and its flows' epochs.

    No epoch: the table has no flow of this program's.
    """

    entries: tuple[tuple[int, int, str, int], ...]
    epochs: frozenset[int]


def port_of(raw: Any) -> Port | None:
    """A port as OpenFlow describes it, or None for the local port."""
    if raw.port_no > ofp.OFPP_MAX:
        return None
    down = raw.config & ofp.OFPPC_PORT_DOWN or raw.state & ofp.OFPPS_LINK_DOWN
    return Port(raw.name.decode(errors="replace"), raw.port_no, not down)


def place_of(match: Any) -> tuple[int, int]:
    """The switch id and the binding id in a learn table's match."""
    metadata = match.get(p.SWITCH.oxm, 0)
    value = metadata[0] if isinstance(metadata, tuple) else metadata
    return value & (1 << p.SWITCH.width) - 1, match.get(p.INGRESS_BINDING.oxm, 0)


def station_of(match: Any) -> tuple[int, int, str]:
    """The (switch id, binding id, address) in the match of a learn table's flow."""
    return *place_of(match), match[p.ETH_SRC.oxm]


def error_text(error: Any) -> str:
    """What an error message says, in words."""
    if error.type == ofp.OFPET_EXPERIMENTER:
        return f"experimenter error 0x{error.experimenter:x}, type {error.exp_type}"
    return str(ofp.ofp_error_code_to_str(error.type, error.code))
