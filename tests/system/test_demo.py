"""The demo and the lab that it can leave running, as a user has them."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from apps.lab import run
from vtep_ryu.core.pipeline import TABLES

DEMO = ("apps/isolate", sys.executable, "-m", "apps.demo")


def started(*argv: str) -> subprocess.Popen[str]:
    """A command in a process group of its own, as a terminal has it; standard error goes to standard output."""
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def kept() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo with --keep once its story is told, and what it has printed."""
    lab = started(*DEMO, "--keep")
    assert lab.stdout
    told = ""
    while "--stop" not in told and (line := lab.stdout.readline()):
        told += line
    yield lab, told
    lab.kill()
    lab.communicate()


def commands(told: str) -> dict[str, str]:
    """The commands that the demo says the lab can be used with, by what it says they are for."""
    return dict(re.findall(r"^  (\S.*?): +(apps/lab-enter.*)$", told, re.MULTILINE))


def test_the_demo_meets_all_its_expectations_and_explains_every_table(
    kept: tuple[subprocess.Popen[str], str],
) -> None:
    _, told = kept
    assert re.search(r"^All \d+ expectations were met\.$", told, re.MULTILINE), told[-2000:]
    assert told.count(": 3 of 3 answered") == 9
    for table in TABLES:
        assert f"\nTable {table.id}, {table.name}: " in told


def test_the_lab_can_be_used_by_the_commands_it_prints(kept: tuple[subprocess.Popen[str], str]) -> None:
    lab, told = kept
    printed = commands(told)
    assert len(printed) == 8

    def answer(what: str, stdin: str = "") -> str:
        (line,) = (line for purpose, line in printed.items() if what in purpose)
        return run("sh", "-c", line, stdin=stdin)

    assert {"h1", "h2", "h3", "h4", "s1", "s2"} <= set(answer("which machines").split())
    assert "192.168.1.1/24" in answer("a shell", stdin="ip -brief address\nexit\n")
    assert "3 received" in answer("one command")
    assert "00:11:22:33:44:01 -> vxlan_over_ipv4/10.2.2.1" in answer("drive the VTEP")
    assert "table=8" in answer("its flows")
    assert "ls0 has VNI 33" in answer("has logged")

    (line,) = (line for purpose, line in printed.items() if "capture" in purpose)
    capture = started(*shlex.split(line))
    assert capture.stdout
    while "listening on" not in capture.stdout.readline():
        assert capture.poll() is None
    answer("one command")
    os.killpg(capture.pid, signal.SIGINT)
    assert "10.2.2.2.4789: VXLAN, flags [I] (0x08), vni 33" in capture.communicate(timeout=10)[0]

    answer("end the lab")
    assert lab.wait(20) == 0


def test_a_lab_that_does_not_run_cannot_be_entered() -> None:
    done = subprocess.run(["apps/lab-enter", "h1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "start one with 'make lab'" in done.stderr


def test_the_demo_fails_when_the_application_does_and_says_why() -> None:
    env = os.environ | {"OS_VTEP__MAC_AGEING_TIME": "never"}
    done = subprocess.run(DEMO, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAILED: exit status 1 while waiting for the application" in done.stdout
    assert "mac_ageing_time is 'never'" in done.stdout


def test_ctrl_c_ends_the_demo_with_one_line() -> None:
    demo = started(*DEMO)
    assert demo.stdout
    while "ryu-manager" not in demo.stdout.readline():
        assert demo.poll() is None
    os.killpg(demo.pid, signal.SIGINT)
    rest, _ = demo.communicate(timeout=10)
    assert demo.returncode == 130
    assert rest.strip() == "interrupted; everything is removed"
