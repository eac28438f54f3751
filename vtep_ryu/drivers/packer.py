"""The fast path out: changes as the bytes that add them to a bundle, for there can be a million of them.

messages.py says the same in Ryu's spelling, which takes twenty times as long, and a test holds the two to be the same
byte by byte. Sections are those of the OpenFlow 1.3.5 specification.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from operator import and_
from socket import inet_aton
from struct import Struct

from ryu.ofproto import nicira_ext, ofproto_common
from ryu.ofproto import ofproto_v1_3 as ofp

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.encapsulate import REMEMBERED
from vtep_ryu.core.flow import (
    Action,
    Bucket,
    Flow,
    Group,
    GroupType,
    Match,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    Set,
    Table,
    ToController,
    ToGroup,
    Value,
)
from vtep_ryu.core.plan import Change, PutFlow, PutGroup, RemoveFlow, RemoveGroup
from vtep_ryu.drivers.messages import ETH_TYPE_VLAN, GROUP_ADD_OR_MODIFY, GROUP_TYPES, OXM_METADATA

_BASIC, _NXM_1 = 0x8000, 1
OXM = {
    "in_port": (_BASIC, 0, 4),
    "metadata": (_BASIC, 2, 8),
    "eth_dst": (_BASIC, 3, 6),
    "eth_src": (_BASIC, 4, 6),
    "vlan_vid": (_BASIC, 6, 2),
    "tunnel_id": (_BASIC, 38, 8),
    "reg1": (_NXM_1, 1, 4),
    "reg2": (_NXM_1, 2, 4),
    "tun_ipv4_src": (_NXM_1, 31, 4),
    "tun_ipv4_dst": (_NXM_1, 32, 4),
}
"""The class, the number and the length in bytes of the fields that carry those of the pipeline (section 7.2.3.2)."""

_SIZES = {name: size for name, (_, _, size) in OXM.items()}
_PLAIN = {name: (cls << 16 | number << 9 | size).to_bytes(4) for name, (cls, number, size) in OXM.items()}
_MASKED = {name: (cls << 16 | number << 9 | 1 << 8 | 2 * size).to_bytes(4) for name, (cls, number, size) in OXM.items()}
_NXM_IN_PORT = 2
"""The header of Open vSwitch's own ingress port field, which has 16 bits."""

_BUNDLE_ADD = Struct("!BBHIIII2xH")
_FLOW_MOD = Struct("!BBHIQQBBHHHIIIH2x")
_MATCH = Struct("!HH")
_METADATA = Struct("!4sQQ")
_METER = Struct("!HHI")
_ACTIONS = Struct("!HH4x")
_WRITE_METADATA = Struct("!HH4xQQ")
_GOTO = Struct("!HHB3x")
_GROUP_MOD = Struct("!BBHIHBxI")
_BUCKET = Struct("!HHII4x")
_ACTION = Struct("!HHI")
_PUSH = Struct("!HHH2x")
_OUTPUT = Struct("!HHIH6x")
_REG_LOAD = Struct("!HHIHHIQ")
_RESUBMIT = Struct("!HHIHHB3x")
_IN_PORT_16 = 0xFFF8
_PADDING = [bytes(count) for count in range(8)]

BUNDLE_FLAGS = ofp.ONF_BF_ATOMIC | ofp.ONF_BF_ORDERED


def in_bundle(bundle: int, change: Change, cookie: int, xid: int) -> bytes:
    """The message that adds a change to a bundle (ONF extension 230); flows get the cookie, with their note in it."""
    added = _message(change, cookie, xid)
    head = _BUNDLE_ADD.pack(
        *(ofp.OFP_VERSION, ofp.OFPT_EXPERIMENTER, _BUNDLE_ADD.size + len(added), xid),
        *(ofproto_common.ONF_EXPERIMENTER_ID, ofp.ONF_ET_BUNDLE_ADD_MESSAGE, bundle, BUNDLE_FLAGS),
    )
    return head + added


def _message(change: Change, cookie: int, xid: int) -> bytes:
    match change:
        case PutFlow(flow):
            return _put_flow(flow, cookie, xid)
        case RemoveFlow(flow):
            return _remove_flow(flow, xid)
        case PutGroup(group):
            return _put_group(group, xid)
        case RemoveGroup(group_id):
            return _group_mod(xid, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, group_id)
    raise TypeError(f"a bundle takes no meter: {change}")


def _put_flow(flow: Flow, cookie: int, xid: int) -> bytes:
    body = _match(flow.match) + _instructions(flow.meter, flow.actions, flow.goto)
    flags = ofp.OFPFF_SEND_FLOW_REM if flow.idle_timeout else 0
    head = _FLOW_MOD.pack(
        *(ofp.OFP_VERSION, ofp.OFPT_FLOW_MOD, _FLOW_MOD.size + len(body), xid, cookie | flow.note, 0, flow.table.id),
        *(ofp.OFPFC_ADD, flow.idle_timeout, 0, flow.priority, ofp.OFP_NO_BUFFER, 0, 0, flags),
    )
    return head + body


def _remove_flow(flow: Flow, xid: int) -> bytes:
    body = _match(flow.match)
    head = _FLOW_MOD.pack(
        *(ofp.OFP_VERSION, ofp.OFPT_FLOW_MOD, _FLOW_MOD.size + len(body), xid, p.OWNER, p.OWNER_MASK, flow.table.id),
        *(ofp.OFPFC_DELETE_STRICT, 0, 0, flow.priority, ofp.OFP_NO_BUFFER, ofp.OFPP_ANY, ofp.OFPG_ANY, 0),
    )
    return head + body


def _match(matches: Iterable[Match]) -> bytes:
    """Fields are in the order of their classes and numbers; the metadata's parts are one field."""
    fields, bits = [], []
    for match in matches:
        field = match.field
        if field.width:
            bits.append(match)
        else:
            fields.append(_oxm(field.oxm, match.value, match.mask))
    if bits:
        fields.append(_METADATA.pack(_MASKED[OXM_METADATA], *_metadata(bits)))
    fields.sort()
    data = b"".join(fields)
    return _padded(_MATCH.pack(ofp.OFPMT_OXM, _MATCH.size + len(data)) + data)


def _oxm(name: str, value: Value, mask: Value | None = None) -> bytes:
    size = _SIZES[name]
    data = _value(value, size)
    if mask is None:
        return _PLAIN[name] + data
    masks = _value(mask, size)
    return _MASKED[name] + bytes(map(and_, data, masks)) + masks


def _value(value: Value, size: int) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(size)
    return bytes.fromhex(value.replace(":", "")) if ":" in value else inet_aton(value)


def _metadata(parts: Iterable[Match | Set]) -> tuple[int, int]:
    """Value and mask of the metadata's parts."""
    value = mask = 0
    for part in parts:
        assert isinstance(part.value, int)
        value |= part.value << part.field.shift
        mask |= (1 << part.field.width) - 1 << part.field.shift
    return value, mask


@lru_cache(maxsize=REMEMBERED)
def _instructions(meter: int | None, actions: tuple[Action, ...], goto: Table | None) -> bytes:
    metadata = [action for action in actions if isinstance(action, Set) and action.field.width]
    applied = _actions(action for action in actions if action not in metadata)
    packed = b"" if meter is None else _METER.pack(ofp.OFPIT_METER, _METER.size, meter)
    if applied:
        packed += _ACTIONS.pack(ofp.OFPIT_APPLY_ACTIONS, _ACTIONS.size + len(applied)) + applied
    if metadata:
        packed += _WRITE_METADATA.pack(ofp.OFPIT_WRITE_METADATA, _WRITE_METADATA.size, *_metadata(metadata))
    if goto is not None:
        packed += _GOTO.pack(ofp.OFPIT_GOTO_TABLE, _GOTO.size, goto.id)
    return packed


def _actions(actions: Iterable[Action]) -> bytes:
    return b"".join(map(_action, actions))


def _action(action: Action) -> bytes:
    match action:
        case Set(field, value) if field is p.IN_PORT:
            # The OpenFlow 1.3 field is read-only; Open vSwitch's own is not.
            where = nicira_ext.ofs_nbits(0, 15)
            return _nicira(_REG_LOAD, nicira_ext.NXAST_REG_LOAD, where, _NXM_IN_PORT, value)
        case Set(field, value):
            oxm = _oxm(field.oxm, value)
            size = _MATCH.size + len(oxm)
            return _padded(_MATCH.pack(ofp.OFPAT_SET_FIELD, size + -size % 8) + oxm)
        case PopVlan():
            return _ACTION.pack(ofp.OFPAT_POP_VLAN, _ACTION.size, 0)
        case PushVlan():
            return _PUSH.pack(ofp.OFPAT_PUSH_VLAN, _PUSH.size, ETH_TYPE_VLAN)
        case Output(port):
            return _OUTPUT.pack(ofp.OFPAT_OUTPUT, _OUTPUT.size, port, ofp.OFPCML_MAX)
        case ToController(max_len):
            return _OUTPUT.pack(ofp.OFPAT_OUTPUT, _OUTPUT.size, ofp.OFPP_CONTROLLER, max_len)
        case ToGroup(group_id):
            return _ACTION.pack(ofp.OFPAT_GROUP, _ACTION.size, group_id)
        case Resubmit(table):
            return _nicira(_RESUBMIT, nicira_ext.NXAST_RESUBMIT_TABLE, _IN_PORT_16, table.id)


def _nicira(action: Struct, *arguments: Value) -> bytes:
    return action.pack(ofp.OFPAT_EXPERIMENTER, action.size, ofproto_common.NX_EXPERIMENTER_ID, *arguments)


def _put_group(group: Group, xid: int) -> bytes:
    weight = int(group.type is GroupType.SELECT)
    buckets = b"".join(_bucket(bucket, weight) for bucket in group.buckets)
    return _group_mod(xid, GROUP_ADD_OR_MODIFY, GROUP_TYPES[group.type], group.id, buckets)


def _group_mod(xid: int, command: int, kind: int, group_id: int, buckets: bytes = b"") -> bytes:
    size = _GROUP_MOD.size + len(buckets)
    return _GROUP_MOD.pack(ofp.OFP_VERSION, ofp.OFPT_GROUP_MOD, size, xid, command, kind, group_id) + buckets


def _bucket(bucket: Bucket, weight: int) -> bytes:
    actions = _actions(bucket.actions)
    watch_port = ofp.OFPP_ANY if bucket.watch_port is None else bucket.watch_port
    return _BUCKET.pack(_BUCKET.size + len(actions), weight, watch_port, ofp.OFPG_ANY) + actions


def _padded(data: bytes) -> bytes:
    """OpenFlow's structures end on 64 bits."""
    return data + _PADDING[-len(data) % 8]
