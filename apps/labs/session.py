"""A lab: its network, and its page, which is followed by the reader at a Mininet prompt or, with --test, by itself."""

import argparse
import inspect
import os
import re
import textwrap
import time
from abc import ABC, abstractmethod
from pathlib import Path

from mininet.cli import CLI
from mininet.log import setLogLevel
from mininet.net import Mininet

from apps.labs.captures import Captures
from apps.labs.machine import CommandFailed, Host, Machine
from apps.labs.page import MININET, Step, steps, title

DOCS = Path(__file__).parents[2] / "docs"
PATIENCE = 15
"""Seconds that a command's output may take to become what the page shows: it is given again until then."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")
_WAITING = re.compile(r"^.*\| vtep-ryu \| WARN \| .*; waiting for it\s*\n", re.MULTILINE)
"""What ``vtep-ryu`` says at a terminal where it takes long to start, as on a busy machine: no page shows it."""


class NotAsShown(Exception):
    """A command did not do what its page shows; the text says what it did."""


class Lab(ABC):
    """A network of machines, and the page that tells what to do there.

    It takes nothing down: what it starts ends with the machine that apps/isolate gives it.
    """

    page: str
    """The page's name in docs/."""
    default: str = ""
    """The machine that the commands after a bare "$" are for."""

    def __init__(self, pcap: Path | None = None) -> None:
        """Build it, and have what is on its links captured in a directory if there is one."""
        self.steps = steps(DOCS / self.page)
        self._section = ""
        self._underlay_ports: list[str] = []
        Mininet.inited = True  # Its set-up raises limits of the whole machine, which these labs do not need.
        self.net = Mininet(controller=None, build=False)
        self.build()
        for name, line in map(self._target, self.steps):
            if name not in self.net:
                raise ValueError(f"docs/{self.page}: {line!r} is for {name!r}, which is no machine of this lab")
        self.net.start()
        self.captures = Captures(self.net, pcap) if pcap else None
        if self._underlay_ports:
            self.net["underlay"].make_bridge(*self._underlay_ports)
        self.configure()

    @abstractmethod
    def build(self) -> None:
        """Add machines, hosts and links to the network."""

    @abstractmethod
    def configure(self) -> None:
        """Set up what the page expects to be there, once all links are."""

    def machine(self, name: str, kind: type[Machine] = Machine) -> Machine:
        """Add a machine with an Open vSwitch of its own; its links have the addresses."""
        return self.net.addHost(name, cls=kind, ip=None)

    def connect_underlay(self, *hosts: Host) -> None:
        """Add the network between some machines, on which each has its eth0."""
        underlay = self.net.addHost("underlay", cls=Host, ip=None)
        self._underlay_ports = [f"p{number}" for number, _ in enumerate(hosts, start=1)]
        for number, (host, port) in enumerate(zip(hosts, self._underlay_ports, strict=True), start=1):
            self.net.addLink(host, underlay, intfName1="eth0", intfName2=port, addr1=f"02:00:0a:02:02:{number:02x}")

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
            print(f"\n{step.section}\n{'=' * len(step.section)}\n", flush=True)
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
            raise NotAsShown(
                f"this is not what docs/{self.page}, section {step.section!r}, shows\n"
                f"the command:\n{_indented(step.command)}"
                f"the page shows:\n{_indented(step.output)}"
                f"what came, with exit status {status}:\n{_indented(output)}"
            )

    def _do(self, step: Step) -> tuple[int, str]:
        name, line = self._target(step)
        status, output = self.net[name].attempt(line)
        return status, _WAITING.sub("", _COLOUR.sub("", output))

    def _target(self, step: Step) -> tuple[str, str]:
        """The name of the machine that a step is for, and what it is to do."""
        if step.prompt == MININET:
            name, _, line = step.command.partition(" ")
            return name, line
        return self.default, step.command

    def test(self) -> None:
        """Follow the whole page."""
        while self.steps:
            self.next()

    def next(self) -> None:
        """Do the next step of the page."""
        if not self.steps:
            print(f"docs/{self.page} ends here.")
            return
        self.run(self.steps.pop(0))


class Prompt(CLI):
    """Mininet's prompt, which can also follow the page."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        super().__init__(lab.net)

    def precmd(self, line: str) -> str:
        """Let a command go on after a backslash, as it may on the page. Comments are the shell's business."""
        while line.endswith("\\"):
            line = line.removesuffix("\\") + input("> ").strip()
        return line

    def do_next(self, _line: str) -> None:
        """Type the next command of the page."""
        try:
            self._lab.next()
        except (NotAsShown, CommandFailed) as error:
            print(f"*** {error}", flush=True)

    def default(self, line: str) -> None:
        """What is no command of Mininet's and names no machine is for the machine that bare commands are for."""
        is_for_a_machine = line.split(" ")[0] in self._lab.net
        super().default(line if is_for_a_machine or not self._lab.default else f"{self._lab.default} {line}")

    def waitForNode(self, node: Host) -> None:  # noqa: N802
        """Wait until a command has ended. What is typed or pasted meanwhile is for the prompt, not for the command."""
        while node.waiting:
            try:
                print(node.monitor(), end="", flush=True)
            except KeyboardInterrupt:
                node.sendInt()


def main(lab: type[Lab]) -> int:
    """Run a lab from the command line; the exit status."""
    target = "lab-" + Path(lab.page).stem.removeprefix("lab-")
    parser = argparse.ArgumentParser(
        prog=target,
        description=lab.__doc__,
        epilog=f"for example: make {target}; make {target} ARGS='--test --pcap /tmp/links'",
    )
    parser.add_argument("--test", action="store_true", help="follow the page and end; status 0 if all was as it shows")
    parser.add_argument("--pcap", type=Path, metavar="DIRECTORY", help="capture every link, in a file there")
    arguments = parser.parse_args()
    if "VTEP_LAB_DIR" not in os.environ:
        parser.error("run this under apps/isolate, which removes everything in the end")
    if arguments.pcap:
        try:
            arguments.pcap.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"--pcap {arguments.pcap}: {error.strerror}")
    setLogLevel("output")
    began = time.monotonic()
    running = None
    try:
        running = lab(arguments.pcap)
        count = len(running.steps)
        print(f"{title(DOCS / lab.page)}\n\n{inspect.cleandoc(lab.__doc__ or '')}")
        if arguments.test:
            running.test()
            print(f"\n{count} steps, all as docs/{lab.page} shows them, in {time.monotonic() - began:.0f} s.")
        else:
            print(
                f"\nThe page to follow is docs/{lab.page}; what it has after a prompt is typed here.\n"
                '"next" types the next of its commands, "exit" ends the lab.\n',
                flush=True,
            )
            Prompt(running)
    except (NotAsShown, CommandFailed) as error:
        print(f"\nFAILED: {error}", flush=True)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything is removed", flush=True)
        return 130
    finally:
        if running and running.captures:
            running.captures.close()
    return 0


def _indented(text: str) -> str:
    return textwrap.indent(text.rstrip("\n") or "(nothing)", "    ") + "\n"
