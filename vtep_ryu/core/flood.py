"""Tables multicast and flood: who gets a copy of a broadcast, unknown unicast or multicast frame."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar
from zlib import crc32

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Action, Bucket, Flow, Group, GroupType, Match, Resubmit, Set, ToGroup

# One group message of 64 KiB holds about 1,360 buckets that encapsulate; a longer one makes the switch hang up.
BUCKETS_PER_GROUP = 500

# What Open vSwitch does with a packet in one go fits into 64 KiB, about 780 copies that encapsulate, of which it leaves
# out the rest without a word; and takes 4,096 lookups, two for each local copy, or it drops the packet. There is room
# for so many members of either sort.
MEMBERS_PER_PART = 500

Member = TypeVar("Member", bound=Hashable)


def to_binding(binding: int) -> tuple[Action, ...]:
    """A copy for a local binding, which the egress tables finish."""
    return (Set(p.EGRESS_BINDING, binding), Resubmit(p.EGRESS_POLICY))


def parts(members: Sequence[Member], name: str = "") -> dict[str, Sequence[Member]]:
    """The members that get their copies together, by the name of their part: how the hashes of all of them begin.

    A few are one part, and one that is too large is two. So a member that comes or goes concerns its own part alone,
    and which parts there are depends on nothing but the members.
    """
    if len(members) <= MEMBERS_PER_PART:
        return {name: members} if members else {}
    bit = 1 << len(name)
    zeros = [member for member in members if not crc32(str(member).encode()) & bit]
    ones = [member for member in members if crc32(str(member).encode()) & bit]
    return parts(zeros, f"{name}0") | parts(ones, f"{name}1")


def every_member(
    group_id: int, numbered: Sequence[tuple[int, int]], parts: Sequence[Sequence[tuple[Action, ...]]]
) -> tuple[Group, ...]:
    """A group that makes every copy, the last one; before it, for several parts, the two numbered ones of each.

    To choose a bucket, even from one, Open vSwitch takes a packet up anew (it recirculates it with a hash), whatever
    the packet is: so each part is done in a go of its own. Parts that followed one another in a flow would all be done
    in the second go; but each bucket of a group that copies has a packet of its own.
    """
    if len(parts) == 1:
        return (_all(group_id, parts[0]),)
    copying = [_all(part_id, copies) for (part_id, _), copies in zip(numbered, parts, strict=True)]
    anew = [Group(id, GroupType.SELECT, (Bucket((ToGroup(part_id),)),)) for part_id, id in numbered]
    return (*copying, *anew, _all(group_id, [(ToGroup(group.id),) for group in anew]))


def _all(id: int, copies: Sequence[tuple[Action, ...]]) -> Group:
    return Group(id, GroupType.ALL, tuple(map(Bucket, copies)))


def first_alive(group_id: int, copies: Sequence[tuple[Action, ...]], watch_ports: Sequence[int], alive: int) -> Group:
    """A group that copies to the first member whose port is alive (fast failover), without the controller's help.

    alive is a port that always is. Where no member watches it, there is one bucket more, for frames that none can get.
    More members than fit into one group are more than anybody fails over to: the rest is left out.
    """
    members = list(zip(copies, watch_ports, strict=True))[:BUCKETS_PER_GROUP]
    buckets = [Bucket(actions, port) for actions, port in members]
    if alive not in watch_ports[:BUCKETS_PER_GROUP]:
        buckets.append(Bucket((Resubmit(p.UNDELIVERED),), alive))
    return Group(group_id, GroupType.FAST_FAILOVER, tuple(buckets))


def undelivered(switch: int, groups: Sequence[Group], mac: str | None = None) -> Iterator[Flow]:
    """What counts the frames that no member can get: unlike a group's counters, a flow's stay when members change."""
    if not any(Resubmit(p.UNDELIVERED) in bucket.actions for group in groups for bucket in group.buckets):
        return
    if mac is None:
        yield Flow(p.UNDELIVERED, p.Priority.GENERAL, (Match(p.SWITCH, switch),), note=p.DROPS)
    else:
        yield Flow(p.UNDELIVERED, p.Priority.SPECIAL, (Match(p.SWITCH, switch), Match(p.ETH_DST, mac)), note=p.DROPS)


def flood(switch: int, local: Sequence[Group], remote: Sequence[Group], note: int) -> Iterator[Flow]:
    """Frames with no better place to go: those from a tunnel stay on this side."""
    to_local, to_remote = _to(local), _to(remote)
    from_tunnel = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 1))
    yield Flow(p.FLOOD, p.Priority.GENERAL, from_tunnel, to_local, note=note)
    from_port = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0))
    yield Flow(p.FLOOD, p.Priority.GENERAL, from_port, (*to_local, *to_remote), note=note)


def multicast(switch: int, mac: str, remote: Sequence[Group]) -> Flow:
    """A multicast address with members of its own, for frames from local ports.

    Its remote copies are made here. What is left to flood is what a frame from a tunnel gets: the local bindings.
    """
    match = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0), Match(p.ETH_DST, mac))
    return Flow(p.MULTICAST, p.Priority.GENERAL, match, (*_to(remote), Set(p.FROM_TUNNEL, 1)), goto=p.FLOOD)


def _to(groups: Sequence[Group]) -> tuple[Action, ...]:
    return tuple(ToGroup(group.id) for group in groups)
