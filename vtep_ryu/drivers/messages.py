"""Changes as OpenFlow 1.3 messages, in Ryu's spelling: what is rare is sent like this, and packer.py is held to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from typing import Any

from ryu.ofproto import nicira_ext
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto import ofproto_v1_3_parser as parser

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import (
    Action,
    Bucket,
    Flow,
    GroupType,
    Match,
    Meter,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    Set,
    ToController,
    ToGroup,
)
from vtep_ryu.core.plan import Change, PutFlow, PutGroup, PutMeter, RemoveFlow, RemoveGroup, RemoveMeter

ETH_TYPE_VLAN = 0x8100
GROUP_ADD_OR_MODIFY = 0x8000
"""Open vSwitch's command (Nicira extension) that takes a group whether it is there or not."""

GROUP_TYPES = {GroupType.ALL: ofp.OFPGT_ALL, GroupType.SELECT: ofp.OFPGT_SELECT, GroupType.FAST_FAILOVER: ofp.OFPGT_FF}
OXM_METADATA = "metadata"
METER_FLAGS = ofp.OFPMF_PKTPS | ofp.OFPMF_BURST | ofp.OFPMF_STATS


def message(datapath: Any, change: Change, cookie: int, there: Container[int] = ()) -> Any:
    """The message that makes the change; flows get the cookie, with their note in it.

    there are the ids of the meters that the switch has: there is no command that takes a meter either way.
    """
    match change:
        case PutMeter(meter):
            command = ofp.OFPMC_MODIFY if meter.id in there else ofp.OFPMC_ADD
            bands = [parser.OFPMeterBandDrop(meter.rate, meter.burst)]
            return parser.OFPMeterMod(datapath, command, METER_FLAGS, meter.id, bands)
        case RemoveMeter(meter_id):
            return parser.OFPMeterMod(datapath, ofp.OFPMC_DELETE, METER_FLAGS, meter_id, [])
        case PutFlow(flow):
            return _put_flow(datapath, flow, cookie)
        case RemoveFlow(flow):
            return _remove_flow(datapath, flow)
        case PutGroup(group):
            buckets = [_bucket(bucket, weight=int(group.type is GroupType.SELECT)) for bucket in group.buckets]
            return parser.OFPGroupMod(datapath, GROUP_ADD_OR_MODIFY, GROUP_TYPES[group.type], group.id, buckets)
        case RemoveGroup(group_id):
            return parser.OFPGroupMod(datapath, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, group_id)


def meter_of(raw: Any) -> Meter | None:
    """A meter as the switch describes it, or None for one that is not like those made here."""
    match raw.bands:
        case [parser.OFPMeterBandDrop(rate=rate, burst_size=burst)] if raw.flags == METER_FLAGS:
            return Meter(raw.meter_id, rate, burst)
    return None


def remove_flows(datapath: Any, cookie: int, mask: int) -> Any:
    """The message that removes all flows whose cookie is this one under the mask."""
    return parser.OFPFlowMod(
        datapath,
        cookie=cookie,
        cookie_mask=mask,
        table_id=ofp.OFPTT_ALL,
        command=ofp.OFPFC_DELETE,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
    )


def _put_flow(datapath: Any, flow: Flow, cookie: int) -> Any:
    metadata = [action for action in flow.actions if isinstance(action, Set) and action.field.oxm == OXM_METADATA]
    actions = [_action(action) for action in flow.actions if action not in metadata]
    instructions = [] if flow.meter is None else [parser.OFPInstructionMeter(flow.meter)]
    if actions:
        instructions.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions))
    if metadata:
        value, mask = _bits([(action.field, action.value) for action in metadata])
        instructions.append(parser.OFPInstructionWriteMetadata(value, mask))
    if flow.goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(flow.goto.id))
    return parser.OFPFlowMod(
        datapath,
        cookie=cookie | flow.note,
        table_id=flow.table.id,
        command=ofp.OFPFC_ADD,
        idle_timeout=flow.idle_timeout,
        priority=flow.priority,
        flags=ofp.OFPFF_SEND_FLOW_REM if flow.idle_timeout else 0,
        match=of_match(flow.match),
        instructions=instructions,
    )


def _remove_flow(datapath: Any, flow: Flow) -> Any:
    return parser.OFPFlowMod(
        datapath,
        cookie=p.OWNER,
        cookie_mask=p.OWNER_MASK,
        table_id=flow.table.id,
        command=ofp.OFPFC_DELETE_STRICT,
        priority=flow.priority,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
        match=of_match(flow.match),
    )


def of_match(matches: tuple[Match, ...]) -> Any:
    """What a flow matches, as OpenFlow has it."""
    fields: dict[str, Any] = {}
    parts = defaultdict(list)
    for match in matches:
        if match.field.width:
            parts[match.field.oxm].append((match.field, match.value))
        else:
            fields[match.field.oxm] = match.value if match.mask is None else (match.value, match.mask)
    fields |= {oxm: _bits(values) for oxm, values in parts.items()}
    return parser.OFPMatch(**fields)


def _bits(values: list[tuple[Any, Any]]) -> tuple[int, int]:
    """Value and mask of the parts of one OpenFlow field."""
    value = mask = 0
    for field, part in values:
        value |= part << field.shift
        mask |= (1 << field.width) - 1 << field.shift
    return value, mask


def _bucket(bucket: Bucket, weight: int) -> Any:
    watch_port = ofp.OFPP_ANY if bucket.watch_port is None else bucket.watch_port
    return parser.OFPBucket(weight, watch_port, actions=[_action(action) for action in bucket.actions])


def _action(action: Action) -> Any:
    match action:
        case Set(field, value) if field == p.IN_PORT:
            # The OpenFlow 1.3 field is read-only; Open vSwitch's own is not.
            return parser.NXActionRegLoad(nicira_ext.ofs_nbits(0, 15), "in_port_nxm", value)
        case Set(field, value):
            return parser.OFPActionSetField(**{field.oxm: value})
        case PopVlan():
            return parser.OFPActionPopVlan()
        case PushVlan():
            return parser.OFPActionPushVlan(ETH_TYPE_VLAN)
        case Output(port):
            return parser.OFPActionOutput(port)
        case ToController(max_len):
            return parser.OFPActionOutput(ofp.OFPP_CONTROLLER, max_len)
        case ToGroup(group_id):
            return parser.OFPActionGroup(group_id)
        case Resubmit(table):
            return parser.NXActionResubmitTable(table_id=table.id)
