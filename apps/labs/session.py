"""A lab: its network, and its page, which is followed by the reader at a Mininet prompt or, with --test, by itself."""

import argparse
import contextlib
import re
import sys
import textwrap
import time
from abc import ABC, abstractmethod
from pathlib import Path

from mininet.cli import CLI
from mininet.log import setLogLevel
from mininet.net import Mininet

from apps.labs.machine import Host, Machine
from apps.labs.page import Step, steps

DOCS = Path(__file__).parents[2] / "docs"
PATIENCE = 15
"""Seconds that a command's output may take to become what the page shows: it is given again until then."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")


class NotAsShown(Exception):
    """A command did not do what its page shows; the text says what it did."""


class Lab(ABC):
    """A network of machines, and the page that tells what to do there."""

    page: str
    """The page's name in docs/."""
    default: str = ""
    """The machine that the commands after a bare "$" are for."""

    def __init__(self) -> None:
        Mininet.inited = True  # Its set-up raises limits of the whole machine, which these labs do not need.
        self.net = Mininet(controller=None, build=False)
        self.build()
        self.net.start()
        self.configure()
        self._steps = steps(DOCS / self.page)
        self._section = ""

    @abstractmethod
    def build(self) -> None:
        """Add machines, hosts and links to the network."""

    @abstractmethod
    def configure(self) -> None:
        """Set up what the page expects to be there, once all links are."""

    def machine(self, name: str) -> Machine:
        """Add a machine with an Open vSwitch of its own; its links have the addresses."""
        return self.net.addHost(name, cls=Machine, ip=None)

    def host(self, name: str, ip: str, mac: str) -> Host:
        """Add a host with one interface, eth0."""
        return self.net.addHost(name, cls=Host, ip=ip, mac=mac)

    # Following the page.

    def run(self, step: Step) -> None:
        """Do one step of the page and print it as it looks at the prompt.

        Raises NotAsShown when it fails or, with some patience, does not print what the page shows.
        """
        if step.section != self._section:
            self._section = step.section
            print(f"\n{step.section}\n{'=' * len(step.section)}", flush=True)
        print(f"{step.prompt}{step.command}", flush=True)
        deadline = time.monotonic() + PATIENCE
        while True:
            status, output = self._do(step)
            right = step.shown_by(output) and (step.output or not status)
            if right or not step.output or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        print(output, end="", flush=True)
        if not right:
            shown = textwrap.indent(step.output or "(nothing)\n", "    ")
            raise NotAsShown(f"exit status {status}; {self.page}, section {step.section!r}, shows:\n{shown}")

    def _do(self, step: Step) -> tuple[int, str]:
        name, line = step.command.split(" ", 1) if step.prompt.startswith("mininet") else (self.default, step.command)
        status, output = self.net[name].attempt(line)
        return status, _COLOUR.sub("", output)

    def test(self) -> None:
        """Follow the whole page."""
        while self._steps:
            self.next()

    def next(self) -> None:
        """Do the next step of the page."""
        if not self._steps:
            print(f"docs/{self.page} ends here")
            return
        step = self._steps.pop(0)
        self.run(step)


class Prompt(CLI):
    """Mininet's prompt, which can also follow the page."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        print(f"\nFollow docs/{lab.page} here, or have its steps done one by one with: next\n", flush=True)
        super().__init__(lab.net)

    def do_next(self, line: str) -> None:
        """Do the next step of the page."""
        try:
            self._lab.next()
        except NotAsShown as error:
            print(f"*** Not as the page shows: {error}", flush=True)


def main(lab: type[Lab]) -> int:
    """Run a lab from the command line; the exit status."""
    parser = argparse.ArgumentParser(prog=lab.__module__, description=lab.__doc__)
    parser.add_argument("--test", action="store_true", help="follow the page and end; status 0 if all was as it shows")
    arguments = parser.parse_args()
    setLogLevel("warning" if arguments.test else "info")
    try:
        running = lab()
        with contextlib.ExitStack() as stack:
            stack.callback(running.net.stop)
            if not arguments.test:
                Prompt(running)
                return 0
            done = len(running._steps)
            running.test()
            print(f"\n{done} steps, all as docs/{running.page} shows them")
            return 0
    except NotAsShown as error:
        print(f"\nFAILED: {error}", flush=True)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything is removed", flush=True)
        return 130
    finally:
        sys.stdout.flush()
