"""The statistics of flows and the descriptions of groups: what is read by struct is what Ryu's own parser reads."""

import struct

from hypothesis import given
from hypothesis import strategies as st
from ryu.ofproto import ofproto_protocol
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto import ofproto_v1_3_parser as parser

from tests.unit.test_packer import ANY, actions, groups, match, numbers
from vtep_ryu.core.flow import Flow, Group
from vtep_ryu.core.plan import PutFlow, PutGroup
from vtep_ryu.drivers import flow_stats, messages, packer

DATAPATH = ofproto_protocol.ProtocolDesc(version=ofp.OFP_VERSION)
FLOW_STATS = struct.Struct(ofp.OFP_FLOW_STATS_0_PACK_STR)
FLOW_MOD_BYTES = 48
"""What is before the match of a flow mod."""
GROUP_DESC = struct.Struct(ofp.OFP_GROUP_DESC_STATS_PACK_STR)
GROUP_MOD_BYTES = 16
"""What is before the buckets of a group mod."""


def known(match: parser.OFPMatch) -> dict[str, object]:
    """The fields that the pipeline knows, as Ryu has read them."""
    return {name: value for name, value in match.items() if name in packer.OXM}


def after_the_head(flow: Flow) -> bytes:
    """A flow's match and instructions, as they are both in a flow mod and in its statistics."""
    mod = messages.message(DATAPATH, PutFlow(flow), 0)
    mod.serialize()
    return bytes(mod.buf)[FLOW_MOD_BYTES:]


flows = st.builds(Flow, st.just(ANY), numbers(16), match(), actions)


@given(st.lists(st.tuples(flows, numbers(64), numbers(64), numbers(64)), max_size=3))
def test_the_statistics_of_flows_are_read_as_ryu_reads_them(entries: list[tuple[Flow, int, int, int]]) -> None:
    data = b""
    for flow, cookie, packets, octets in entries:
        body = after_the_head(flow)
        size = FLOW_STATS.size + len(body)
        data += FLOW_STATS.pack(size, flow.table.id, 1, 2, flow.priority, 3, 4, 5, cookie, packets, octets) + body
    offset = 0
    for _ in entries:
        ours, theirs = (each.parser(data, offset) for each in (flow_stats.FlowStats, parser.OFPFlowStats))
        for name in ("length", "table_id", "priority", "cookie", "packet_count", "byte_count"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert ours.match == known(theirs.match)
        offset += ours.length
    assert offset == len(data)


@given(st.lists(groups, max_size=3))
def test_the_descriptions_of_groups_are_read_as_ryu_reads_them(entries: list[Group]) -> None:
    data = b""
    for group in entries:
        mod = messages.message(DATAPATH, PutGroup(group), 0)
        mod.serialize()
        buckets = bytes(mod.buf)[GROUP_MOD_BYTES:]
        data += GROUP_DESC.pack(GROUP_DESC.size + len(buckets), messages.GROUP_TYPES[group.type], group.id) + buckets
    offset = 0
    for _ in entries:
        ours, theirs = (each.parser(data, offset) for each in (flow_stats.GroupDesc, parser.OFPGroupDescStats))
        assert (ours.length, ours.group_id) == (theirs.length, theirs.group_id)
        offset += ours.length
    assert offset == len(data)


def reply(kind: int, body: bytes) -> object:
    """The body of a multipart reply as Ryu reads it."""
    size = 16 + len(body)
    head = struct.pack("!BBHIHH4x", ofp.OFP_VERSION, ofp.OFPT_MULTIPART_REPLY, size, 9, kind, 0)
    return parser.msg_parser(DATAPATH, ofp.OFP_VERSION, ofp.OFPT_MULTIPART_REPLY, size, 9, head + body).body


def test_ryu_reads_with_it() -> None:
    flow_stats.install()
    flow = FLOW_STATS.pack(FLOW_STATS.size + 8, 8, 1, 2, 3, 0, 0, 0, 7, 5, 300) + bytes((0, 1, 0, 4, 0, 0, 0, 0))
    assert reply(ofp.OFPMP_FLOW, flow) == [flow_stats.FlowStats(FLOW_STATS.size + 8, 8, 3, 7, 5, 300, {})]
    group = GROUP_DESC.pack(GROUP_DESC.size, ofp.OFPGT_ALL, 7)
    assert reply(ofp.OFPMP_GROUP_DESC, group + group) == 2 * [flow_stats.GroupDesc(GROUP_DESC.size, 7)]
