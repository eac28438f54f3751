"""How fast counters grow, as coverage/show of Open vSwitch's daemons tells it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TypeAlias

INTERVAL = 5.0
"""Seconds between two samples."""

WINDOWS = {"5s": 5.0, "1m": 60.0, "1h": 3600.0}
_MINUTE = 60.0

Name: TypeAlias = tuple[str, str]
"""A physical switch and a counter of it."""

Totals: TypeAlias = Mapping[Name, int]


class Coverage:
    """Samples of counters: those of the last minute, and of the last hour one for each minute. Times are in seconds."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, Totals]] = deque()
        self._minutes: deque[tuple[float, Totals]] = deque()

    def sample(self, now: float, totals: Totals) -> None:
        """Take in what the counters are."""
        self._recent.append((now, totals))
        if not self._minutes or now - self._minutes[-1][0] >= _MINUTE:
            self._minutes.append((now, totals))
        for samples, window in ((self._recent, WINDOWS["1m"]), (self._minutes, WINDOWS["1h"])):
            while now - samples[0][0] > window + INTERVAL:
                samples.popleft()

    def rates(self, now: float, name: Name, total: int) -> dict[str, float]:
        """By how much a second a counter has grown within each window; what began later was 0 before."""
        return {window: self._rate(now, name, total, seconds) for window, seconds in WINDOWS.items()}

    def _rate(self, now: float, name: Name, total: int, seconds: float) -> float:
        samples = self._minutes if seconds > WINDOWS["1m"] else self._recent
        before = next((totals for time, totals in samples if now - time <= seconds + INTERVAL / 2), None)
        return 0.0 if before is None else (total - before.get(name, 0)) / seconds
