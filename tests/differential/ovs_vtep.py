"""Open vSwitch's own ovs-vtep on a node: it runs when it is told to, one round of its loop at a time."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import apps.lab
from apps.lab import LabError, Node

WAITING = {"7", "23", "270", "271", "72", "73"}
"""The system calls select and poll in their variants, on x86-64 and on arm64."""


class OvsVtep(apps.lab.OvsVtep):
    """The emulator. It is stopped but for its rounds, so that what it sees does not depend on chance."""

    def __init__(self, node: Node) -> None:
        super().__init__(node, node.directory)
        self._node = node

    @property
    def process(self) -> int:
        """Its process; raises LabError with the end of its log when it has ended."""
        if not (pid := self.pid):
            raise LabError(f"ovs-vtep has ended\n{self.log()[-2000:]}")
        return pid

    def start(self, *options: str) -> None:
        """Start it, and stop it after its first round."""
        super().start(*options)
        self._pause()

    def round(self) -> None:
        """Have it look at the databases, and do all that follows."""
        with socket.socket(socket.AF_UNIX) as control:
            # It answers at the beginning of a round. A question that is there already starts one.
            control.settimeout(120)
            control.connect(str(self._node.directory / f"ovs-vtep.{self.process}.ctl"))
            control.sendall(json.dumps({"id": 0, "method": "version", "params": []}).encode())
            self.signal(signal.SIGCONT)
            control.recv(1000)
        self._pause()

    def _pause(self) -> None:
        self._node.wait_until(lambda: not self.pid or self._stopped(), 120, "ovs-vtep to end a round")
        assert self.process

    def _stopped(self) -> bool:
        """Stop it, if that is between two rounds: then it waits for the next one by select or poll, as nowhere else."""
        if self._has_child():
            return False
        os.kill(self.process, signal.SIGSTOP)
        while self._proc("stat").rpartition(")")[2].split()[0] not in "TZ":
            time.sleep(0.001)
        if self._proc("syscall").split()[0] in WAITING:
            return True
        os.kill(self.process, signal.SIGCONT)
        return False

    def _has_child(self) -> bool:
        return bool(self._proc(f"task/{self.process}/children"))

    def _proc(self, name: str) -> str:
        try:
            return Path(f"/proc/{self.process}/{name}").read_text()
        except OSError as error:
            raise LabError(f"ovs-vtep has ended: {error}") from error
