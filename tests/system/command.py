"""``vtep-ryu`` on a machine of the lab."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from apps.lab import Lab, LabError, Node
from apps.lab.daemons import Daemon

PROGRAM = str(Path(sys.executable).parent / "vtep-ryu")
APPLICATION = "vtep_ryu.apps.vtep"
END_SECONDS = 3
"""In which what was told to end has; on a machine with nothing else to do it is less than one."""


class Command(Daemon):
    """One ``vtep-ryu``, under the name that its pidfile has."""

    def __init__(self, node: Node, name: str = "vtep-ryu") -> None:
        super().__init__(node, node.directory / f"{name}.pid")
        self.node = node
        self.name = name
        self.logfile = node.directory / f"{name}.log"

    def detach(self, *options: str, switch: str = "br0") -> None:
        """Start it in the background, with a pidfile and a log file; returns when it has come back."""
        names = (f"--pidfile={self.pidfile}", f"--log-file={self.logfile}")
        self.start(PROGRAM, *names, "--detach", *before_dashes(options), switch, *after_dashes(options))

    def exit(self) -> None:
        """End it as a user does, and wait until it has gone."""
        pid = self.pid
        assert pid
        self.appctl("exit")
        self.node.wait_until(lambda: not alive(pid), END_SECONDS, f"process {pid} to end")

    def appctl(self, *argv: str) -> str:
        """``ovs-appctl -t`` with its control socket."""
        return self.node.appctl(str(self.node.directory / f"vtep-ryu.{self.pid}.ctl"), *argv)

    def log(self) -> str:
        """Its log."""
        return self.logfile.read_text() if self.logfile.exists() else ""

    def wait_until(self, predicate: Callable[[], object], what: str, timeout: float = 20) -> None:
        """As Node.wait_until(), with its log when it takes too long."""
        try:
            self.node.wait_until(predicate, timeout, what)
        except LabError as error:
            raise LabError(f"{error}\n--- {self.logfile.name}:\n{self.log()}") from error

    def wait_log(self, text: str) -> None:
        """Wait until its log has this text."""
        self.wait_until(lambda: text in self.log(), f"{text!r} in the log")

    def wait_served(self, *bridges: str, without: int = 0) -> None:
        """Wait until these bridges are served by the only application, which is not the one named."""
        self.wait_until(
            lambda: served(self.node) == list(bridges) and the_application(self.node) != without,
            f"{' and '.join(bridges)} to be served",
        )


def before_dashes(options: tuple[str, ...]) -> tuple[str, ...]:
    """What of the options is the command's."""
    return options[: options.index("--")] if "--" in options else options


def after_dashes(options: tuple[str, ...]) -> tuple[str, ...]:
    """What of them is the application's, with the dashes."""
    return options[options.index("--") :] if "--" in options else ()


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def applications(node: Node) -> set[int]:
    """The process ids of the applications of a machine, whoever started them."""
    return _processes(node, lambda words: APPLICATION in words)


def commands(node: Node) -> set[int]:
    """Those of every vtep-ryu, by either name, and of its monitor."""
    return _processes(node, lambda words: any(Path(word).name in ("vtep-ryu", "ovs-vtep") for word in words[:2]))


def _processes(node: Node, wanted: Callable[[list[str]], bool]) -> set[int]:
    namespace = Path(node.path).stat().st_ino
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
            if wanted(words) and (process / "ns/net").stat().st_ino == namespace and alive(int(process.name)):
                found.add(int(process.name))
        except OSError:
            continue  # It has ended.
    return found


def the_application(node: Node) -> int:
    """The only application of a machine."""
    (pid,) = applications(node)
    return pid


def status(node: Node, pid: int | None = None) -> dict[str, Any]:
    """What an application says to vtep/status; the only one if none is named."""
    socket = node.directory / f"vtep_ryu.{pid or the_application(node)}.ctl"
    return dict(json.loads(node.appctl(str(socket), "vtep/status")))


def served(node: Node) -> list[str]:
    """The bridges that the only application serves; none while there is none."""
    try:
        return list(status(node)["bridges"])
    except (ValueError, LabError):
        return []


def outcome(node: Node, *argv: str, timeout: float = 30) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of ``vtep-ryu`` with these arguments."""
    process = node.popen(PROGRAM, *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate(timeout=timeout)
    return process.returncode, output, errors


def controllers(node: Node, bridge: str = "br0") -> dict[str, str]:
    """The targets of a bridge's controllers, each with the _uuid of its row: ovs-vswitchd writes to it too."""
    (row,) = node.transact(
        {"op": "select", "table": "Bridge", "where": [["name", "==", bridge]], "columns": ["controller"]},
        db="Open_vSwitch",
    )[0]["rows"]
    rows = node.transact(
        {"op": "select", "table": "Controller", "where": [], "columns": ["_uuid", "target"]},
        db="Open_vSwitch",
    )[0]["rows"]
    its = str(row["controller"])
    return {each["target"]: each["_uuid"][1] for each in rows if each["_uuid"][1] in its}


def kill_all(node: Node) -> None:
    """End whatever of ours runs on a machine, and remove what it left in the run directory."""
    if node.app.running:
        node.app.kill()
    for find in (commands, applications):
        for pid in find(node):
            os.kill(pid, signal.SIGKILL)
        node.wait_until(lambda find=find: not find(node), what="all to end")
    for pattern in ("vtep[_-]ryu.*", "ovs-vtep.*"):
        for left in node.directory.glob(pattern):
            left.unlink()


def two_ports(lab: Lab) -> Node:
    """A machine with a br0 of two ports whose Physical_Switch row is there."""
    made = lab.node("a", "10.2.2.1/24")
    made.add_port("p0")
    made.add_port("p1")
    made.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")
    return made


def nothing_else(machine: Node) -> Iterator[Node]:
    """The machine, with nothing of ours running before and after: to be yielded from in a fixture."""
    assert not applications(machine)
    yield machine
    kill_all(machine)
