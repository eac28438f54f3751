"""Tables multicast and flood: who gets a copy of a broadcast, unknown unicast or multicast frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Action, Bucket, Flow, Group, GroupType, Match, Resubmit, Set, ToGroup

# One group message of 64 KiB holds about 1,360 buckets that encapsulate; a longer one makes the switch hang up.
BUCKETS_PER_GROUP = 500


def to_binding(binding: int) -> Bucket:
    """A copy for a local binding, which the egress tables finish."""
    return Bucket((Set(p.EGRESS_BINDING, binding), Resubmit(p.EGRESS_POLICY)))


def every(group_ids: Sequence[int], buckets: Sequence[Bucket]) -> tuple[Group, ...]:
    """Groups that copy to every bucket, as many as it takes."""
    parts = (buckets[n : n + BUCKETS_PER_GROUP] for n in range(0, len(buckets), BUCKETS_PER_GROUP))
    return tuple(Group(id, GroupType.ALL, tuple(part)) for id, part in zip(group_ids, parts, strict=True))


def groups_needed(buckets: int) -> int:
    """How many groups every() takes for this many buckets."""
    return -(-buckets // BUCKETS_PER_GROUP)


def first_alive(group_id: int, copies: Sequence[tuple[Action, ...]], watch_port: int) -> Group:
    """A group that copies to the first member whose port is alive (fast failover).

    More members than fit into one group are more than anybody fails over to: the rest is left out.
    """
    buckets = tuple(Bucket(actions, watch_port) for actions in copies[:BUCKETS_PER_GROUP])
    return Group(group_id, GroupType.FAST_FAILOVER, buckets)


def flood(switch: int, local: Sequence[Group], remote: Sequence[Group]) -> Iterator[Flow]:
    """Frames with no better place to go: those from a tunnel stay on this side."""
    to_local, to_remote = _to(local), _to(remote)
    from_tunnel = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 1))
    yield Flow(p.FLOOD, p.Priority.GENERAL, from_tunnel, to_local)
    from_port = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0))
    yield Flow(p.FLOOD, p.Priority.GENERAL, from_port, (*to_local, *to_remote))


def multicast(switch: int, mac: str, remote: Sequence[Group]) -> Flow:
    """A multicast address with members of its own, for frames from local ports.

    Its remote copies are made here. What is left to flood is what a frame from a tunnel gets: the local bindings.
    """
    match = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0), Match(p.ETH_DST, mac))
    return Flow(p.MULTICAST, p.Priority.GENERAL, match, (*_to(remote), Set(p.FROM_TUNNEL, 1)), goto=p.FLOOD)


def _to(groups: Sequence[Group]) -> tuple[Action, ...]:
    return tuple(ToGroup(group.id) for group in groups)
