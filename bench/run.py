"""One run of the benchmark: how large it is, what is wanted of it, and telling what it does."""

import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bench.figures import Point


@dataclass(frozen=True, slots=True)
class Scale:
    """How large. What ovs-vtep is given is smaller: it needs minutes for more."""

    loads: tuple[int, ...] = (1_000, 3_000, 10_000, 30_000, 100_000)
    their_loads: tuple[int, ...] = (100, 300, 1_000)
    switches: tuple[int, ...] = (1, 100, 1_000)
    installed: int = 100_000
    their_switches: tuple[int, ...] = (1, 3, 10)
    their_installed: int = 100
    changes: int = 300
    their_changes: int = 5
    starts: tuple[int, ...] = (10, 100, 300, 1_000)
    their_starts: tuple[int, ...] = (1, 5, 10)
    idle_seconds: int = 20
    sources: tuple[int, ...] = (100, 1_000, 10_000)
    their_sources: tuple[int, ...] = (100, 300)
    known: tuple[int, ...] = (1, 1_000, 10_000)
    """Stations that are known when single ones are learned."""
    their_known: tuple[int, ...] = (1,)
    firsts: int = 200
    their_firsts: int = 10
    loads_meanwhile: tuple[int, ...] = (1_000, 10_000, 100_000)
    throughput: tuple[int, ...] = (100, 10_000)
    throughput_rounds: int = 12
    throughput_seconds: int = 2
    their_macs: int = 10
    """As many ovs-vtep has installed for the throughput; 0: without it."""
    simulated: tuple[int, ...] = (10, 50, 100)
    """Switches that are shared by instances, those of bench/fleet.py."""
    real: tuple[int, ...] = (1, 10, 50)
    """The same, bridges of Open vSwitch."""
    instances: tuple[int, ...] = (1, 2, 4)
    fleet_changes: int = 21
    fleet_idle_seconds: int = 8
    quiet: float = 2
    """Seconds without a new flow after which all are there."""
    patience: int = 5
    """Seconds that the server may say nothing: it does not while it works on a transaction."""


FULL = Scale()
BIG = Scale(loads=(*FULL.loads, 300_000, 1_000_000), simulated=(*FULL.simulated, 200), patience=120)
QUICK = Scale(
    loads=(1_000, 3_000),
    their_loads=(30,),
    switches=(1, 30),
    installed=1_000,
    their_switches=(1,),
    their_installed=10,
    changes=50,
    their_changes=3,
    starts=(10, 30),
    their_starts=(1,),
    idle_seconds=3,
    sources=(100, 1_000),
    their_sources=(30,),
    known=(1,),
    firsts=50,
    their_firsts=3,
    loads_meanwhile=(3_000,),
    throughput=(100,),
    throughput_rounds=2,
    throughput_seconds=1,
    simulated=(6,),
    real=(),
    instances=(2,),
    fleet_changes=5,
    fleet_idle_seconds=3,
    quiet=0.6,
)
SMALLEST = Scale(
    loads=(100,),
    their_loads=(),
    switches=(1,),
    installed=100,
    their_switches=(),
    their_installed=3,
    changes=5,
    their_changes=1,
    starts=(2,),
    their_starts=(),
    idle_seconds=1,
    sources=(10,),
    their_sources=(),
    known=(1,),
    their_known=(),
    firsts=3,
    loads_meanwhile=(300,),
    throughput=(1,),
    throughput_rounds=1,
    throughput_seconds=1,
    their_macs=0,
    simulated=(2,),
    real=(1,),
    instances=(2,),
    fleet_changes=1,
    fleet_idle_seconds=1,
    quiet=0.3,
)
SCALES = {"full": FULL, "big": BIG, "quick": QUICK, "smallest": SMALLEST}


Jobs: TypeAlias = Iterator[Iterator[Point]]
"""What is done one after the other; that one fails is not the end of the others."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is asked for."""

    scale: Scale
    figures: frozenset[str]
    """The names of the wanted ones."""
    began: float = field(default_factory=time.monotonic)

    def wants(self, *figures: str) -> bool:
        """Whether any of these is wanted."""
        return not self.figures.isdisjoint(figures)

    def say(self, text: str) -> None:
        """Tell what is done now."""
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        print(f"[{minutes:2}:{seconds:02}] {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)
