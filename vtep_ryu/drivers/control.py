"""The control socket, ``$OVS_RUNDIR/vtep_ryu.PID.ctl``: ovs-appctl(8) asks the application there how it is.

A companion thread answers. It knows the status that was posted last, and says so though the main thread is busy. What
show/ makes of the program's state is for the main thread to say: such questions are handed over.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ovs.poller
import ovs.stream
import ovs.unixctl
import ovs.unixctl.server
from eventlet import patcher

from vtep_ryu import __version__
from vtep_ryu.core.counters import Counters
from vtep_ryu.drivers import unixctl
from vtep_ryu.drivers.companion import Companion
from vtep_ryu.drivers.ovsdb import Link
from vtep_ryu.drivers.unixctl import Caller
from vtep_ryu.options import LOG_LEVELS
from vtep_ryu.show.commands import Question, Unanswerable

LOG = logging.getLogger(__name__)

_socket = patcher.original("socket")

SOCKET_MODE = 0o700
BACKLOG = 64


OVS_LEVELS = {"off": "critical", "emer": "critical", "err": "error", "warn": "warning", "dbg": "debug"}
"""Open vSwitch's names for levels, where Python's are others."""


@dataclass(frozen=True, slots=True)
class Status:
    """What vtep/status tells, besides process id and version.

    listen: where switches can connect, nowhere at first; the remotes of the databases; the names of the bridges whose
    flows are in, of those that this instance owns and of those it stands by for; how the databases are reached now, by
    name; the counters of the physical switches by name, a second old at most.
    """

    listen: tuple[str, ...]
    hardware_vtep: tuple[str, ...]
    open_vswitch: tuple[str, ...]
    bridges: tuple[str, ...]
    owned: tuple[str, ...]
    standby: tuple[str, ...]
    databases: Mapping[str, Link]
    counters: Mapping[str, Counters]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is handed over, by the number that its Answer is to have."""

    number: int
    question: Question


@dataclass(frozen=True, slots=True)
class Answer:
    """What the main thread says to a question: text or JSON, or in one line why it cannot."""

    number: int
    text: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class LogLevel:
    """What the main thread is to log from now on, as Python's logging calls it."""

    level: str


@dataclass(frozen=True, slots=True)
class Stop:
    """This signal came: what others can serve is to be handed over, and then end(signal) called."""

    signal: int


class Control(Companion[Status | Answer, Asked | LogLevel | Stop]):
    """Answers on the control socket. The main thread posts a Status when it changes, and gets what is its to do.

    hands_over says that there is something to do before the end. A second signal is then not waited with.
    """

    def __init__(self, directory: str) -> None:
        super().__init__("control", LOG)
        self._path = Path(directory, f"vtep_ryu.{os.getpid()}.ctl")
        self._server: Any = None
        self._status: Status | None = None
        self._asking: dict[int, Caller] = {}
        self._last = 0
        self.hands_over = False
        self._stopping = False

    def start(self) -> None:
        """Listen and start the thread; where one cannot listen, say so and do without."""
        try:
            self._server = ovs.unixctl.server.UnixctlServer(self._listen())
        except OSError as error:
            LOG.warning("no control socket %s: %s", self._path, error.strerror or error)
            return
        self._remove_at_exit()
        self._register("version", "", 0, lambda _: f"vtep_ryu {__version__}")
        self._register("vtep/status", "", 0, lambda _: self._show_status())
        self._register("vtep/log-level", "LEVEL", 1, lambda argv: self._set_log_level(*argv))
        self._register("vlog/set", "[ANY:[ANY:]]LEVEL", 1, lambda argv: self._set_log_level(*argv))
        ovs.unixctl.command_register("exit", "", 0, 0, _exit, None)
        unixctl.register(self._ask)
        unixctl.register_format()
        unixctl.take_format()
        super().start()

    def loop(self) -> None:
        for value in self.taken():
            match value:
                case Status():
                    self._status = value
                case Answer(number, text, refused):
                    caller = self._asking.pop(number)
                    (caller.refuse if refused else caller.answer)(text)
        self._server.run()
        poller = ovs.poller.Poller()
        unixctl.wait(self._server, poller)
        self.wait(poller)

    # The commands.

    def _register(self, name: str, usage: str, arguments: int, answer: Callable[[Sequence[str]], str]) -> None:
        def callback(connection: Any, argv: Sequence[str], _: None) -> None:
            try:
                connection.reply(answer(argv))
            except Unanswerable as error:
                connection.reply_error(f"{error}\n")

        ovs.unixctl.command_register(name, usage, arguments, arguments, callback, None)

    def _show_status(self) -> str:
        assert self._status is not None
        return json.dumps(asdict(self._status) | {"pid": os.getpid(), "version": __version__}, indent=2)

    def _set_log_level(self, spec: str) -> str:
        """LEVEL may be Open vSwitch's name, after a module and a destination: here are one of each."""
        level = spec.rpartition(":")[2].lower()
        level = OVS_LEVELS.get(level, level)
        if level not in (*LOG_LEVELS, "critical"):
            raise Unanswerable(f"the level is '{spec}', must be one of {', '.join(LOG_LEVELS)}")
        self.hand_over(LogLevel(level.upper()))
        return ""

    def _ask(self, caller: Caller, question: Question) -> None:
        self._last += 1
        self._asking[self._last] = caller
        self.hand_over(Asked(self._last, question))

    # The socket. The ovs package would take over signals, and cannot from a thread.

    def _listen(self) -> Any:
        self._remove()
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            os.fchmod(listener.fileno(), SOCKET_MODE)
            # By this way to its directory a path may be longer than the 107 bytes of an address.
            directory = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                listener.bind(f"/proc/self/fd/{directory}/{self._path.name}")
            finally:
                os.close(directory)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        return ovs.stream.PassiveStream(listener, f"punix:{self._path}", None)

    def _remove_at_exit(self) -> None:
        atexit.register(self._remove)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: Any) -> None:
        if self.hands_over and not self._stopping:
            self._stopping = True
            self.hand_over(Stop(number))
        else:
            self.end(number)

    def end(self, number: int) -> None:
        """End by this signal, as without a handler.

        Python's own for SIGINT raises KeyboardInterrupt wherever the program is: only in some places Ryu heeds it.
        """
        self._remove()
        if number == signal.SIGINT:
            os._exit(0)  # What it is in Ryu; no green thread has anything to tidy up.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _remove(self) -> None:
        self._path.unlink(missing_ok=True)


def _exit(connection: Any, *_: Any) -> None:
    """End as by the signal, once the client has its answer."""
    connection.reply(None)
    os.kill(os.getpid(), signal.SIGTERM)
