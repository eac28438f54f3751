"""The programs of a machine: Open vSwitch's daemons and the VTEP application."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TypeVar

from apps.lab.namespace import LabError, Namespace, wait_until

T = TypeVar("T")

OPENFLOW_PORT = 6653
_TCP_LISTEN = "0A"


class Daemon:
    """A daemon that detaches and keeps a pidfile, as those of Open vSwitch do."""

    def __init__(self, owner: Namespace, pidfile: Path) -> None:
        self.owner = owner
        self.pidfile = pidfile

    @property
    def pid(self) -> int | None:
        """Its process id; None when it does not run."""
        try:
            pid = int(self.pidfile.read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def start(self, *argv: str) -> None:
        """Start it with this command line; returns once it is ready."""
        if self.pid:
            raise LabError(f"{argv[0]} runs already in {self.owner.name}")
        self.owner.run(*argv)

    def stop(self, how: int = signal.SIGTERM, timeout: float = 10) -> None:
        """Send it a signal and wait until it has gone; nothing to do when it does not run."""
        pid = self.pid
        if pid:
            os.kill(pid, how)
            wait_until(lambda: self.pid is None, timeout, f"{self.pidfile.stem} of {self.owner.name} to end")

    def kill(self) -> None:
        """Kill it, as kill -9 does."""
        self.stop(signal.SIGKILL)

    def signal(self, which: int) -> None:
        """Send it a signal (SIGSTOP, SIGCONT)."""
        if pid := self.pid:
            os.kill(pid, which)


class OvsVtep(Daemon):
    """Open vSwitch's own emulator of a VTEP, for a bridge."""

    SCRIPT = "/usr/share/openvswitch/scripts/ovs-vtep"

    def __init__(self, owner: Namespace, directory: Path, bridge: str = "br0") -> None:
        super().__init__(owner, directory / "ovs-vtep.pid")
        self.directory = directory
        self._bridge = bridge

    def start(self, *options: str) -> None:
        """Start it; it has not looked at the bridge yet. What is left of an earlier run it removes by itself."""
        common = ("--pidfile", "--detach", "--no-chdir", "--log-file", "-vconsole:off")
        super().start("/usr/bin/python3", self.SCRIPT, *common, *options, self._bridge)

    def log(self) -> str:
        """What it has written in all its runs."""
        return (self.directory / "ovs-vtep.log").read_text()


_STAMP = re.compile(r"^[0-9-]+T[0-9:.]+Z [A-Z]+ ", re.MULTILINE)


class App:
    """The VTEP application, `ryu-manager vtep_ryu.apps.vtep`; every start has a log file of its own."""

    def __init__(self, owner: Namespace, directory: Path) -> None:
        self.owner = owner
        self._directory = directory
        self._runs = count(1)
        self._process: subprocess.Popen[str] | None = None
        self.logfile = directory / "app.log"

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process of the last start, running or not."""
        if not self._process:
            raise LabError(f"the application was never started in {self.owner.name}")
        return self._process

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def command(self, *options: str) -> tuple[str, ...]:
        """Its command line, from the virtual environment that this runs in."""
        return (str(Path(sys.executable).parent / "ryu-manager"), "vtep_ryu.apps.vtep", *options)

    def start(self, *options: str, port: int | None = OPENFLOW_PORT, timeout: float = 20) -> None:
        """Start it, and wait until it listens on `port` (None: do not wait).

        Raises LabError with its log when it ends instead, or takes longer than `timeout` seconds.
        """
        if self.running:
            raise LabError(f"the application runs already in {self.owner.name}")
        self.logfile = self._directory / f"app-{next(self._runs)}.log"
        with self.logfile.open("w") as log:
            self._process = self.owner.popen(*self.command(*options), stdout=log, stderr=subprocess.STDOUT)
        if port is not None:
            self._wait(lambda: self.listens(port), timeout, f"the application to listen on {port}")

    def listens(self, port: int) -> bool:
        """Whether something listens on a TCP port of its namespace, on IPv4."""
        try:
            lines = Path(f"/proc/{self.process.pid}/net/tcp").read_text().splitlines()[1:]
        except OSError:
            return False  # It has ended: what is left of it has no namespace.
        return any(fields[1].endswith(f":{port:04X}") and fields[3] == _TCP_LISTEN for fields in map(str.split, lines))

    def stop(self, how: int = signal.SIGTERM, timeout: float = 10) -> int:
        """Send it a signal, wait until it has gone, and return its exit status; it may have gone before."""
        if self.running:
            self.process.send_signal(how)
        return self.wait(timeout)

    def kill(self) -> None:
        """Kill it, as kill -9 does."""
        self.stop(signal.SIGKILL)

    def wait(self, timeout: float = 10) -> int:
        """Wait until it has ended and return its exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            text = f"the application of {self.owner.name} did not end in {timeout:g} s\n{self.tail()}"
            raise LabError(text) from error

    def log(self) -> str:
        """What it has written since it was last started, without the time and the level in front of each line."""
        return _STAMP.sub("", self.logfile.read_text()) if self.logfile.exists() else ""

    def tail(self, lines: int = 30) -> str:
        """The last lines of the log, under a heading; empty when it was never started."""
        if not self._process:
            return ""
        return "\n".join([f"--- log of {self.owner.name}:", *self.log().splitlines()[-lines:]])

    def wait_log(self, pattern: str, timeout: float = 10) -> re.Match[str]:
        """Wait until the log of this run has a match of `pattern` (lines are matched one by one by ^ and $)."""
        return self._wait(lambda: re.search(pattern, self.log(), re.MULTILINE), timeout, f"{pattern!r} in the log")

    def memory(self) -> int:
        """Its resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def _wait(self, predicate: Callable[[], T | None], timeout: float, what: str) -> T:
        """As `wait_until`, but the end of the process ends the wait."""
        wait_until(lambda: predicate() or not self.running, timeout, what, self.tail)
        result = predicate()
        if not result:
            raise LabError(f"exit status {self.process.returncode} while waiting for {what}\n{self.tail()}")
        return result
