"""What a switch says, as values: ports, stations, errors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

from ryu.ofproto import ofproto_v1_3 as ofp

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.model import Bridge, Port


class Identity(NamedTuple):
    """By what connected bridges are told apart: two can have the same datapath id.

    local_port is the name of the local port, which is the bridge's; empty where it has none.
    """

    datapath_id: int
    local_port: str

    @classmethod
    def of(cls, datapath: Any) -> Identity:
        """That of the switch at the other end of a connection."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ryu's ports are of the moment of the handshake, as they should be here.
            local = datapath.ports.get(ofp.OFPP_LOCAL)
        return cls(datapath.id, local.name.decode(errors="replace") if local else "")

    def is_of(self, bridge: Bridge) -> bool:
        """Whether this can be that bridge; OpenFlow cuts long names."""
        return self.datapath_id == bridge.datapath_id and self.local_port in (
            "",
            bridge.name[: ofp.OFP_MAX_PORT_NAME_LEN - 1],
        )


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
