"""The labs in Mininet, as make runs them: following their pages, at the prompt, and when something is wrong."""

import os
import pty
import re
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.lab import run, wait_until
from apps.labs.page import steps

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "lab-hands-on": "lab-hands-on.rst",
    "lab-how-to": "how-to.rst",
    "lab-fabric": "lab-fabric.rst",
    "lab-failover": "lab-failover.rst",
    "lab-ovn": "lab-ovn.rst",
}
TUNNELS = {
    "lab-hands-on": {"hv1-hv2"},
    "lab-how-to": {"host-tunnels"},
    "lab-fabric": {f"leaf{number}-underlay" for number in range(1, 5)},
    "lab-failover": {"vtep1-underlay", "vtep2-underlay", "sn1-underlay", "sn2-underlay"},
    "lab-ovn": {"hv-underlay", "switch-underlay"},
}
"""Links of each lab on which there are tunnels."""

PYTHON = ("apps/isolate", "/usr/bin/python3")
HEAD = "Wrong\n=====\n\n.. code-block:: console\n\n    mininet> "
WRONG = """
import sys
from pathlib import Path
from apps.labs import session
from apps.labs.hands_on import HandsOn

class Wrong(HandsOn):
    {configure}

session.DOCS, session.PATIENCE = Path({docs!r}), 1
sys.exit(session.main(Wrong))
"""


def recipe(target: str, arguments: str = "") -> str:
    """The command by which make runs a lab, for a shell to become it."""
    argv = ["make", "--no-print-directory", "--dry-run", target, f"ARGS={arguments}"]
    made = subprocess.run(argv, capture_output=True, text=True, check=True)
    return f"exec env {made.stdout.splitlines()[-1]}"


def outcome(*argv: str) -> tuple[int, str]:
    """A command's exit status and all that it prints."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def outcome_of_wrong(page: Path, text: str, configure: str = "pass") -> tuple[int, str]:
    """What comes of a lab with another page, and perhaps another set-up, when it follows that page."""
    (page / "lab-hands-on.rst").write_text(text)
    return outcome(*PYTHON, "-c", WRONG.format(docs=os.fspath(page), configure=configure), "--test")


class Mark:
    """Something in the environment by which the processes of a lab are found."""

    def __init__(self) -> None:
        self._value = str(uuid.uuid4())
        self.environment = os.environ | {"LABS_TEST": self._value}

    def processes(self) -> list[str]:
        """The command lines of everything that has it."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if self._value.encode() in (directory / "environ").read_bytes():
                    found.append((directory / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    def wait_until_gone(self) -> None:
        """Wait until nothing has it any more."""
        wait_until(lambda: not self.processes(), 5, "all processes to go", lambda: "\n".join(self.processes()))


class Terminal:
    """A lab at a terminal of its own."""

    def __init__(self, target: str) -> None:
        self.mark = Mark()
        self._side, other = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "sh", "-c", recipe(target)],
            stdin=other,
            stdout=other,
            stderr=other,
            env=self.mark.environment | {"HOME": "/run", "TERM": "dumb"},
        )
        os.close(other)

    def type(self, text: str) -> None:
        """Type some text."""
        os.write(self._side, text.encode())

    def read_until(self, pattern: str, timeout: float = 30) -> str:
        """What appears on the terminal up to something that matches the pattern."""
        seen = ""
        deadline = time.monotonic() + timeout
        while not re.search(pattern, seen, re.MULTILINE):
            assert select.select([self._side], [], [], max(0, deadline - time.monotonic()))[0], seen
            seen += os.read(self._side, 4096).decode().replace("\r", "")
        return seen

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        os.close(self._side)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """The hands-on lab at its first prompt."""
    made = Terminal("lab-hands-on")
    made.read_until(r"^mininet> \Z")
    yield made
    made.close()


@pytest.mark.parametrize("target", PAGES)
def test_every_command_of_the_page_does_what_the_page_shows_and_each_link_is_captured(
    target: str, tmp_path: Path
) -> None:
    status, output = outcome("sh", "-c", recipe(target, f"--test --pcap {tmp_path}"))
    assert status == 0, output
    typed = steps(DOCS / PAGES[target])
    for step in typed:
        assert f"\n{step.section}\n{'=' * len(step.section)}\n" in output
        assert f"\n{step.prompt}{step.command}\n" in output
    assert re.search(rf"^{len(typed)} steps, all as docs/{PAGES[target]} shows them, in \d+ s\.\n\Z", output, re.M)
    captures = {file.stem: run("tcpdump", "-n", "-r", str(file)) for file in tmp_path.glob("*.pcap")}
    assert {name for name, packets in captures.items() if ": VXLAN, flags [I]" in packets} >= TUNNELS[target]


def test_a_page_that_shows_something_else_fails_and_both_are_told(tmp_path: Path) -> None:
    page = f"{HEAD}hv1 echo $((6 * 7))\n    43\n    mininet> hv1 echo on\n    on\n"
    status, output = outcome_of_wrong(tmp_path, page)
    assert status == 1, output
    assert "FAILED: this is not what docs/lab-hands-on.rst, section 'Wrong', shows\n" in output
    assert "the page shows:\n    43\nwhat came, with exit status 0:\n    42\n" in output
    assert "echo on" not in output


@pytest.mark.parametrize(("command", "came"), [("false", "1:\n    (nothing)"), ("echo something", "0:\n    something")])
def test_a_command_that_shows_nothing_has_to_print_nothing_and_succeed(tmp_path: Path, command: str, came: str) -> None:
    status, output = outcome_of_wrong(tmp_path, f"{HEAD}hv2 {command}\n")
    assert status == 1, output
    assert f"the page shows:\n    (nothing)\nwhat came, with exit status {came}\n" in output


def test_a_set_up_that_fails_is_told_with_the_command_and_what_it_printed(tmp_path: Path) -> None:
    configure = "configure = lambda self: self.hv1.do('echo too bad; exec 3>&-; false')"
    status, output = outcome_of_wrong(tmp_path, "Wrong\n=====\n", configure)
    assert status == 1
    assert output == "\nFAILED: hv1$ echo too bad; exec 3>&-; false\ntoo bad\nexit status 1\n"


def test_a_lab_is_not_run_outside_of_isolation() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VTEP_LAB_DIR"}
    argv = ["/usr/bin/python3", "-m", "apps.labs.hands_on"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "apps/isolate" in done.stderr


@pytest.mark.parametrize(
    ("argument", "says"),
    [("--tset", "unrecognized arguments: --tset"), ("--pcap=/proc/a", "--pcap /proc/a: No such file or directory")],
)
def test_what_a_lab_cannot_do_is_one_line_before_anything_is_built(argument: str, says: str) -> None:
    status, output = outcome(*PYTHON, "-m", "apps.labs.hands_on", argument)
    assert (status, output.splitlines()[-1]) == (2, f"lab-hands-on: error: {says}")


def test_at_the_prompt_one_follows_the_page_and_types_commands(terminal: Terminal) -> None:
    terminal.type("next\n")
    assert "\nThe hypervisors\n===============\n" in terminal.read_until(r"^br-phy\nmininet> \Z")
    terminal.type("hv2 ip -brief address show \\\ndev br-phy\n")
    assert "10.1.0.1/8" in terminal.read_until(r"br-phy .*\nmininet> \Z")
    terminal.type("exit\n")
    assert terminal.process.wait(10) == 0
    terminal.mark.wait_until_gone()


def test_what_is_pasted_while_a_command_runs_is_typed_after_it(terminal: Terminal) -> None:
    terminal.type("hv1 sleep 1; echo one\nhv1 echo two\n")
    terminal.read_until(r"^one\nmininet> [^\n]*\n?two\nmininet> \Z")


def test_ctrl_c_ends_a_command_and_not_the_lab(terminal: Terminal) -> None:
    terminal.type("hv1 sleep 1000\n")
    wait_until(lambda: "sleep 1000 " in terminal.mark.processes(), 5, "the command to run")
    terminal.type("\x03")
    terminal.read_until(r"^mininet> \Z")
    terminal.type("hv1 echo $((6 * 7))\n")
    terminal.read_until(r"^42\nmininet> \Z")


def test_ctrl_c_while_a_page_is_followed_ends_the_lab_and_leaves_nothing() -> None:
    mark = Mark()
    lab = subprocess.Popen(
        ["sh", "-c", recipe("lab-hands-on", "--test")],
        env=mark.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert lab.stdout
    while "br-phy" not in lab.stdout.readline():
        assert lab.poll() is None
    assert any("ovs-vswitchd" in each for each in mark.processes())
    os.killpg(lab.pid, signal.SIGINT)
    rest, _ = lab.communicate(timeout=10)
    assert lab.returncode == 130
    assert rest.endswith("\ninterrupted; everything is removed\n")
    mark.wait_until_gone()
