"""vtep-ryu with databases that are reached by TLS, and with an application that switches reach by TLS."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.lab import Lab, Node
from tests.system import command
from tests.system.command import Command, controllers, outcome, served, status
from tests.system.pki import REMOTE, Identity, Machine, Pki

REMOTES = ("--", *(f"--vtep-{name}-remotes={REMOTE}" for name in ("hardware-vtep", "open-vswitch")))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(scope="module")
def machine(lab: Lab, pki: Pki) -> Machine:
    made = Machine(lab, lab.node("node", start=False), pki)
    made.start()
    return made


@pytest.fixture
def node(machine: Machine) -> Iterator[Node]:
    """The machine's, with nothing of ours running before and after."""
    yield machine.node
    command.kill_all(machine.node)


def letters(machine: Machine, who: Identity) -> tuple[str, ...]:
    """The options that all programs of Open vSwitch have."""
    return ("-p", str(who.private_key), "-c", str(who.certificate), "-C", str(machine.switch_ca))


def test_it_serves_and_cleans_up_with_databases_by_tls(machine: Machine, node: Node) -> None:
    vtep = Command(node)
    assert outcome(
        node, *letters(machine, machine.program), "--log-file", "--pidfile", "--detach", "br0", *REMOTES
    ) == (
        0,
        "",
        "",
    )
    assert served(node) == ["br0"]
    assert (status(node)["hardware_vtep"], status(node)["open_vswitch"]) == ([REMOTE], [REMOTE])
    (target,) = controllers(node)
    assert target.startswith("tcp:127.0.0.1:")
    vtep.exit()
    assert outcome(node, "--cleanup", *letters(machine, machine.program), "br0", *REMOTES) == (0, "", "")
    assert controllers(node) == {}


def test_switches_reach_its_application_by_tls_when_that_has_the_files(machine: Machine, node: Node) -> None:
    vtep = Command(node)
    who = machine.controller
    openflow = (f"--ctl-privkey={who.private_key}", f"--ctl-cert={who.certificate}", f"--ca-certs={machine.switch_ca}")
    vtep.detach("--", *openflow)
    (target,) = controllers(node)
    assert target.startswith("ssl:127.0.0.1:")
    assert status(node)["listen"] == [target]
    assert served(node) == ["br0"]
    vtep.exit()

    vtep.detach("--", *openflow)
    assert list(controllers(node)) == [target]
    vtep.exit()
    assert outcome(node, "--cleanup", "br0") == (0, "", "")
    assert controllers(node) == {}


def test_files_may_be_named_as_seen_from_where_it_is_started(
    machine: Machine, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.switch_ca.parent)
    files = ("-p", str(machine.program.private_key), "-c", str(machine.program.certificate), "--ca-cert=cacert.pem")
    Command(node).detach(*files, *REMOTES)
    assert served(node) == ["br0"]


def test_a_file_without_the_other_two_is_said(machine: Machine, node: Node, tmp_path: Path) -> None:
    code, _, errors = outcome(node, "-p", str(tmp_path / "none"), "br0", *REMOTES)
    assert code == 1
    assert errors.splitlines()[-1].endswith(
        "[vtep] private_key without [vtep] certificate and [vtep] ca_cert: TLS needs all three"
    )


@pytest.mark.parametrize(
    ("whose", "why"),
    [
        ("ours", "does not accept our certificate: unknown ca"),
        ("theirs", "is refused: its certificate was signed by no CA that we trust"),
    ],
)
def test_a_wrong_certificate_is_said_and_a_right_one_is_used_at_once(
    machine: Machine, node: Node, tmp_path: Path, whose: str, why: str
) -> None:
    wrong = machine.program if whose == "ours" else machine.server
    right = wrong.copy()
    wrong.replace_by(Pki(tmp_path / "stranger").identity("stranger", "controller"))
    vtep = Command(node)
    node.popen(
        command.PROGRAM, *letters(machine, machine.program), "--pidfile", f"--log-file={vtep.logfile}", "br0", *REMOTES
    )
    vtep.wait_log("waiting for it")
    time.sleep(2)  # In which nothing more must be said.
    assert re.findall(r"WARN \| (.*waiting for it)", vtep.log()) == [f"Open_vSwitch: {REMOTE} {why}; waiting for it"]
    wrong.replace_by(right)
    vtep.wait_served("br0")
