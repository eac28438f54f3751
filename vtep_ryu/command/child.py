"""The application as this process's child: it does not outlive it, and its log goes where the command's own goes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import ovs.poller
import ovs.vlog

from vtep_ryu.command.log_lines import LogLines

LOG = ovs.vlog.Vlog("vtep_ryu")
"""What the application logs."""

HOST = "127.0.0.1"
END_SECONDS = 0.5
READ_BYTES = 65536
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def log_level() -> str:
    """The least severe level that goes anywhere, as the application's option has it."""
    enabled = {"debug": LOG.dbg_is_enabled, "info": LOG.info_is_enabled, "warning": LOG.warn_is_enabled}
    return next((level for level, is_enabled in enabled.items() if is_enabled()), "error")


class Child:
    """An application that listens for switches on a port of 127.0.0.1."""

    def __init__(self, port: int, arguments: Sequence[str]) -> None:
        self.port = port
        self.log_level = log_level()
        self._lines = LogLines()
        command = (
            *(sys.executable, "-P", "-m", "ryu.cmd.manager", "vtep_ryu.apps.vtep", "--default-log-level=30"),
            *(f"--ofp-listen-host={HOST}", f"--vtep-log-level={self.log_level}"),
            *(f"--ofp-tcp-listen-port={port}", f"--ofp-ssl-listen-port={port}"),
        )
        self._process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )
        assert self._process.stdout
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def killed(self) -> bool:
        """Whether it was a signal that ended it."""
        return self._process.returncode is not None and self._process.returncode < 0

    def run(self) -> None:
        """Log what it has logged."""
        try:
            while data := os.read(self._pipe, READ_BYTES):
                self._relay(data)
        except BlockingIOError:
            return
        self._relay(b"")

    def wait(self, poller: Any) -> None:
        """Have the poller wake up when it logs or ends."""
        poller.fd_wait(self._pipe, ovs.poller.POLLIN)

    def stop(self) -> None:
        """End it, if it runs; it has some time to remove its socket."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def describe_end(self) -> str:
        """How it has ended, with the last line that it wrote where that may say why."""
        status = self._process.returncode
        if self.killed:
            return f"the application (process {self.pid}) was killed by {signal.Signals(-status).name}"
        return f"the application (process {self.pid}) ended with exit status {status}: {self._lines.last}"

    def _relay(self, data: bytes) -> None:
        for level, message in self._lines.feed(data):
            getattr(LOG, level)(message)


def _die_with(parent: int) -> Any:
    """What the child does first: have the kernel kill it with its parent, even one that is killed itself."""

    def in_child() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return in_child
