"""What is packed straight to bytes is what Ryu's own serializer makes of the same, byte by byte."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from ryu.ofproto import ofproto_protocol
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto import ofproto_v1_3_parser as parser

from tests.unit.example import BASE, LEARNED, REMOTE
from tests.unit.world import World, rendering
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import (
    Action,
    Bucket,
    Field,
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
)
from vtep_ryu.core.plan import Change, PutFlow, PutGroup, RemoveFlow, RemoveGroup
from vtep_ryu.drivers import messages, packer

DATAPATH = ofproto_protocol.ProtocolDesc(version=ofp.OFP_VERSION)
FIELDS = [each for each in vars(p).values() if isinstance(each, Field)]
ANY = Table(5, "any", frozenset(FIELDS), frozenset({"next"}), None, "")
NEXT = Table(250, "next", frozenset(), frozenset(), None, "")
"""Tables of no pipeline: what can be said of flows is more than is said there."""


def by_ryu(change: Change, bundle: int, cookie: int, xid: int) -> bytes:
    """The message that adds a change to a bundle, as Ryu makes it."""
    inner = messages.message(DATAPATH, change, cookie)
    added = parser.ONFBundleAddMsg(DATAPATH, bundle, packer.BUNDLE_FLAGS, inner, [])
    added.set_xid(xid)
    added.serialize()
    return bytes(added.buf)


def numbers(bits: int) -> st.SearchStrategy[int]:
    """Numbers of so many bits; the ends of the range are tried often."""
    return st.integers(0, (1 << bits) - 1) | st.sampled_from([0, 1, (1 << bits) - 1])


macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
ips = st.ip_addresses(v=4).map(str)
BITS = {p.IN_PORT: 32, p.VLAN: 13, p.TUNNEL_KEY: 64, p.SWITCH: 32, p.FROM_TUNNEL: 1}
BITS |= {p.INGRESS_BINDING: 32, p.EGRESS_BINDING: 32}
VALUES = {field: numbers(bits) for field, bits in BITS.items()}
VALUES |= {p.TUNNEL_SRC: ips, p.TUNNEL_DST: ips, p.ETH_SRC: macs, p.ETH_DST: macs}
NO_MASKS = (p.EVERY_BIT, "255.255.255.255", (1 << 32) - 1, (1 << 64) - 1)
"""What Ryu leaves away, since it masks nothing; nobody asks for it."""


@st.composite
def match(draw: st.DrawFn) -> tuple[Match, ...]:
    """Any fields, in any order, some of them under a mask."""
    matches = []
    for field in draw(st.lists(st.sampled_from(FIELDS), unique=True)):
        masks = VALUES[field].filter(lambda mask: mask not in NO_MASKS)
        mask = draw(st.none() | masks) if not field.width else None
        matches.append(Match(field, draw(VALUES[field]), mask))
    return tuple(matches)


def sets(field: Field) -> st.SearchStrategy[Set]:
    """What writes a value to a field: all of Open vSwitch's own ingress port has 16 bits."""
    return st.builds(Set, st.just(field), numbers(16) if field is p.IN_PORT else VALUES[field])


ACTIONS = {
    Set: st.one_of(*(sets(field) for field in FIELDS if not field.width)),
    PopVlan: st.just(PopVlan()),
    PushVlan: st.just(PushVlan()),
    Output: st.builds(Output, numbers(32)),
    ToController: st.builds(ToController, numbers(16)),
    ToGroup: st.builds(ToGroup, numbers(32)),
    Resubmit: st.just(Resubmit(NEXT)),
}
actions = st.lists(st.one_of(*ACTIONS.values()), max_size=8).map(tuple)
metadata = st.lists(st.sampled_from([p.SWITCH, p.FROM_TUNNEL]), unique=True).flatmap(
    lambda fields: st.tuples(*map(sets, fields))
)
flows = st.builds(
    Flow,
    st.just(ANY),
    numbers(16),
    match(),
    st.tuples(actions, metadata).map(lambda parts: (*parts[0], *parts[1])),
    st.none() | st.just(NEXT),
    numbers(16),
    numbers(32),
    st.none() | numbers(32),
)
buckets = st.builds(Bucket, actions, st.none() | numbers(32))
groups = st.builds(Group, numbers(32), st.sampled_from(GroupType), st.lists(buckets, max_size=3).map(tuple))
changes = st.one_of(
    flows.map(PutFlow), flows.map(RemoveFlow), groups.map(PutGroup), st.builds(RemoveGroup, numbers(32))
)


@given(changes, numbers(32), numbers(16).map(p.cookie), numbers(32))
def test_every_change_is_packed_as_ryu_packs_it(change: Change, bundle: int, cookie: int, xid: int) -> None:
    assert packer.in_bundle(bundle, change, cookie, xid) == by_ryu(change, bundle, cookie, xid)


def test_nothing_that_flows_are_made_of_is_left_out() -> None:
    assert VALUES.keys() == set(FIELDS) == frozenset.union(*(table.fields for table in p.TABLES)) | {p.EGRESS_BINDING}
    assert ACTIONS.keys() == set(get_args(Action))


def test_all_that_a_vtep_wants_is_packed_as_ryu_packs_it_with_and_without_what_it_has_remembered() -> None:
    wanted = rendering(World(BASE, REMOTE, LEARNED).vtep)
    puts = [*map(PutGroup, wanted.groups), *map(PutFlow, wanted.flows)]
    everything = [*puts, *map(RemoveFlow, wanted.flows), *(RemoveGroup(group.id) for group in wanted.groups)]
    for _ in range(2):
        for xid, change in enumerate(everything):
            assert packer.in_bundle(3, change, p.cookie(7), xid) == by_ryu(change, 3, p.cookie(7), xid)
