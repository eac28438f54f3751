"""Changes as OpenFlow messages: packed by Ryu, parsed again, and compared with what was meant."""

import struct

import pytest
from ryu.ofproto import ofproto_parser, ofproto_protocol
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto import ofproto_v1_3_parser as parser

from tests.unit.example import BASE, LEARNED, REMOTE
from tests.unit.world import World, rendering
from vtep_ryu.core import encapsulate
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flood import BUCKETS_PER_GROUP
from vtep_ryu.core.flow import (
    Bucket,
    Flow,
    Group,
    GroupType,
    Match,
    Meter,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    Set,
    ToGroup,
)
from vtep_ryu.core.plan import PutFlow, PutGroup, PutMeter, RemoveFlow, RemoveGroup, RemoveMeter
from vtep_ryu.drivers.messages import message, meter_of, remove_flows

DATAPATH = ofproto_protocol.ProtocolDesc(version=ofp.OFP_VERSION)
COOKIE = p.cookie(7)
SWITCH_BITS, TUNNEL_BIT = 0xFFFFFFFF, 1 << 32
MAC = "02:00:00:00:00:01"


def packed(made):
    """A message's bytes."""
    made.set_xid(1)
    made.serialize()
    return bytes(made.buf)


def parsed(made):
    """A flow mod, packed and parsed."""
    data = packed(made)
    version, kind, length, xid = ofproto_parser.header(data)
    assert (version, kind, length) == (ofp.OFP_VERSION, ofp.OFPT_FLOW_MOD, len(data))
    return ofproto_parser.msg(DATAPATH, version, kind, length, xid, data)


def put(*args, **kwargs):
    return parsed(message(DATAPATH, PutFlow(Flow(*args, **kwargs)), COOKIE))


def instructions(mod):
    """A flow mod's instructions as text."""
    return [" ".join(words(instruction)) for instruction in mod.instructions]


def words(instruction):
    match instruction:
        case parser.OFPInstructionActions(type=ofp.OFPIT_APPLY_ACTIONS):
            yield from ("apply", *map(action, instruction.actions))
        case parser.OFPInstructionWriteMetadata():
            yield f"metadata {instruction.metadata:#x}/{instruction.metadata_mask:#x}"
        case parser.OFPInstructionMeter():
            yield f"meter {instruction.meter_id:#x}"
        case parser.OFPInstructionGotoTable():
            yield f"goto {instruction.table_id}"


def action(made):
    match made:
        case parser.OFPActionSetField():
            return f"{made.key}={made.value}"
        case parser.NXActionRegLoad():
            return f"{made.dst}[{made.ofs_nbits >> 6}:{(made.ofs_nbits & 63) + 1}]={made.value}"
        case parser.OFPActionPopVlan():
            return "pop"
        case parser.OFPActionPushVlan():
            return f"push:{made.ethertype:#x}"
        case parser.OFPActionOutput(port=ofp.OFPP_CONTROLLER):
            return f"controller:{made.max_len}"
        case parser.OFPActionOutput():
            return f"output:{made.port}"
        case parser.OFPActionGroup():
            return f"group:{made.group_id:#x}"
        case parser.NXActionResubmitTable(in_port=0xFFF8):  # OFPP_IN_PORT in 16 bits: as it came in
            return f"resubmit:{made.table_id}"


@pytest.mark.parametrize(
    ("table", "match", "expected"),
    [
        (p.CLASSIFY, (Match(p.IN_PORT, 3), Match(p.VLAN, p.NO_TAG)), {"in_port": 3, "vlan_vid": 0}),
        (p.CLASSIFY, (Match(p.IN_PORT, 3), Match(p.VLAN, p.PRIORITY_TAG)), {"in_port": 3, "vlan_vid": 0x1000}),
        (p.CLASSIFY, (Match(p.IN_PORT, 3), Match(p.VLAN, p.TAG | 4094)), {"in_port": 3, "vlan_vid": 0x1FFE}),
        (
            p.CLASSIFY,
            (Match(p.TUNNEL_KEY, p.MAX_VNI), Match(p.TUNNEL_SRC, "10.2.2.2"), Match(p.TUNNEL_DST, "10.2.2.1")),
            {"tunnel_id": 0xFFFFFF, "tun_ipv4_src": "10.2.2.2", "tun_ipv4_dst": "10.2.2.1"},
        ),
        (p.FLOOD, (Match(p.SWITCH, 5000),), {"metadata": (5000, SWITCH_BITS)}),
        (p.FLOOD, (Match(p.SWITCH, 2 * p.UNKEYED - 1),), {"metadata": (2 * p.UNKEYED - 1, SWITCH_BITS)}),
        (p.LEARN, (Match(p.FROM_TUNNEL, 0),), {"metadata": (0, TUNNEL_BIT)}),
        (p.LEARN, (Match(p.FROM_TUNNEL, 1),), {"metadata": (TUNNEL_BIT, TUNNEL_BIT)}),
        (
            p.LEARN,
            (
                Match(p.SWITCH, 5000),
                Match(p.FROM_TUNNEL, 1),
                Match(p.INGRESS_BINDING, p.binding_id(0xFEFF, 4094)),
                Match(p.ETH_SRC, MAC),
            ),
            {"metadata": (5000 | TUNNEL_BIT, SWITCH_BITS | TUNNEL_BIT), "reg1": 0xFEFFFFE, "eth_src": MAC},
        ),
        (p.LEARN, (Match(p.ETH_SRC, p.NO_ADDRESS),), {"eth_src": p.NO_ADDRESS}),
        (
            p.UNICAST,
            (Match(p.ETH_DST, p.MULTICAST_BIT, p.MULTICAST_BIT),),
            {"eth_dst": ("01:00:00:00:00:00", "01:00:00:00:00:00")},
        ),
        (p.EGRESS, (Match(p.INGRESS_BINDING, 5), Match(p.EGRESS_BINDING, 5)), {"reg1": 5, "reg2": 5}),
        (p.EGRESS, (), {}),
    ],
)
def test_a_match_is_packed_field_by_field(table, match, expected):
    put_flow, removal = (
        parsed(message(DATAPATH, change(Flow(table, 1, match)), COOKIE)) for change in (PutFlow, RemoveFlow)
    )
    assert dict(put_flow.match.items()) == dict(removal.match.items()) == expected


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ((Set(p.INGRESS_BINDING, 0xFEFFFFE),), "reg1=267386878"),
        ((Set(p.EGRESS_BINDING, 5), Resubmit(p.EGRESS_POLICY)), "reg2=5 resubmit:7"),
        ((PopVlan(), ToGroup(0x20001388)), "pop group:0x20001388"),
        ((PushVlan(), Set(p.VLAN, p.TAG | 10), Output(3)), "push:0x8100 vlan_vid=4106 output:3"),
        ((Set(p.IN_PORT, 0), Output(3)), "in_port_nxm[0:16]=0 output:3"),
        (encapsulate.copy(p.MAX_VNI, "10.2.2.2"), "tunnel_id=16777215 tun_ipv4_dst=10.2.2.2 resubmit:10"),
        ((p.TO_CONTROLLER,), "controller:14"),
    ],
)
def test_actions_are_packed_in_their_order_in_flows_and_in_buckets(actions, expected):
    assert instructions(put(p.FLOOD, 1, actions=actions)) == [f"apply {expected}"]
    [bucket] = buckets(PutGroup(Group(1, GroupType.ALL, (Bucket(actions),))))
    assert " ".join(map(action, bucket.actions)) == expected


@pytest.mark.parametrize(
    ("actions", "goto", "expected"),
    [
        ((), None, []),
        ((), p.EGRESS_POLICY, ["goto 7"]),
        ((Set(p.SWITCH, 5000),), None, ["metadata 0x1388/0xffffffff"]),
        ((Set(p.FROM_TUNNEL, 1),), None, ["metadata 0x100000000/0x100000000"]),
        (
            (PopVlan(), Set(p.SWITCH, 5000), Set(p.FROM_TUNNEL, 0), Set(p.INGRESS_BINDING, 5)),
            p.EGRESS_POLICY,
            ["apply pop reg1=5", "metadata 0x1388/0x1ffffffff", "goto 7"],
        ),
        (
            (ToGroup(1), Set(p.FROM_TUNNEL, 1)),
            p.EGRESS_POLICY,
            ["apply group:0x1", "metadata 0x100000000/0x100000000", "goto 7"],
        ),
    ],
)
def test_metadata_is_written_after_the_actions_and_before_the_next_table(actions, goto, expected):
    assert instructions(put(p.FLOOD, 1, actions=actions, goto=goto)) == expected


def test_a_packet_passes_its_meter_before_anything_is_done_with_it():
    made = put(p.UNICAST, 1, actions=(Output(3),), goto=p.FLOOD, meter=p.meter_id(3))
    assert instructions(made) == ["meter 0x76740003", "apply output:3", "goto 6"]


def test_a_flow_is_added_with_its_table_priority_and_cookie_and_nothing_that_expires_or_reports():
    mod = put(p.FLOOD, p.Priority.SPECIAL)
    assert (mod.command, mod.table_id, mod.priority, mod.cookie) == (ofp.OFPFC_ADD, 6, 400, COOKIE)
    assert (mod.idle_timeout, mod.hard_timeout, mod.flags) == (0, 0, 0)
    assert mod.buffer_id == ofp.OFP_NO_BUFFER


def test_a_flow_that_ages_reports_that_it_has():
    mod = put(p.LEARN, 1, idle_timeout=300)
    assert (mod.idle_timeout, mod.hard_timeout, mod.flags) == (300, 0, ofp.OFPFF_SEND_FLOW_REM)


def test_an_added_flow_keeps_the_counters_of_the_one_that_it_replaces():
    assert put(p.LEARN, 1, idle_timeout=300).flags & ofp.OFPFF_RESET_COUNTS == 0


def test_a_removal_takes_that_flow_alone_in_any_epoch_and_only_if_it_is_ours():
    mod = parsed(message(DATAPATH, RemoveFlow(Flow(p.FLOOD, 300, (Match(p.SWITCH, 1),))), COOKIE))
    assert (mod.command, mod.table_id, mod.priority) == (ofp.OFPFC_DELETE_STRICT, 6, 300)
    assert (mod.out_port, mod.out_group) == (ofp.OFPP_ANY, ofp.OFPG_ANY)
    for cookie, ours in ((p.cookie(0), True), (p.cookie(p.EPOCHS - 1), True), (0, False), (1 << 63, False)):
        assert (cookie & mod.cookie_mask == mod.cookie & mod.cookie_mask) == ours


def test_flows_are_removed_by_cookie_in_all_tables():
    mod = parsed(remove_flows(DATAPATH, 5, 7))
    assert (mod.command, mod.table_id, mod.cookie, mod.cookie_mask) == (ofp.OFPFC_DELETE, ofp.OFPTT_ALL, 5, 7)
    assert (mod.out_port, mod.out_group, dict(mod.match.items())) == (ofp.OFPP_ANY, ofp.OFPG_ANY, {})


GROUP_MOD = struct.Struct("!BBHIHBxI")  # OpenFlow 1.3, section 7.3.4.2; Ryu parses no group mod.


def buckets(change):
    data = packed(message(DATAPATH, change, COOKIE))
    found, offset = [], GROUP_MOD.size
    while offset < len(data):
        found.append(parser.OFPBucket.parser(data, offset))
        offset += found[-1].len
    return found


def group_mod(change):
    """Command, type and id."""
    data = packed(message(DATAPATH, change, COOKIE))
    version, kind, length, _, *found = GROUP_MOD.unpack_from(data)
    assert (version, kind, length) == (ofp.OFP_VERSION, ofp.OFPT_GROUP_MOD, len(data))
    return tuple(found)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (GroupType.ALL, ofp.OFPGT_ALL),
        (GroupType.SELECT, ofp.OFPGT_SELECT),
        (GroupType.FAST_FAILOVER, ofp.OFPGT_FF),
    ],
)
def test_a_group_is_added_whether_it_is_there_or_not(kind, number):
    assert group_mod(PutGroup(Group(0x20001388, kind, ()))) == (0x8000, number, 0x20001388)


def test_buckets_keep_their_order_and_watch_what_they_are_told_to():
    copies = (Bucket((Output(1),), watch_port=9), Bucket((Output(2),)))
    made = buckets(PutGroup(Group(1, GroupType.FAST_FAILOVER, copies)))
    assert [action(bucket.actions[0]) for bucket in made] == ["output:1", "output:2"]
    assert [bucket.watch_port for bucket in made] == [9, ofp.OFPP_ANY]
    assert {bucket.watch_group for bucket in made} == {ofp.OFPG_ANY}


def test_the_buckets_of_a_group_that_selects_have_a_weight_and_no_others_may():
    weights = {}
    for kind in GroupType:
        [bucket] = buckets(PutGroup(Group(1, kind, (Bucket((ToGroup(2),)),))))
        weights[kind] = bucket.weight
    assert weights == {GroupType.ALL: 0, GroupType.SELECT: 1, GroupType.FAST_FAILOVER: 0}


@pytest.mark.parametrize("mode", ["source_node", "service_node"])
def test_no_message_is_longer_than_64_kib_however_many_bindings_and_members_there_are(mode):
    members = " ".join(f"10.3.{n // 250}.{n % 250}" for n in range(4000))
    bindings = " ".join(f"{vlan}=ls0" for vlan in range(4095))
    switch = f"logical_switch ls0 tunnel_key=5000 replication_mode={mode}"
    rows = (f"mcast_remote ls0 {mac} {members}" for mac in ("unknown-dst", "01:00:5e:00:00:01"))
    wanted = rendering(World(BASE, f"physical_port p0 {bindings}", switch, *rows).vtep)
    puts = [*map(PutFlow, wanted.flows), *map(PutGroup, wanted.groups)]
    assert sum("tunnel_dst" in str(group) for group in wanted.groups) >= 2
    assert max(len(packed(message(DATAPATH, put, COOKIE))) for put in puts) < 1 << 16


def test_a_group_of_as_many_buckets_as_are_used_fits_into_a_message():
    copies = tuple(Bucket(encapsulate.copy(5000, f"10.2.{n >> 8}.{n & 255}"), 9) for n in range(BUCKETS_PER_GROUP))
    assert len(packed(message(DATAPATH, PutGroup(Group(1, GroupType.FAST_FAILOVER, copies)), COOKIE))) < 1 << 16


METER_MOD = struct.Struct("!BBHIHHI")  # OpenFlow 1.3, section 7.3.4.4; Ryu parses no meter mod.
METER_BAND = struct.Struct("!HHII4x")
ID = p.meter_id(3)


def meter_mod(change, there=()):
    """Command, flags, id, and what follows: the bands."""
    data = packed(message(DATAPATH, change, COOKIE, there))
    version, kind, length, _, *found = METER_MOD.unpack_from(data)
    assert (version, kind, length) == (ofp.OFP_VERSION, ofp.OFPT_METER_MOD, len(data))
    return *found, data[METER_MOD.size :]


@pytest.mark.parametrize(("there", "command"), [((), ofp.OFPMC_ADD), ((ID,), ofp.OFPMC_MODIFY)])
def test_a_meter_is_added_or_modified_and_drops_packets_beyond_its_rate_and_burst(there, command):
    flags = ofp.OFPMF_PKTPS | ofp.OFPMF_BURST | ofp.OFPMF_STATS
    band = METER_BAND.pack(ofp.OFPMBT_DROP, METER_BAND.size, 50, 100)
    assert meter_mod(PutMeter(Meter(ID, 50, 100)), there) == (command, flags, ID, band)


def test_a_meter_is_removed_by_its_id():
    command, _, id, bands = meter_mod(RemoveMeter(ID))
    assert (command, id, bands) == (ofp.OFPMC_DELETE, ID, b"")


def test_a_meter_is_known_again_unless_others_have_made_it_another():
    sent = message(DATAPATH, PutMeter(Meter(ID, 50, 100)), COOKIE)
    reply = parser.OFPMeterConfigStats(flags=sent.flags, meter_id=ID, bands=sent.bands)
    assert meter_of(reply) == Meter(ID, 50, 100)
    kbps = parser.OFPMeterConfigStats(flags=ofp.OFPMF_KBPS, meter_id=ID, bands=sent.bands)
    remark = [parser.OFPMeterBandDscpRemark(50, 100, 1)]
    other_band = parser.OFPMeterConfigStats(flags=sent.flags, meter_id=ID, bands=remark)
    two_bands = parser.OFPMeterConfigStats(flags=sent.flags, meter_id=ID, bands=[*sent.bands, *sent.bands])
    assert [meter_of(each) for each in (kbps, other_band, two_bands)] == [None, None, None]


def test_a_group_is_removed_by_its_id():
    assert group_mod(RemoveGroup(0x20001388)) == (ofp.OFPGC_DELETE, ofp.OFPGT_ALL, 0x20001388)
    assert buckets(RemoveGroup(1)) == []


def test_everything_that_a_vtep_wants_can_be_said_and_no_two_flows_look_alike_to_the_switch():
    wanted = rendering(World(BASE, REMOTE, LEARNED).vtep)
    mods = [parsed(message(DATAPATH, PutFlow(flow), COOKIE)) for flow in wanted.flows]
    assert len({(mod.table_id, mod.priority, frozenset(mod.match.items())) for mod in mods}) == len(mods)
    for flow, mod in zip(wanted.flows, mods, strict=True):
        assert [line for line in instructions(mod) if "None" in line] == []
        assert (mod.table_id, mod.priority) == (flow.table.id, flow.priority)
    for group in wanted.groups:
        made = buckets(PutGroup(group))
        assert [len(bucket.actions) for bucket in made] == [len(bucket.actions) for bucket in group.buckets]
