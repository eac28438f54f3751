"""One connected bridge: its ports, what it still knows, and changes applied to it in atomic bundles.

Bundles are those of the ONF extension for OpenFlow 1.3 (EXT-230). Everything here runs in green threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto import ofproto_v1_3_parser as parser

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Flow, Match, Table
from vtep_ryu.core.model import Port
from vtep_ryu.core.plan import Change, PutMeter, RemoveGroup, RemoveMeter, Step
from vtep_ryu.core.statistics import Counted
from vtep_ryu.core.units import Unit
from vtep_ryu.drivers import flow_stats, messages, packer, packet_in
from vtep_ryu.drivers.meters import Meters
from vtep_ryu.drivers.replies import Identity, Learned, error_text, place_of, port_of, station_of
from vtep_ryu.drivers.roles import Roles, is_demotion

LOG = logging.getLogger(__name__)

REPLY_TIMEOUT = 60.0
"""Seconds that a switch may take for an answer before its connection is given up."""

STEPS_PER_BUNDLE = 5000
"""Ports are served by the thread that commits a bundle: a larger one would be felt as loss."""

ECHO_SECONDS = 0.3
"""Between two echo requests to a switch that others would serve as well, if this program could not any more."""

MESSAGES_PER_WRITE = 200
"""Packed at once, some 30 KB. Ryu's queue holds 16 such writes; who has more waits until the switch has taken some."""


flow_stats.install()


class SwitchLost(Exception):
    """The connection to the switch is gone, or given up."""


class Refused(Exception):
    """The switch answered a request with an error."""


class Switch:
    """One connected bridge.

    turn is held by whoever changes what is on it: one at a time, in the order in which they came.
    """

    def __init__(self, datapath: Any) -> None:
        self.identity = Identity.of(datapath)
        self.datapath_id = self.identity.datapath_id
        self.turn = hub.Semaphore()
        self._datapath = datapath
        self._lost = False
        self._why = ""
        self._waiting: dict[int, Any] = {}
        self._adding = range(0)
        self._refusals = hub.Queue()
        self._next_bundle = 0
        self._echo_seconds: float = datapath.echo_request_interval
        self.meters = Meters(datapath, self._request, self._send_apart)
        self.roles = Roles(datapath, self._request, Refused)

    def is_of(self, datapath: Any) -> bool:
        """Whether this is the switch at the other end of that connection."""
        return self._datapath is datapath

    def receive(self, reply: Any) -> None:
        """Take in a reply or an error from the switch."""
        queue = self._refusals if reply.xid in self._adding else self._waiting.get(reply.xid)
        if queue is not None:
            queue.put(reply)
        elif isinstance(reply, parser.OFPErrorMsg) and not is_demotion(reply):
            LOG.warning("switch %016x: unexpected error: %s", self.datapath_id, error_text(reply))

    def lose(self) -> None:
        """Take in that the connection is gone: whoever waits for an answer gets SwitchLost."""
        self._lost = True
        for queue in self._waiting.values():
            queue.put(None)

    def close(self, why: str) -> None:
        """Hang up, unless it has done so; the switch connects anew."""
        self._why = self._why or why
        self._datapath.close()

    @property
    def address(self) -> str:
        """The IP address from which it is connected."""
        return str(self._datapath.address[0])

    @property
    def why_lost(self) -> str:
        """Why we hung up, as the end of a line; nothing where the switch did."""
        unanswered = len(self._datapath.unreplied_echo_requests)
        if unanswered > self._datapath.max_unreplied_echo_requests > 0:
            return f": no answer for {unanswered * self._datapath.echo_request_interval:.0f} s"
        why = self._datapath.socket.why_ended or self._why
        return f": {why}" if why else ""

    def hear(self, on_packet_in: Callable[[], None]) -> None:
        """From here on, call this when there are packet-ins: see sightings()."""
        self._datapath.socket.on_packet_in = on_packet_in

    def stop_hearing(self) -> None:
        """From here on, packet-ins are dropped."""
        self._datapath.socket.on_packet_in = None
        while self.has_sightings:
            self._datapath.socket.packet_ins.take()

    def expect_answers(self, soon: bool) -> None:
        """Notice soon, or as Ryu's options have it, that the switch does not answer any more."""
        self._datapath.echo_request_interval = min(self._echo_seconds, ECHO_SECONDS if soon else self._echo_seconds)

    @property
    def has_sightings(self) -> bool:
        """Whether there are packet-ins."""
        return bool(self._datapath.socket.packet_ins)

    def sightings(self, most: int) -> Iterator[tuple[int, int, str] | None]:
        """What packet-ins tell, of each port in turn, and not of more than so many: see packet_in.sighting()."""
        packet_ins = self._datapath.socket.packet_ins
        for _ in range(min(most, len(packet_ins))):
            yield packet_in.sighting(packet_ins.take())

    def take_lost(self) -> int:
        """How many packet-ins were lost since last asked, for there were too many."""
        packet_ins = self._datapath.socket.packet_ins
        lost, packet_ins.lost = packet_ins.lost, 0
        return int(lost)

    def ports(self) -> dict[str, Port]:
        """The switch's ports by name, the local port excepted."""
        replies = self._request(parser.OFPPortDescStatsRequest(self._datapath))
        return {port.name: port for reply in replies for raw in reply.body if (port := port_of(raw)) is not None}

    def learned(self) -> Learned:
        """What its learn table holds of ours."""
        entries, epochs = [], set()
        for flow in self._flows(p.LEARN.id):
            epochs.add(p.epoch_of(flow.cookie) or 0)
            if flow.match.get(p.INGRESS_BINDING.oxm):
                entries.append((*station_of(flow.match), p.note_of(flow.cookie)))
        return Learned(tuple(entries), frozenset(epochs))

    def forwarding(self) -> list[tuple[int, int]]:
        """The ids of the logical switches that it forwards for, each with the note on its flows."""
        flows = self._flows(p.FLOOD.id)
        return [(place_of(flow.match)[0], p.note_of(flow.cookie)) for flow in flows if flow.match.get(p.SWITCH.oxm)]

    def taking(self) -> list[tuple[int, str | None, int]]:
        """The VNIs that it takes frames with, the address they come from, None for any, and the note on the flow."""
        return [
            (flow.match[p.TUNNEL_KEY.oxm], flow.match.get(p.TUNNEL_SRC.oxm), p.note_of(flow.cookie))
            for flow in self._flows(p.CLASSIFY.id)
            if p.TUNNEL_KEY.oxm in flow.match
        ]

    def counters(self, table: Table, match: tuple[Match, ...] = ()) -> list[Counted]:
        """What the flows of a table have counted, ours only; with a match, those that match this or less of it."""
        return [(flow.match, flow.packet_count, flow.byte_count) for flow in self._flows(table.id, match)]

    def dropped(self, epoch: int) -> list[tuple[int, Counted]]:
        """What the flows of an epoch have counted that drop frames, each with the id of its table.

        Open vSwitch finds flows by their whole cookie without looking at others.
        """
        flows = self._flows(ofp.OFPTT_ALL, (), (p.cookie(epoch, p.DROPS), p.WHOLE))
        return [(flow.table_id, (flow.match, flow.packet_count, flow.byte_count)) for flow in flows]

    def counter(self, flow: Flow) -> tuple[int, int] | None:
        """The packets and bytes that a flow has counted; None where it is not there."""
        fields = {match.field.oxm for match in flow.match}
        found = (each for each in self._flows(flow.table.id, flow.match) if each.priority == flow.priority)
        return next(((each.packet_count, each.byte_count) for each in found if each.match.keys() == fields), None)

    def bucket_counters(self, group_id: int) -> list[tuple[int, int]]:
        """The packets and bytes that each bucket of a group has counted; none where the group is not there."""
        replies = self._request(parser.OFPGroupStatsRequest(self._datapath, 0, group_id))
        buckets = (bucket for reply in replies for group in reply.body for bucket in group.bucket_stats)
        return [(bucket.packet_count, bucket.byte_count) for bucket in buckets]

    def totals(self, table_id: int, which: tuple[int, int] = p.OURS) -> tuple[int, int, int]:
        """How many flows of ours a table, or OFPTT_ALL, has, and the packets and bytes that they have counted.

        which is the cookie of those that count, and its mask.
        """
        request = parser.OFPAggregateStatsRequest(
            *(self._datapath, 0, table_id, ofp.OFPP_ANY, ofp.OFPG_ANY, *which, parser.OFPMatch())
        )
        (reply,) = self._request(request)
        return reply.body.flow_count, reply.body.packet_count, reply.body.byte_count

    def group_ids(self) -> set[int]:
        """The ids of the groups there that are ours."""
        replies = self._request(parser.OFPGroupDescStatsRequest(self._datapath))
        return {group.group_id for reply in replies for group in reply.body if p.is_ours(group.group_id)}

    def apply(self, steps: Sequence[Step], epoch: int) -> dict[Unit, str]:
        """Make the changes, in order, in as few atomic bundles as they fit into; meters before the first, or after it.

        Returns the units that the switch refused, with its reason: none of what they wanted in the bundle concerned is
        there. All others are applied. Raises SwitchLost, after which the connection is to be closed.
        """
        refused = self.meters.change([step for step in steps if isinstance(step.change, PutMeter)])
        others = [step for step in steps if not isinstance(step.change, PutMeter | RemoveMeter)]
        for start in range(0, len(others), STEPS_PER_BUNDLE):
            self._apply(others[start : start + STEPS_PER_BUNDLE], p.cookie(epoch), refused)
        self.meters.change([step for step in steps if isinstance(step.change, RemoveMeter)])
        return refused

    def forget_other_epochs(self, epoch: int) -> None:
        """Remove our flows of every other epoch. There are nearly always none but those of the one before.

        Each removal goes through all flows, and so does a count. Of every epoch is counted first: flows only run out.
        """
        for cookie, mask in p.other_epochs(epoch):
            if self.totals(ofp.OFPTT_ALL)[0] == self.totals(ofp.OFPTT_ALL, p.of_epoch(epoch))[0]:
                break
            self._request(messages.remove_flows(self._datapath, cookie, mask), barrier=True)

    def forget_groups(self, group_ids: Iterable[int]) -> None:
        """Remove these groups."""
        for group_id in group_ids:
            self._send([messages.message(self._datapath, RemoveGroup(group_id), 0)])
        self._barrier()

    def forget_everything(self) -> bool:
        """Remove all that is ours; return whether anything was.

        Our flows say that groups with ids like ours are ours, so they go last.
        """
        self.meters.read()
        had_meters = self.meters.forget_others(())
        flows, _, _ = self.totals(ofp.OFPTT_ALL)
        if not flows:
            return had_meters
        self.forget_groups(self.group_ids())
        self._request(messages.remove_flows(self._datapath, *p.OURS), barrier=True)
        return True

    def _flows(
        self, table_id: int, match: tuple[Match, ...] = (), which: tuple[int, int] = p.OURS
    ) -> list[flow_stats.FlowStats]:
        """The statistics of the flows of a table, or OFPTT_ALL; which is their cookie, and its mask."""
        any_port, any_group = ofp.OFPP_ANY, ofp.OFPG_ANY
        fields = messages.of_match(match)
        request = parser.OFPFlowStatsRequest(self._datapath, 0, table_id, any_port, any_group, *which, fields)
        return [flow for reply in self._request(request) for flow in reply.body]

    def _apply(self, steps: Sequence[Step], cookie: int, refused: dict[Unit, str]) -> None:
        while steps := [step for step in steps if not refused or step.unit not in refused]:
            bundle = self._next_bundle = self._next_bundle + 1 & 0x7FFFFFFF
            errors = self._fill_bundle(bundle, steps, cookie)
            try:
                if errors:
                    # The switch would commit what it took and leave a hole where it did not.
                    self._request(self._bundle_message(bundle, ofp.ONF_BCT_DISCARD_REQUEST))
                    refused.update(errors)
                    continue
                self._request(self._bundle_message(bundle, ofp.ONF_BCT_COMMIT_REQUEST))
            except Refused as error:
                # It tells of the message that it did not take, then of the bundle.
                why = str(error) if self._refusals.empty() else error_text(self._refusals.get())
                self._apply_apart(steps, cookie, refused, why)
            finally:
                self._adding = range(0)
            return

    def _apply_apart(self, steps: Sequence[Step], cookie: int, refused: dict[Unit, str], why: str) -> None:
        """Find who is to blame for a commit that was refused and rolled back: halve the units until one is left."""
        units = list(dict.fromkeys(step.unit for step in steps))
        if len(units) == 1:
            if units[0] is None:
                raise SwitchLost(f"the switch refuses a removal: {why}")
            refused[units[0]] = why
            return
        half = set(units[: len(units) // 2])
        for part in ([s for s in steps if s.unit in half], [s for s in steps if s.unit not in half]):
            self._apply(part, cookie, refused)

    def _fill_bundle(self, bundle: int, steps: Sequence[Step], cookie: int) -> dict[Unit, str]:
        """Open the bundle and add the steps to it, in one go; return the units whose steps were refused."""
        with self._asked(self._bundle_message(bundle, ofp.ONF_BCT_OPEN_REQUEST)) as opened:
            refused = self._send_steps(steps, lambda change, xid: packer.in_bundle(bundle, change, cookie, xid))
            self._answer(opened)
        return refused

    def _send_apart(self, steps: Sequence[Step], message: Callable[[Change], Any]) -> dict[Unit, str]:
        """Make the changes, outside of any bundle, by these messages; return the units that were refused."""

        def packed(change: Change, xid: int) -> bytes:
            made = message(change)
            made.set_xid(xid)
            made.serialize()
            return bytes(made.buf)

        try:
            return self._send_steps(steps, packed)
        finally:
            self._adding = range(0)

    def _send_steps(self, steps: Sequence[Step], packed: Callable[[Change, int], bytes]) -> dict[Unit, str]:
        """Send each step's message, and wait for a barrier; return the units whose messages were refused."""
        refused: dict[Unit, str] = {}
        self._adding, self._refusals = self._xids(len(steps)), hub.Queue()
        numbered = list(zip(self._adding, steps, strict=True))
        for start in range(0, len(steps), MESSAGES_PER_WRITE):
            part = numbered[start : start + MESSAGES_PER_WRITE]
            self._write(b"".join([packed(step.change, xid) for xid, step in part]))
            hub.sleep(0)
        self._barrier()
        while not self._refusals.empty():
            error = self._refusals.get()
            unit = steps[self._adding.index(error.xid)].unit
            if unit is None:
                raise SwitchLost(f"the switch refuses a removal: {error_text(error)}")
            refused[unit] = error_text(error)
        return refused

    def _xids(self, count: int) -> range:
        """Transaction ids that follow each other."""
        first = self._datapath.xid + 1
        if first + count > ofp.MAX_XID:
            first = 1
        self._datapath.xid = first + count - 1
        return range(first, first + count)

    def _bundle_message(self, bundle: int, request: int) -> Any:
        return parser.ONFBundleCtrlMsg(self._datapath, bundle, request, packer.BUNDLE_FLAGS, [])

    def _barrier(self) -> None:
        self._request(parser.OFPBarrierRequest(self._datapath))

    def _request(self, request: Any, barrier: bool = False) -> list[Any]:
        """Send a request and wait for all parts of its reply, or, for one that has none, for a barrier's.

        Raises Refused where the answer is an error, SwitchLost where none comes.
        """
        with self._asked(request) as queue:
            if barrier:
                self._barrier()
                return []
            replies = []
            while True:
                reply = self._answer(queue)
                replies.append(reply)
                if not (isinstance(reply, parser.OFPMultipartReply) and reply.flags & ofp.OFPMPF_REPLY_MORE):
                    return replies

    @contextmanager
    def _asked(self, request: Any) -> Iterator[Any]:
        """Send a request; what is yielded gets the replies."""
        queue = hub.Queue()
        xid = self._datapath.set_xid(request)
        self._waiting[xid] = queue
        try:
            self._send([request])
            yield queue
        finally:
            del self._waiting[xid]

    def _answer(self, queue: Any) -> Any:
        try:
            reply = queue.get(timeout=REPLY_TIMEOUT)
        except hub.QueueEmpty:
            raise SwitchLost(f"no answer for {REPLY_TIMEOUT:.0f} s") from None
        if reply is None:
            raise SwitchLost
        if isinstance(reply, parser.OFPErrorMsg):
            raise Refused(error_text(reply))
        return reply

    def _send(self, requests: Iterable[Any]) -> None:
        """Send messages in one write."""
        data = bytearray()
        for request in requests:
            if request.xid is None:
                self._datapath.set_xid(request)
            request.serialize()
            data += request.buf
        self._write(bytes(data))

    def _write(self, data: bytes) -> None:
        if self._lost or not self._datapath.send(data):
            raise SwitchLost("" if self._lost else "it does not take what is sent to it")
