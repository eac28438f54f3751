"""The meters of one connected bridge that are ours. They cannot be in bundles, nor be added where they are there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

from ryu.ofproto import ofproto_v1_3_parser as parser

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Meter
from vtep_ryu.core.plan import Change, PutMeter, RemoveMeter, Step
from vtep_ryu.core.units import Unit
from vtep_ryu.drivers import messages

Request: TypeAlias = Callable[[Any], list[Any]]
"""Sends a request and waits for all parts of the reply."""

Send: TypeAlias = Callable[[Sequence[Step], Callable[[Change], Any]], dict[Unit, str]]
"""Sends the messages of steps; returns the units that the switch refused, with the reasons."""


class Meters:
    """What is there is known after read(), and nothing else changes it."""

    def __init__(self, datapath: Any, request: Request, send: Send) -> None:
        self._datapath = datapath
        self._request = request
        self._send = send
        self._there: dict[int, Meter | None] = {}

    def read(self) -> bool:
        """Ask which are there; return whether there can be any: not every datapath has meters."""
        replies = self._request(parser.OFPMeterConfigStatsRequest(self._datapath))
        ours = [raw for reply in replies for raw in reply.body if p.metered_port(raw.meter_id) is not None]
        self._there = {raw.meter_id: messages.meter_of(raw) for raw in ours}
        (reply,) = self._request(parser.OFPMeterFeaturesStatsRequest(self._datapath))
        return bool(reply.body[0].max_meter)

    def dropped(self) -> dict[int, int]:
        """How many packets they have dropped, by the OpenFlow number of the port."""
        replies = self._request(parser.OFPMeterStatsRequest(self._datapath))
        return {
            port: sum(band.packet_band_count for band in raw.band_stats)
            for reply in replies
            for raw in reply.body
            if (port := p.metered_port(raw.meter_id)) is not None
        }

    def change(self, steps: Sequence[Step]) -> dict[Unit, str]:
        """Make changes of meters, but for those that are there as wanted; return the units that were refused."""
        wrong = [step for step in steps if not self._is_done(step.change)]
        refused = self._send(wrong, self._message) if wrong else {}
        for step in wrong:
            match step.change:
                case PutMeter(meter) if step.unit not in refused:
                    self._there[meter.id] = meter
                case RemoveMeter(id):
                    del self._there[id]
        return refused

    def forget_others(self, wanted: Collection[int]) -> bool:
        """Remove those with other ids, and the flows that refer to them; return whether there were any."""
        others = self._there.keys() - wanted
        self.change([Step(RemoveMeter(id), None) for id in sorted(others)])
        return bool(others)

    def _is_done(self, change: Change) -> bool:
        match change:
            case PutMeter(meter):
                return self._there.get(meter.id) == meter
            case RemoveMeter(id):
                return id not in self._there
        return False

    def _message(self, change: Change) -> Any:
        return messages.message(self._datapath, change, 0, self._there)
