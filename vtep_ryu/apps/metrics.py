"""What metrics and the event log are made from, where the operator wants them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ryu.lib import hub

from vtep_ryu import __version__
from vtep_ryu.apps.fatal import fatal
from vtep_ryu.core.events import Event, Events
from vtep_ryu.drivers.control import Status
from vtep_ryu.drivers.event_log import EventLog
from vtep_ryu.drivers.ovsdb import OvsdbClient
from vtep_ryu.show.metrics import ERRORS, Sources
from vtep_ryu.show.site import Site


def writer(path: str) -> Callable[[Event], None]:
    """What takes events for the event log, if there is to be one."""
    return EventLog(path).write if path else lambda _: None


class Metrics:
    """Serves the metrics from what the program's parts know at that moment."""

    def __init__(
        self,
        site: Callable[[], Site],
        status: Callable[[], Status],
        events: Events,
        clients: Sequence[OvsdbClient[Any, Any]],
    ) -> None:
        self._site = site
        self._status = status
        self._events = events
        self._clients = clients
        self._build = {"version": __version__, "python": platform.python_version(), "ovs": version("ovs")}

    def start(self, listen: tuple[str, int] | None) -> None:
        """Serve them there, if anywhere. What that needs is not even loaded otherwise."""
        if listen is not None:
            from vtep_ryu.drivers.exporter import Exporter

            hub.spawn(fatal(Exporter(listen, self._sources).serve))

    def _sources(self) -> Sources:
        status = self._status()
        bridges = {"owned": status.owned, "served": status.bridges, "standby": status.standby}
        return Sources(
            self._site(),
            {name: link.remote is not None for name, link in status.databases.items()},
            {client.name: client.sizes for client in self._clients},
            {state: len(names) for state, names in bridges.items()},
            self._events,
            {kind: sum(client.errors[kind] for client in self._clients) for kind in ERRORS},
            self._build,
            _process(),
        )


def _process() -> dict[str, float]:
    """As any program has it. prometheus_client would read what the service is not shown, and say nothing there."""
    _, resident, *_ = Path("/proc/self/statm").read_text().split()
    return {
        "process_cpu_seconds_total": time.process_time(),
        "process_resident_memory_bytes": int(resident) * os.sysconf("SC_PAGE_SIZE"),
        "process_open_fds": sum(1 for _ in Path("/proc/self/fd").iterdir()),
    }
