"""Several instances of the program on one machine, which share its switches."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import vtep_ryu
from apps.lab import App, LabError, Node
from apps.lab.namespace import wait_until
from tests.system.relay import Relay
from tests.system.test_readme import blocks

PAGE = Path(__file__).parents[2] / "docs" / "instances.rst"
DATABASE = 6640
"""As the page has it."""

RELAYED_DATABASE = 6650
FIRST = 6660
RELAYED = 100
"""How far from an instance's port the one is by which switches reach it through a relay."""


class Version(App):
    """The application as another checkout has it, once there is one."""

    code: Path | None = None

    def command(self, *options: str) -> tuple[str, ...]:
        """Its command line, with that checkout found before all others."""
        return (*(("env", f"PYTHONPATH={self.code}") if self.code else ()), *super().command(*options))


def other_version(directory: Path, version: str) -> Path:
    """A checkout of the program, the same but for its version."""
    package = directory / "vtep_ryu"
    shutil.copytree(Path(vtep_ryu.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    file = package / "__init__.py"
    file.write_text(file.read_text().replace(f'"{vtep_ryu.__version__}"', f'"{version}"'))
    return directory


class Instance:
    """One of them: it reaches the hardware_vtep database, and the switches reach it, by relays that can hold or cut."""

    def __init__(self, node: Node, number: int) -> None:
        self.node = node
        self.number = number
        self.port = FIRST + number
        directory = node.directory / f"instance-{number}"
        directory.mkdir()
        self.app = Version(node, directory)
        self.switch = Relay.tcp(node, self.port + RELAYED, self.port)
        self.database = Relay.tcp(node, RELAYED_DATABASE + number, DATABASE)

    @property
    def target(self) -> str:
        """Where a switch finds it."""
        return f"tcp:127.0.0.1:{self.port + RELAYED}"

    def start(self, *options: str) -> None:
        """Start it; returns when switches can connect."""
        self.app.start(
            f"--ofp-tcp-listen-port={self.port}",
            f"--vtep-hardware-vtep-remotes=tcp:127.0.0.1:{RELAYED_DATABASE + self.number}",
            f"--vtep-open-vswitch-remotes=unix:{self.node.socket}",
            *options,
            port=self.port,
        )

    def ask(self, command: str) -> str:
        """What it answers on its control socket."""
        return self.node.appctl(str(self.node.directory / f"vtep_ryu.{self.app.process.pid}.ctl"), command)

    def status(self) -> dict[str, Any]:
        """What it tells of itself."""
        return dict(json.loads(self.ask("vtep/status")))

    def serves(self, *bridges: str) -> bool:
        """Whether it serves these bridges and no others; for waiting."""
        if not self.app.running:
            raise LabError(f"instance {self.number} has ended")
        return self.status()["bridges"] == sorted(bridges)

    def stands_by(self, *bridges: str) -> bool:
        """Whether it is connected to these, and they are not its own; for waiting."""
        return self.status()["standby"] == sorted(bridges)

    def wait(self, predicate: Any, timeout: float, what: str) -> Any:
        """As wait_until, with the end of its log when it takes too long."""
        return wait_until(predicate, timeout, f"instance {self.number} to {what}", self.app.tail)

    def wait_serves(self, *bridges: str, timeout: float = 20) -> None:
        """Wait until it serves these bridges and no others."""
        self.wait(lambda: self.serves(*bridges), timeout, f"serve {bridges}")

    def wait_stands_by(self, *bridges: str) -> None:
        """Wait until it is connected to these, and they are not its own."""
        self.wait(lambda: self.stands_by(*bridges), 20, f"stand by for {bridges}")


@contextmanager
def instances(node: Node, count: int, clustered: bool = False) -> Iterator[list[Instance]]:
    """So many, none of which runs; the database has a TCP port at which it notices a client that is silent.

    One that is on a cluster has not.
    """
    if not clustered:
        manager, *_ = blocks("From one to two", PAGE)
        node.run("sh", "-ec", "\n".join(manager))
    made = [Instance(node, number) for number in range(count)]
    try:
        for each in made:
            each.switch.__enter__()
            each.database.__enter__()
        yield made
    finally:
        for each in made:
            if each.app.running:
                each.app.kill()
            each.switch.__exit__()
            each.database.__exit__()
