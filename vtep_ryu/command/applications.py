"""The application as the command sees it: a control socket, on which it can be asked how it is."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ovs.jsonrpc
import ovs.stream

from vtep_ryu.command.databases import Databases
from vtep_ryu.command.steps import SOON, Steps
from vtep_ryu.drivers import jsonrpc
from vtep_ryu.drivers.unixctl import Caller
from vtep_ryu.show.commands import FORMAT, Question

ANSWER_SECONDS = 2.0
GONE = "the application has gone"
SOCKET = "vtep_ryu.*.ctl"
SERVICES = "vtep_ryu*"
"""The run directories of etc/vtep_ryu.service and etc/vtep_ryu@.service, beside Open vSwitch's."""


class Application:
    """A connection to an application's control socket."""

    def __init__(self, stream: Any, directory: Path) -> None:
        self.directory = directory
        self._connection = jsonrpc.Connection(stream)
        self._awaited: dict[int, Callable[[Any], None]] = {}
        self._callers: dict[int, Caller] = {}
        self.gone = False
        self.pid = 0

    @classmethod
    def at(cls, socket: Path) -> Application | None:
        """The application that listens there; None if none does, for a killed one leaves its socket behind."""
        error, stream = ovs.stream.Stream.open(f"unix:{socket}")
        return None if error else cls(stream, socket.parent)

    def status(self) -> Steps[dict[str, Any] | None]:
        """Its answer to vtep/status; None if there is none."""
        answers: list[str] = []
        asked = self._send("vtep/status")
        self._awaited[asked] = lambda reply: answers.append(reply.result)
        deadline = time.monotonic() + ANSWER_SECONDS
        while not answers:
            if self.gone or time.monotonic() > deadline:
                self._awaited.pop(asked, None)
                return None
            yield SOON
            self.run()
        status: dict[str, Any] = json.loads(answers[0])
        self.pid = status["pid"]
        return status

    def pass_on(self, caller: Caller, question: Question) -> None:
        """Have the application answer a question that this program was asked."""
        as_json = (FORMAT, "json") if question.as_json else ()
        asked = self._send(question.command, *question.arguments, *as_json)
        self._callers[asked] = caller
        self._awaited[asked] = lambda reply: _give(self._callers.pop(asked), reply)

    def set_log_level(self, level: str) -> None:
        """Have it log what is at least this severe."""
        self._send("vtep/log-level", level)

    def run(self) -> None:
        """Take in what it answers, or that it has gone."""
        while not self.gone:
            self._connection.run()
            error, reply = self._connection.recv()
            if error == errno.EAGAIN:
                return
            if error:
                self.close()
            elif reply is not None and reply.id in self._awaited:
                self._awaited.pop(reply.id)(reply)

    def wait(self, poller: Any) -> None:
        """Have the poller wake up when it has."""
        if not self.gone:
            self._connection.wait(poller)
            self._connection.recv_wait(poller)

    def close(self) -> None:
        """Hang up, unless it has."""
        if not self.gone:
            self._connection.close()
            self.gone = True
            for caller in self._callers.values():
                caller.refuse(GONE)

    def _send(self, command: str, *arguments: str) -> int:
        """Send a command; its answer will have this number."""
        request = ovs.jsonrpc.Message.create_request(command, list(arguments))
        self._connection.send(request)
        number: int = request.id
        return number


def _give(caller: Caller, reply: Any) -> None:
    if reply.error is None:
        caller.answer(reply.result)
    else:
        caller.refuse(reply.error)


def find(directory: Path, databases: Databases) -> Steps[Application | None]:
    """An application with this run directory that follows these databases, if one runs."""
    return (yield from _first(directory.glob(SOCKET), databases))


def find_any(directory: Path, databases: Databases, silent: list[str] | None = None) -> Steps[Application | None]:
    """The same, or the one of a service, if one runs. Names of sockets without an answer go into silent."""
    application = yield from _first(directory.glob(SOCKET), databases, silent)
    return application or (yield from _first(directory.parent.glob(f"{SERVICES}/{SOCKET}"), databases, silent))


def how_to_end(application: Application, directory: Path) -> str:
    """The command that ends an application that find_any() has found."""
    if application.directory == directory:
        return "ovs-appctl -t vtep-ryu exit"
    return f"systemctl stop {application.directory.name.replace('-', '@', 1)}"


def _first(sockets: Iterable[Path], databases: Databases, silent: list[str] | None = None) -> Steps[Application | None]:
    for socket in sorted(sockets):
        application = Application.at(socket)
        if application is not None:
            status = yield from application.status()
            if status is None and silent is not None:
                silent.append(socket.name)
            if status and databases.same(status):
                return application
            application.close()
    return None
