"""Serves one bridge: has an application run, points the bridge at it, and begins anew when that has gone."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import ovs.daemon
import ovs.fatal_signal
import ovs.poller
import ovs.unixctl
import ovs.util
import ovs.vlog

from vtep_ryu import listening
from vtep_ryu.command import applications, bridge, emulator
from vtep_ryu.command.applications import Application
from vtep_ryu.command.bridge import Failure
from vtep_ryu.command.child import HOST, Child, log_level
from vtep_ryu.command.databases import Databases, NoAnswer
from vtep_ryu.command.steps import QUIET_SECONDS, SOON, Steps
from vtep_ryu.drivers import unixctl
from vtep_ryu.drivers.unixctl import Caller
from vtep_ryu.show.commands import Question, Unanswerable

LOG = ovs.vlog.Vlog(ovs.util.PROGRAM_NAME)

RETRY_SECONDS = 0.5
RESTART_SECONDS = 10.0
"""Between two starts of an application that ends by itself; the first comes at once. As ovs.daemon's monitor does."""

PATIENCE_SECONDS = 10.0
"""Until it is logged what has not happened; for somebody at a terminal that is long."""

NEVER = 3600.0
NOT_OURS = (6633, 6640)
"""Ports that an NVC or the databases may want: OpenFlow's old one, which some documents use for OVSDB, and OVSDB's."""


class Supervisor:
    """Runs until it is told to exit, by ovs-appctl or by a signal; then the bridge stays as it is."""

    def __init__(self, name: str, databases: Databases, directory: Path, arguments: Sequence[str], server: Any) -> None:
        self._name = name
        self._databases = databases
        self._directory = directory
        self._arguments = arguments
        self._server = server
        self._child: Child | None = None
        self._application: Application | None = None
        self._next_start = 0.0
        self._completed = False
        self._said = ""
        self._exiting = False
        self._starter = os.getppid()
        ovs.unixctl.command_register("exit", "", 0, 0, self._exit, None)
        unixctl.register(self._ask)
        unixctl.take_format()
        ovs.fatal_signal.add_hook(self._stop_child, None, True)

    def run(self) -> None:
        """Serve until told to exit.

        Raises Failure where that cannot begin.
        """
        steps = self._serve()
        wake = 0.0
        while True:
            self._server.run()
            if self._exiting:
                break
            if self._abandoned():
                LOG.warn(f"{self._name}: who waited for it to be served has gone; exiting")
                break
            self._look_after()
            if time.monotonic() >= wake or (self._application is not None and self._application.gone):
                wake = time.monotonic() + next(steps)
            self._wait(wake)
        self._stop_child()

    def _abandoned(self) -> bool:
        """Whether the process that --detach has in the foreground was ended, by Ctrl-C say, before this start was."""
        return ovs.daemon.get_detach() and not self._completed and os.getppid() != self._starter

    def _exit(self, connection: Any, *_: Any) -> None:
        connection.reply(None)
        self._exiting = True

    def _ask(self, caller: Caller, question: Question) -> None:
        """The application knows; it may be another command's that was joined."""
        if self._application is None or self._application.gone:
            raise Unanswerable("no application is running")
        self._application.pass_on(caller, question)

    def _look_after(self) -> None:
        """What is to be done whatever the steps are at."""
        if self._application is not None:
            self._application.run()
        if self._child is not None:
            self._child.run()
            if self._application is not None and self._child.log_level != log_level():
                self._child.log_level = log_level()
                self._application.set_log_level(self._child.log_level)

    def _wait(self, wake: float) -> None:
        poller = ovs.poller.Poller()
        poller.timer_wait(max(0, int(1000 * (wake - time.monotonic()))) + 1)
        unixctl.wait(self._server, poller)
        for each in (self._child, self._application):
            if each is not None:
                each.wait(poller)
        poller.block()

    def _stop_child(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child.run()

    def _say(self, message: str) -> None:
        """Log what is in the way, once for as long as it is; on stderr too while that is a terminal."""
        if message != self._said:
            self._said = message
            LOG.warn(message)

    # The steps.

    def _serve(self) -> Steps[None]:
        while True:
            yield from self._await_rows()
            application = self._application = yield from self._join_or_start()
            if (yield from self._take(application)) and (yield from self._await_served(application)):
                if not self._completed:
                    self._completed = True
                    ovs.daemon.daemonize_complete()
                while not application.gone:
                    yield NEVER
            yield from self._bury(application)

    def _await_rows(self) -> Steps[None]:
        """Wait for the databases, and see that the bridge and its row are there."""
        while True:
            try:
                yield from bridge.look_up(self._databases, self._name)
                yield from bridge.check_row(self._databases, self._name)
                yield from emulator.refuse_while_running(self._name, self._directory)
                return
            except NoAnswer as error:
                self._say(f"{error}; waiting for it")
                yield RETRY_SECONDS

    def _join_or_start(self) -> Steps[Application]:
        """The application that follows the databases; of several that find none at once, one starts it."""
        lock = os.open(self._directory / "vtep_ryu.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _locked(lock):
                yield SOON
            application = yield from applications.find(self._directory, self._databases)
            if application is None:
                return (yield from self._start())
            LOG.info(f"{self._name}: joins the application that runs (process {application.pid})")
            if self._arguments:
                LOG.warn(f"which was started without {' '.join(self._arguments)}")
            return application
        finally:
            os.close(lock)

    def _start(self) -> Steps[Application]:
        while True:
            child = self._child = Child(_choose_port((yield from self._targets())), self._arguments)
            LOG.info(f"application started on port {child.port} (process {child.pid})")
            application = yield from self._await_listening(child)
            if application is not None:
                return application
            child.run()
            self._child = None
            if listening.obstacle(HOST, child.port) == errno.EADDRINUSE:
                LOG.warn(f"port {child.port} was taken meanwhile")
                continue
            if not self._completed and not child.killed:
                raise Failure(child.describe_end())  # It would end like this again: an option, or how it is installed.
            LOG.err(f"{child.describe_end()}; starting it again in {RESTART_SECONDS:.0f} seconds")
            yield RESTART_SECONDS

    def _targets(self) -> Steps[Collection[str]]:
        """Where the bridge's controllers are."""
        try:
            return (yield from bridge.look_up(self._databases, self._name)).controllers
        except NoAnswer:
            return ()

    def _await_listening(self, child: Child) -> Steps[Application | None]:
        """Wait until a child listens; None where it ends instead."""
        patience = time.monotonic() + (QUIET_SECONDS if sys.stderr.isatty() else PATIENCE_SECONDS)
        application: Application | None = None
        while child.running:
            if time.monotonic() > patience:
                self._say(f"the application (process {child.pid}) does not say that it listens; waiting for it")
            if application is None or application.gone:
                application = Application.at(self._directory / f"vtep_ryu.{child.pid}.ctl")
            elif (status := (yield from application.status())) and status["listen"]:
                return application
            yield SOON
        return None

    def _take(self, application: Application) -> Steps[bool]:
        """Point the bridge at the application, if it is not yet; return whether it is.

        What ovs-vtep has left goes as late as can be: until then the bridge forwards by it.
        """
        while not application.gone:
            try:
                status = yield from application.status()
                if status and status["listen"]:
                    if left := (yield from emulator.remove(self._name, self._databases, self._directory)):
                        LOG.info(f"{self._name}: what ovs-vtep has left is removed: {left}")
                    target = bridge.target(status["listen"][0])
                    if (yield from bridge.point(self._databases, self._name, target)):
                        LOG.info(f"{self._name}: controller set to {target}")
                    return True
            except NoAnswer as error:
                self._say(f"{error}; waiting for it")
            yield RETRY_SECONDS
        return False

    def _await_served(self, application: Application) -> Steps[bool]:
        """Wait until the bridge's flows are in, or another instance has it; return whether that is so."""
        patience = time.monotonic() + (QUIET_SECONDS if sys.stderr.isatty() else PATIENCE_SECONDS)
        while not application.gone:
            status = yield from application.status()
            if status and self._name in status["bridges"]:
                LOG.info(f"{self._name}: served by process {application.pid}")
                self._said = ""
                return True
            if status and self._name in status["standby"]:
                LOG.info(f"{self._name}: served by another instance; process {application.pid} stands by")
                return True
            if time.monotonic() > patience:
                self._say(f"{self._name}: has not connected yet, is ovs-vswitchd running? Waiting for it")
            yield SOON
        return False

    def _bury(self, application: Application) -> Steps[None]:
        """The application has gone: say so, and do not start them too fast."""
        self._application = None
        if self._child is None:
            LOG.warn(f"{self._name}: the application that was joined (process {application.pid}) has gone")
            return
        self._stop_child()
        pause = max(0.0, self._next_start - time.monotonic())
        self._next_start = time.monotonic() + pause + RESTART_SECONDS
        LOG.err(f"{self._child.describe_end()}; starting it again" + (f" in {pause:.0f} seconds" if pause else ""))
        self._child = None
        yield pause


def _locked(lock: int) -> bool:
    """Take the lock, if nobody has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _choose_port(targets: Collection[str]) -> int:
    """The port that one of these controllers is expected on, if it is free, else any that is."""
    for each in targets:
        scheme, host, port = each.rsplit(":", 2) if each.count(":") == 2 else ("", "", "")
        if (
            scheme in ("tcp", "ssl")
            and host == HOST
            and int(port) not in NOT_OURS
            and not listening.obstacle(HOST, int(port))
        ):
            return int(port)
    while True:
        with socket.create_server((HOST, 0)) as free:
            number: int = free.getsockname()[1]
        if number not in NOT_OURS:
            return number
