"""Ends the program when a thread of it hangs: whoever supervises it starts it again, and a restart loses nothing.

A thread as well, which shares nothing with the others but their pulses. It does not log: what a thread that hangs waits
for may be a lock of the log's.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eventlet import patcher

_os = patcher.original("os")
_threading = patcher.original("threading")
_time = patcher.original("time")

STDERR = 2
TICKS = 4


@dataclass(slots=True)
class Pulse:
    """A thread's signs of life: it counts its turns, and takes one soon when it is woken. None: it was not started."""

    name: str
    wake: Callable[[], None] = lambda: None
    turns: int = 0


class Watchdog:
    """Looks after some threads; one that takes no turn within so many seconds hangs."""

    def __init__(self, pulses: Iterable[Pulse], seconds: float) -> None:
        self._pulses = tuple(pulses)
        self._seconds = seconds

    def start(self) -> None:
        """Start the thread. It ends with the process."""
        _threading.Thread(target=self._main, name="watchdog", daemon=True).start()

    def _main(self) -> None:
        seen, missed = {pulse.name: 0 for pulse in self._pulses}, {pulse.name: 0 for pulse in self._pulses}
        while True:
            # Counted in ticks, not by the clock: a process that is stopped for a while does not hang.
            _time.sleep(self._seconds / TICKS)
            for pulse in self._pulses:
                hangs = pulse.turns and pulse.turns == seen[pulse.name]
                missed[pulse.name] = missed[pulse.name] + 1 if hangs else 0
                if missed[pulse.name] == TICKS:
                    self._end(pulse.name)
                seen[pulse.name] = pulse.turns
                pulse.wake()

    def _end(self, name: str) -> None:
        stamp = _time.strftime("%Y-%m-%dT%H:%M:%S.000Z", _time.gmtime())
        message = f"{stamp} CRITICAL the thread {name} hangs since {self._seconds:g} s; ending the program\n"
        _os.write(STDERR, message.encode())
        faulthandler.dump_traceback(STDERR)
        _os._exit(1)
