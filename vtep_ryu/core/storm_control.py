"""Table unicast, its ways to replication: how much a port may send there. Known unicast does not come to these."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Flow, Match, Meter


def meter(port: int, rate: int) -> Meter:
    """A port's meter: so many frames a second, of which those of one second may come at once."""
    return Meter(p.meter_id(port), rate, burst=rate)


def metered(port: int) -> Iterator[Flow]:
    """A port's frames that go on to replication, with the meter before it.

    They are the two ways out of the table for such frames, once more for this port. Every datapath flow is one port's
    anyhow, so that known unicast takes no more of these than without.
    """
    from_port, id = Match(p.IN_PORT, port), p.meter_id(port)
    multicast = (from_port, Match(p.ETH_DST, p.MULTICAST_BIT, p.MULTICAST_BIT))
    yield Flow(p.UNICAST, p.Priority.METERED, multicast, meter=id, goto=p.MULTICAST)
    yield Flow(p.UNICAST, p.Priority.GENERAL, (from_port,), meter=id, goto=p.FLOOD)
