"""Metrics by HTTP, as Prometheus reads them. prometheus_client makes the text, in a green thread of the main thread.

So what is read is never half changed, and a scrape that waits says that the main thread is busy. The lines of one
metric are made in slices, between which others have their turn.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import eventlet
import eventlet.wsgi
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from vtep_ryu.core.measures import BUCKETS, Delays
from vtep_ryu.options import fail
from vtep_ryu.show.metrics import METRICS, Metric, Sources

LOG = logging.getLogger(__name__)

SLICE_SECONDS = 0.002
"""For how long lines are made before other green threads get their turn."""

CLIENTS = 8
"""Connections at once: who comes after them waits."""

CLIENT_SECONDS = 10.0
"""Without a request for so long, a connection is closed."""


class Exporter:
    """Serves the metrics. read gives what they are read from, once for each scrape."""

    def __init__(self, listen: tuple[str, int], read: Callable[[], Sources]) -> None:
        """Listen; where one cannot, one line on stderr and SystemExit(1)."""
        self._read = read
        host, port = listen
        family, place = (socket.AF_INET6, f"[{host}]") if ":" in host else (socket.AF_INET, host)
        try:
            self._socket = eventlet.listen(listen, family, reuse_port=False)
        except OSError as error:
            fail(f"cannot listen on {place}:{port} for metrics: {os.strerror(error.errno or 0)}")

    def serve(self) -> None:
        """Answer for ever."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        site = make_wsgi_app(registry, disable_compression=True)

        def answer(request: Any, start: Any) -> Any:
            try:
                return site(request, start)
            except Exception:
                # Who asks does not end what forwards.
                LOG.exception("metrics cannot be read")
                start("500 Internal Server Error", [])
                return [b"there is an error in vtep_ryu, of which its log says more"]

        options = {"log": LOG, "log_output": False, "debug": False, "max_size": CLIENTS}
        eventlet.wsgi.server(self._socket, answer, socket_timeout=CLIENT_SECONDS, **options)

    def collect(self) -> Iterator[Any]:
        """What a registry of prometheus_client asks its collectors for."""
        sources = self._read()
        for metric in METRICS:
            family = Family(metric.name.removesuffix("_total"), metric.text, metric.kind)
            family.samples = _in_slices(_samples(metric, sources))  # type: ignore[assignment]  # It is gone through once.
            yield family

    def describe(self) -> list[Any]:
        """The same, before it asks: nothing, for no other collector has metrics of these names."""
        return []


def _samples(metric: Metric, sources: Sources) -> Iterator[Any]:
    for values, value in metric.read(sources):
        labels = dict(zip(metric.labels, values, strict=True))
        if isinstance(value, Delays):
            yield from _histogram(metric.name, labels, value)
        else:
            yield Sample(metric.name, labels, value)


def _histogram(name: str, labels: dict[str, str], delays: Delays) -> Iterator[Any]:
    count = 0
    for bound, number in zip((*map(str, BUCKETS), "+Inf"), tuple(delays.counts), strict=True):
        count += number
        yield Sample(f"{name}_bucket", {**labels, "le": bound}, count)
    yield Sample(f"{name}_sum", labels, delays.total)
    yield Sample(f"{name}_count", labels, count)


def _in_slices(samples: Iterable[Any]) -> Iterator[Any]:
    until = time.monotonic() + SLICE_SECONDS
    for sample in samples:
        yield sample
        if time.monotonic() > until:
            eventlet.sleep(0)
            until = time.monotonic() + SLICE_SECONDS
