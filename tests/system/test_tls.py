"""Both databases and OpenFlow by TLS; who has a wrong certificate, an expired one or none is refused, and told so."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from apps.lab import Lab, Node
from tests.system import support
from tests.system.pki import PASSIVE, REMOTE, Machine, Pki

DATABASES = ("hardware_vtep", "Open_vSwitch")
CONTROLLER = "ssl:127.0.0.1:6653"


wrong_certificates = pytest.mark.parametrize(
    ("what", "why"),
    [
        ("stranger", "is refused: its certificate was signed by no CA that we trust"),
        ("expired", "is refused: its certificate has expired, or that of its CA"),
    ],
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """That of somebody else."""
    return Pki(tmp_path_factory.mktemp("pki") / "theirs")


@pytest.fixture(scope="module")
def machine(lab: Lab, pki: Pki) -> Machine:
    node = lab.node("node", start=False)
    made = Machine(lab, node, pki)
    made.start()
    node.vsctl("set-controller", "br0", CONTROLLER)
    node.start_app(*made.options())
    node.app.wait_log(r"^br0: switch \w+ is served$")
    made.hosts = [node.add_port(port) for port in ("p0", "p1")]
    support.add_logical_switch(node, "ls0", 5000, made.peer.ip_address)
    support.bind(node, "ls0", "p0", "p1")
    return made


@pytest.fixture
def running(machine: Machine) -> Machine:
    """The machine with the program serving br0, and nothing said yet."""
    if not machine.node.app.running:
        machine.node.start_app(*machine.options())
        machine.node.app.wait_log(r"^br0: switch \w+ is served$")
    machine.began = len(machine.node.app.log())
    return machine


@pytest.fixture
def stopped(machine: Machine) -> Iterator[Node]:
    """The machine's node with nothing of ours running, before and after."""
    if machine.node.app.running:
        machine.node.app.stop()
    yield machine.node
    if machine.node.app.running:
        machine.node.app.stop()


def test_with_every_connection_by_tls_frames_are_forwarded_and_addresses_published(running: Machine) -> None:
    node, (p0, p1) = running.node, running.hosts
    node.wait_until(lambda: support.reaches(p0, p1, running.peer), what="a broadcast at the others")
    support.teach(node, p0, p0.mac)
    assert node.macs()["ls0", p0.mac] == ("10.2.2.1",)
    for database in DATABASES:
        assert f"{database}: connected to {REMOTE}" in node.app.log()
    assert not any("tcp:" in line for line in node.vsctl("get-controller", "br0").splitlines())


def test_large_updates_pass_both_ways(running: Machine) -> None:
    node, (p0, *_) = running.node, running.hosts
    remote = [f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}" for number in range(2000)]
    locator = {"op": "insert", "table": "Physical_Locator", "uuid-name": "at"}
    locator["row"] = {"encapsulation_type": "vxlan_over_ipv4", "dst_ip": "10.2.2.8"}
    switch = ["uuid", next(row["_uuid"] for row in node.rows("Logical_Switch") if row["name"] == "ls0")]
    node.transact(
        locator,
        *(
            {
                "op": "insert",
                "table": "Ucast_Macs_Remote",
                "row": {"MAC": mac, "logical_switch": switch, "locator": ["named-uuid", "at"]},
            }
            for mac in remote
        ),
    )

    def flows() -> int:
        return support.table_flows(node, "unicast").count("02:00:00:01:")

    node.wait_until(lambda: flows() == len(remote), 60, "flows of remote addresses")
    for _ in range(5):  # More at once Open vSwitch may not hand up.
        support.teach(node, p0, *(running.lab.new_mac() for _ in range(100)))
    node.transact({"op": "delete", "table": "Ucast_Macs_Remote", "where": []})
    node.wait_until(lambda: not flows(), 60, "them to be gone")


# The switch.


def reconnect_switch(node: Node, controller: str = CONTROLLER) -> None:
    """Have br0 connect anew."""
    node.vsctl("set-controller", "br0", "tcp:127.0.0.1:1")
    node.vsctl("set-controller", "br0", controller)


def attempts(node: Node) -> int:
    """How often br0 was not let in."""
    return (node.directory / "ovs-vswitchd.log").read_text().count(":6653: connection dropped (")


def expect_one_refusal(machine: Machine, why: str) -> None:
    """br0 is refused again and again for this, and that is said once."""
    before = attempts(machine.node)
    machine.node.wait_until(lambda: attempts(machine.node) >= before + 3, 30, "the switch to be refused three times")
    assert machine.said("OpenFlow: 127.0.0.1") == [why]
    assert "is served" not in machine.log()


@wrong_certificates
def test_a_switch_with_a_wrong_certificate_is_refused_and_said_once_until_it_has_a_right_one(
    running: Machine, pki: Pki, stranger: Pki, what: str, why: str
) -> None:
    node, good = running.node, running.switch.copy()
    bad = pki.identity("old-switch", "switch", expired=True) if what == "expired" else stranger.identity("x", "switch")
    running.switch.replace_by(bad)
    reconnect_switch(node)
    expect_one_refusal(running, why)
    running.switch.replace_by(good)
    running.wait_said("is served")


def test_a_switch_without_tls_is_refused_and_said_once_until_it_has_it(running: Machine) -> None:
    node = running.node
    reconnect_switch(node, "tcp:127.0.0.1:6653")
    expect_one_refusal(running, "is refused: it does not speak TLS")
    reconnect_switch(node)
    running.wait_said("is served")


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("stranger", "does not accept our certificate: unknown ca"),
        ("expired", "does not accept our certificate: certificate expired"),
    ],
)
def test_that_a_switch_refuses_our_certificate_is_said_once_until_it_is_replaced_by_a_right_one(
    running: Machine, pki: Pki, stranger: Pki, what: str, why: str
) -> None:
    good, kind = running.controller.copy(), "controller"
    bad = pki.identity("old-listener", kind, expired=True) if what == "expired" else stranger.identity("w", kind)
    running.controller.replace_by(bad)
    reconnect_switch(running.node)
    running.wait_said(f"OpenFlow: 127.0.0.1 {why}")
    time.sleep(4)  # In which it tries again and nothing more must be said.
    assert running.said("OpenFlow: 127.0.0.1") == [why]
    running.controller.replace_by(good)
    running.wait_said("is served")


def test_who_connects_and_is_silent_is_cut_off_and_keeps_no_switch_waiting(running: Machine) -> None:
    node = running.node
    script = "import socket, time; s = socket.create_connection(('127.0.0.1', 6653)); print(s.recv(1))"
    silent = node.popen(sys.executable, "-c", script, stdout=subprocess.PIPE)
    reconnect_switch(node)
    running.wait_said("is served")
    running.wait_said("OpenFlow: 127.0.0.1 is refused: it does not go on with the TLS handshake")
    assert silent.communicate(timeout=5)[0] == "b''\n"
    assert "disconnected" not in running.log().partition("is served")[2]


def test_a_switch_with_tls_is_refused_and_said_once_where_none_is_spoken(machine: Machine, stopped: Node) -> None:
    machine.began = 0
    stopped.start_app(*machine.options()[:-3])
    reconnect_switch(stopped)
    expect_one_refusal(machine, "is refused: it speaks TLS, which ctl_privkey, ctl_cert and ca_certs are for")
    reconnect_switch(stopped, "tcp:127.0.0.1:6653")
    machine.wait_said("is served")
    assert "Traceback" not in machine.log()
    stopped.vsctl("set-controller", "br0", CONTROLLER)


def test_a_client_without_a_certificate_is_refused(running: Machine) -> None:
    node = running.node
    for _ in range(3):
        node.shell("openssl s_client -connect 127.0.0.1:6653 </dev/null", check=False)
    running.wait_said("is refused")
    assert running.said("OpenFlow: 127.0.0.1") == ["is refused: it has no certificate"]
    assert "Traceback" not in node.app.log()


def test_a_certificate_of_the_listener_that_is_replaced_is_used_for_the_next_connection(
    running: Machine, pki: Pki
) -> None:
    node, switch = running.node, running.switch

    def shown() -> str:
        client = f"-cert {switch.certificate} -key {switch.private_key}"
        shown = node.shell(
            f"openssl s_client -connect 127.0.0.1:6653 {client} </dev/null 2>&1 | sed -n '/-BEGIN/,/-END/p'"
        )
        return shown[shown.index("-----BEGIN") : shown.index("-----END")]

    assert shown() in running.controller.certificate.read_text()
    new = pki.identity("new-controller", "controller")
    old = running.controller.copy()
    running.controller.replace_by(new)
    assert shown() in new.certificate.read_text()
    assert shown() not in old.certificate.read_text()

    running.controller.private_key.write_bytes(old.private_key.read_bytes())  # Half of it: they are two files.
    reconnect_switch(node)
    both = f"private key {running.controller.private_key} and certificate {running.controller.certificate}"
    expect_one_refusal(running, f"cannot be served: {both} do not belong together")
    running.controller.replace_by(old)
    running.wait_said("is served")


# The databases.


def reconnect_program(node: Node) -> None:
    """Have all who are connected to ovsdb-server connect anew."""
    node.appctl("ovsdb-server", "ovsdb-server/reconnect")


def expect_one_refusal_of_both(machine: Machine, why: str) -> None:
    """This is said once of each database, while one tries again each second."""
    for database in DATABASES:
        machine.wait_said(f"{database}: {REMOTE} {why}; trying again")
    time.sleep(2.5)  # In which nothing more must be said.
    for database in DATABASES:
        assert machine.said(f"{database}: {REMOTE}") == [f"{why}; trying again"]


def expect_connected_again(machine: Machine) -> None:
    """Both databases are followed again."""
    for database in DATABASES:
        machine.wait_said(f"{database}: connected to {REMOTE}")


@wrong_certificates
def test_a_database_with_a_wrong_certificate_is_refused_and_said_once_until_it_has_a_right_one(
    running: Machine, pki: Pki, stranger: Pki, what: str, why: str
) -> None:
    node, good = running.node, running.server.copy()
    bad = pki.identity("old-server", "switch", expired=True) if what == "expired" else stranger.identity("y", "switch")
    running.server.replace_by(bad)
    reconnect_program(node)
    expect_one_refusal_of_both(running, why)
    running.server.replace_by(good)
    expect_connected_again(running)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("stranger", "does not accept our certificate: unknown ca"),
        ("expired", "does not accept our certificate: certificate expired"),
    ],
)
def test_that_a_database_refuses_our_certificate_is_said_once_until_it_is_replaced_by_a_right_one(
    running: Machine, pki: Pki, stranger: Pki, what: str, why: str
) -> None:
    node, good = running.node, running.program.copy()
    kind = "controller"
    bad = pki.identity("old-program", kind, expired=True) if what == "expired" else stranger.identity("z", kind)
    running.program.replace_by(bad)
    reconnect_program(node)
    expect_one_refusal_of_both(running, why)
    running.program.replace_by(good)
    expect_connected_again(running)


def test_a_database_without_tls_is_said_once_until_it_has_it(running: Machine) -> None:
    node, plain = running.node, "ptcp:6640:127.0.0.1"
    node.appctl("ovsdb-server", "ovsdb-server/remove-remote", PASSIVE)
    node.appctl("ovsdb-server", "ovsdb-server/add-remote", plain)
    expect_one_refusal_of_both(running, "has hung up during the TLS handshake")
    node.appctl("ovsdb-server", "ovsdb-server/remove-remote", plain)
    node.appctl("ovsdb-server", "ovsdb-server/add-remote", PASSIVE)
    expect_connected_again(running)


def test_a_database_without_a_certificate_is_said_once_until_it_has_one(running: Machine) -> None:
    node = running.node
    node.ovsdb_server.stop()
    node.start_ovsdb(remotes=(PASSIVE,))
    expect_one_refusal_of_both(running, "has hung up during the TLS handshake")
    node.ovsdb_server.stop()
    running.start_ovsdb()
    expect_connected_again(running)


def test_a_file_that_is_missing_while_it_runs_is_said_and_used_once_it_is_there(running: Machine) -> None:
    file = running.program.certificate
    away = file.rename(file.with_suffix(".away"))
    reconnect_program(running.node)
    missing = f"is not connected to: certificate {file} cannot be read: No such file or directory"
    expect_one_refusal_of_both(running, missing)
    away.rename(file)
    expect_connected_again(running)


def test_a_key_that_becomes_open_to_everybody_is_said_and_used_once_it_is_not(running: Machine) -> None:
    file = running.program.private_key
    file.chmod(0o644)
    reconnect_program(running.node)
    what = "is open to everybody, with mode 0644: it needs chmod o="
    expect_one_refusal_of_both(running, f"is not connected to: private key {file} {what}")
    file.chmod(0o640)
    expect_connected_again(running)


# Options.


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda machine: ["--vtep-ca-cert="],
            "[vtep] private_key and [vtep] certificate without [vtep] ca_cert: TLS needs all three",
        ),
        (lambda machine: ["--ca-certs="], "ctl_privkey and ctl_cert without ca_certs: TLS needs all three"),
        (
            lambda machine: ["--vtep-private-key=/none"],
            "private key /none cannot be read: No such file or directory",
        ),
        (
            lambda machine: [f"--ctl-cert={machine.switch.certificate}"],
            lambda machine: (
                f"private key {machine.controller.private_key} and certificate "
                f"{machine.switch.certificate} do not belong together"
            ),
        ),
        (
            lambda machine: [f"--vtep-{name}=" for name in ("private-key", "certificate", "ca-cert")],
            "[vtep] hardware_vtep_remotes has ssl:, which needs private_key, certificate and ca_cert",
        ),
    ],
)
def test_wrong_files_are_one_line_and_exit_status_1(
    machine: Machine, stopped: Node, change: Callable[[Machine], list[str]], complaint: str | Callable[[Machine], str]
) -> None:
    app = stopped.app
    app.start(*machine.options(), *change(machine), port=None)
    assert app.wait() == 1
    text = complaint if isinstance(complaint, str) else complaint(machine)
    assert app.log().splitlines()[-1] == f"ryu-manager: error: {text}"
