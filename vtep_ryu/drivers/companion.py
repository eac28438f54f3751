"""An operating system thread beside the Ryu process's green ones, for the work of an OVSDB client.

The IDL can be busy for seconds with a large update; in a green thread that would stall OpenFlow echoes. What crosses
the border are frozen values, in batches, through two deques; a pipe each way wakes the other side. ryu-manager has
patched threading, select and os with their green versions, so this module takes the originals. Nothing on the thread's
side may log: logging's locks are green, and waiting for one from another thread never ends. log() hands records over.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ovs.poller
from eventlet import hubs, patcher, sleep

from vtep_ryu.drivers.watchdog import Pulse

_os = patcher.original("os")
_threading = patcher.original("threading")
_time = patcher.original("time")
_select = patcher.original("select")

GIVE_WAY_SECONDS = 0.0005


class _Poll:
    """What the IDL polls with: it registers a descriptor once to read and once to write, and means both.

    poll() would keep the latter registration alone, and a large request would never be sent to its end. It blocks its
    own thread, as it may; eventlet's select would run a hub there, and sleep 100 ms where none is asked for.
    """

    def __init__(self) -> None:
        self._poll = _select.poll()
        self._events: dict[int, int] = {}

    def register(self, descriptor: Any, events: int) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        self._events[number] = self._events.get(number, 0) | events
        self._poll.register(number, self._events[number])

    def poll(self, timeout: int) -> Any:
        return self._poll.poll(timeout)


ovs.poller.SelectPoll = _Poll

Incoming = TypeVar("Incoming")
Outgoing = TypeVar("Outgoing")


@dataclass(frozen=True, slots=True)
class _Record:
    level: int
    message: str
    arguments: tuple[object, ...]


class _Pipe:
    """Wakes whoever waits for its read end."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self._write_end, False)

    def wake(self) -> None:
        try:
            _os.write(self._write_end, b"\0")
        except BlockingIOError:
            pass  # Full of wake-ups already.

    def drain(self) -> None:
        try:
            while _os.read(self.read_end, 4096):
                pass
        except BlockingIOError:
            pass


class Companion(ABC, Generic[Incoming, Outgoing]):
    """A thread that runs a subclass's loop() for ever. Values posted to it are taken there; values it hands over are
    delivered in a green thread here.

    An exception on the thread's side ends the program: deliver() raises it.
    """

    def __init__(self, name: str, logger: logging.Logger) -> None:
        self.name = name
        self._logger = logger
        self._inbox: deque[Incoming] = deque()
        self._outbox: deque[Outgoing | _Record | BaseException] = deque()
        self._left: deque[Iterator[Outgoing]] = deque()
        self._inward = _Pipe()
        self._outward = _Pipe()
        self.pulse = Pulse(name, self._inward.wake)

    # The main thread's side.

    def start(self) -> None:
        """Start the thread. It ends with the process."""
        _threading.Thread(target=self._main, name=self.name, daemon=True).start()

    def post(self, value: Incoming) -> None:
        """Give the thread a value."""
        self._inbox.append(value)
        self._inward.wake()

    def deliver(self, receive: Callable[[Outgoing], None]) -> None:
        """Call receive with each value the thread hands over; never returns. To be run in a green thread."""
        while True:
            hubs.trampoline(self._outward.read_end, read=True)
            self._outward.drain()
            while self._outbox:
                match value := self._outbox.popleft():
                    case _Record(level, message, arguments):
                        self._logger.log(level, message, *arguments)
                    case BaseException():
                        raise RuntimeError(f"the thread {self.name} has ended") from value
                    case _:
                        receive(value)
                        sleep(0)  # Others have their turn: of very many values each is work for some milliseconds.

    # The thread's side.

    @abstractmethod
    def loop(self) -> None:
        """One turn: do what there is to do, then wait for more with wait()."""

    def taken(self) -> list[Incoming]:
        """The values that were posted since the last call."""
        values = []
        while self._inbox:
            values.append(self._inbox.popleft())
        return values

    def hand_over(self, value: Outgoing) -> None:
        """Give the main thread a value, after all that was to be given before."""
        if self._left:
            self._left.append(iter((value,)))
        else:
            self._give(value)

    def hand_over_each(self, values: Iterable[Outgoing]) -> None:
        """Give it these, one a turn of loop(), and made only then: what is posted does not wait for all of them."""
        self._left.append(iter(values))

    def hand_over_rest(self, hasten: bool = False) -> None:
        """Give it all that is left; with hasten without standing back, where it has nothing else to do."""
        while self._left:
            if not hasten:
                self.give_way()
            self._hand_over_next()

    def _hand_over_next(self) -> None:
        while self._left:
            if (value := next(self._left[0], None)) is not None:
                self._give(value)
                return
            self._left.popleft()

    def _give(self, value: Outgoing) -> None:
        self._outbox.append(value)
        self._outward.wake()

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Have the main thread log this."""
        self._outbox.append(_Record(level, message, arguments))
        self._outward.wake()

    def wait(self, poller: Any) -> None:
        """Block until the poller's events, or until something is posted; not while there is more to hand over."""
        poller.fd_wait(self._inward.read_end, ovs.poller.POLLIN)
        if self._left:
            self._hand_over_next()
            self.give_way()
        if self._inbox or self._left:
            poller.immediate_wake()
        poller.block()
        self._inward.drain()

    @staticmethod
    def give_way() -> None:
        """Stand back for a moment from work that takes long: to be called again and again during it.

        Of two threads that compute, each loses the interpreter whenever it has waited for anything, and the main thread
        waits often. What it does in 20 ms alone took 200 ms beside one that has no pauses.
        """
        _time.sleep(GIVE_WAY_SECONDS)

    @staticmethod
    def monotonic() -> float:
        """Seconds, as time.monotonic() has them."""
        return float(_time.monotonic())

    def _main(self) -> None:
        try:
            while True:
                self.pulse.turns += 1
                self.loop()
        except BaseException as error:  # noqa: BLE001 - handed over, raised by deliver()
            self._outbox.append(error)
            self._outward.wake()
