"""The program without privileges: as any user, and as the service of etc/vtep_ryu.service."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from apps.lab import Lab, Node, wait_until
from tests.system import command, support
from tests.system.pki import Pki
from tests.system.service import Confined, Systemd, libraries
from tests.system.test_metrics import GET
from tests.system.test_readme import blocks

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "etc" / "vtep_ryu.service"
INSTANCES = ROOT / "etc" / "vtep_ryu@.service"
LONG = os.environ.get("VTEP_TEST_LONG") == "1"
MOST_EXPOSURE = 14
"""Tenths of what systemd-analyze calls exposure; docs/service.rst says what they are for."""

NO_CAPABILITY = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0000000000000000")
PAGE = ROOT / "docs" / "service.rst"
INSTANCES_PAGE = ROOT / "docs" / "instances.rst"
TLS_PAGE = ROOT / "docs" / "tls.rst"
PLACE = "/opt/vtep_ryu"


_numbers = count(1)


def analyze(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, argv)], capture_output=True, text=True, check=False, timeout=60)


def test_systemd_analyze_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/vtep_ryu", sys.prefix))
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_of_several_instances_is_the_same_but_for_where_each_is(tmp_path: Path) -> None:
    lines, others = (
        [line for line in each.read_text().splitlines() if not line.startswith("#")] for each in (UNIT, INSTANCES)
    )
    ports = "--ofp-tcp-listen-port %i --ofp-ssl-listen-port %i "
    same = [re.sub(rf"(?<=vtep_ryu)-%i|{ports}|, instance on port %i", "", each) for each in others]
    assert same == lines
    assert others != lines
    unit = tmp_path / "vtep_ryu@6653.service"
    unit.write_text(INSTANCES.read_text().replace("/opt/vtep_ryu", sys.prefix))
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_analyze_finds_the_unit_as_little_exposed_as_the_page_says() -> None:
    done = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSURE}", UNIT)
    assert done.returncode == 0, done.stdout


# As any user.


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Node:
    """A machine whose databases are open to the group that the program's user has, with a br0 that has a row."""
    node = lab.node("a", "10.2.2.1/24")
    os.chown(node.socket, 0, Confined.user)
    node.socket.chmod(0o770)
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")
    return node


@pytest.fixture(scope="module")
def confined(lab: Lab, machine: Node) -> Iterator[Confined]:
    made = Confined(machine, lab.directory / "confined")
    yield made
    command.kill_all(machine)
    made.close()


def files(directory: Path) -> dict[str, int]:
    """Mode of whatever is in a directory, but of links."""
    return {each.name: each.stat().st_mode & 0o7777 for each in directory.iterdir() if not each.is_symlink()}


def process_status(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    return as_status(Path(f"/proc/{pid}/status").read_text())


def as_status(text: str) -> dict[str, str]:
    """That, from proc(5)'s file."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def serves(lab: Lab, node: Node, name: str, key: int) -> None:
    """br0 forwards between two ports and to another VTEP, and what is learned there is published."""
    peer = lab.peer(f"peer-{name}", f"10.2.2.{100 + key}/24")
    hosts = [node.add_port(f"{name}{number}") for number in range(2)]
    support.add_logical_switch(node, name, key, peer.ip_address)
    support.bind(node, name, *(f"{name}{number}" for number in range(2)))
    node.wait_until(lambda: support.reaches(hosts[0], hosts[1], peer), what="a broadcast at the others")
    support.teach(node, hosts[0], hosts[0].mac, logical_switch=name)
    assert node.macs()[name, hosts[0].mac] == ("10.2.2.1",)


def test_a_user_without_privileges_serves_a_bridge_and_writes_nothing_that_others_can_open(
    lab: Lab, machine: Node, confined: Confined
) -> None:
    pki, keys = Pki(lab.directory / "pki"), lab.directory / "keys"
    ours, switch = pki.identity("program", "controller"), pki.identity("switch", "switch")
    keys.mkdir()
    own = {name: keys / name for name in ("privkey", "cert", "cacert")}
    for name, file in zip(own, (ours.private_key, ours.certificate, pki.ca_cert("switch")), strict=True):
        shutil.copyfile(file, own[name])
    own["privkey"].chmod(0o600)
    os.chown(own["privkey"], confined.user, confined.user)
    machine.vsctl("set-ssl", *map(str, (switch.private_key, switch.certificate, pki.ca_cert("controller"))))

    confined.start(f"--ctl-privkey={own['privkey']}", f"--ctl-cert={own['cert']}", f"--ca-certs={own['cacert']}")
    machine.vsctl("set-controller", "br0", "ssl:127.0.0.1:6653")
    confined.wait_log(r"^br0: switch \w+ is served$")
    serves(lab, machine, "x", 33)

    pid = confined.process.pid
    status = process_status(pid)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(confined.user)}
    assert {name: status[name] for name in NO_CAPABILITY} == NO_CAPABILITY
    assert (status["Groups"], status["NoNewPrivs"]) == ("", "1")
    assert confined.writable() == {str(confined.run_directory), "/tmp"}
    assert files(confined.run_directory) == {f"vtep_ryu.{pid}.ctl": 0o700}
    confined.stop()
    machine.vsctl("del-controller", "br0")


def test_vtep_ryu_needs_no_privileges_either_and_its_files_are_not_open_to_everybody(
    lab: Lab, machine: Node, confined: Confined
) -> None:
    directory = confined.run_directory
    machine.run(*confined.program("vtep-ryu", "--pidfile", "--log-file", "--detach", "br0"))
    serves(lab, machine, "y", 34)
    pids = [int(name.split(".")[1]) for name in files(directory) if name.endswith(".ctl")]
    assert len(pids) == 2
    for status in map(process_status, pids):
        assert {name: status[name] for name in NO_CAPABILITY} == NO_CAPABILITY
    modes = files(directory)
    assert {"vtep-ryu.pid", "vtep-ryu.log", "vtep_ryu.lock"} < modes.keys()
    assert {name: mode for name, mode in modes.items() if mode & stat.S_IRWXO} == {}
    (socket,) = directory.glob("vtep-ryu.*.ctl")
    machine.appctl(str(socket), "exit")
    machine.wait_until(lambda: not list(directory.glob("*.ctl")), what="both to end")


# As the service.


@pytest.fixture
def systemd(lab: Lab) -> Iterator[Systemd]:
    """A systemd that has the program where the unit expects it, and Debian's ovsdb-server."""
    number = next(_numbers)
    with Systemd(lab.node(f"b{number}", start=False), lab.directory / f"systemd{number}", PLACE) as booted:
        booted.add_unit("ovsdb-server.service", Path("/lib/systemd/system/ovsdb-server.service").read_text())
        settings = f"[Service]\nEnvironment={libraries(PLACE)}\nStandardError=append:/run/log\n"
        for unit in ("vtep_ryu.service", "vtep_ryu@.service"):
            booted.add_unit(f"{unit}.d/test.conf", settings)
        yield booted


def set_up_service(lab: Lab, systemd: Systemd) -> None:
    """Follow the README and docs/service.rst until br0 is served."""
    node, log = systemd.node, systemd.root / "run/log"
    _, (create, *_), (settings,) = blocks("Your own bridge")
    (systemd.root / "etc/default/openvswitch-switch").write_text(settings)
    _, commands = blocks("Setting it up", PAGE)
    (drop_in,) = (command for command in commands if "ovsdb-server.conf" in command)
    systemd.shell(f"{create}; {drop_in}; systemctl start ovsdb-server")  # There is no such group yet.
    node.socket.symlink_to(systemd.root / "run/openvswitch/db.sock")
    node.start_vswitchd()
    node.add_bridge()
    lab.join(node, "10.2.2.1/24")
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")

    systemd.shell("; ".join(commands))
    node.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")
    wait_until(lambda: "is served" in log.read_text(), 30, "br0 to be served", log.read_text)


def check_services(systemd: Systemd, *units: str, more: Sequence[str] = ()) -> None:
    """The programs run without privileges, and everything of their user's is in their directories, closed to others."""
    expected = ["d 750 /var/log/vtep_ryu", *more]
    for unit in units:
        pid = systemd.shell(f"systemctl show --property=MainPID --value {unit}").strip()
        status = as_status(systemd.shell(f"cat /proc/{pid}/status"))
        assert "0" not in status["Uid"].split() + status["Gid"].split()
        assert {name: status[name] for name in NO_CAPABILITY} == NO_CAPABILITY
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        place = f"/run/{unit.replace('@', '-')}"
        expected += [f"d 750 {place}", f"l 777 {place}/db.sock", f"s 700 {place}/vtep_ryu.{pid}.ctl"]
    found = systemd.shell(r"find / /run /tmp /dev/shm -xdev -user vtep_ryu -printf '%y %m %p\n'").splitlines()
    assert sorted(found) == sorted(expected)


if LONG:  # For it needs a machine where a second systemd can be started, and making keys takes its time.

    @pytest.mark.timeout(600)
    def test_the_service_is_set_up_by_the_commands_of_the_pages_and_serves_a_bridge_by_socket_and_by_tls(
        lab: Lab, systemd: Systemd
    ) -> None:
        node, log = systemd.node, systemd.root / "run/log"
        set_up_service(lab, systemd)
        serves(lab, node, "z", 35)
        check_services(systemd, "vtep_ryu")

        def wait_connected(remote: str, times: int) -> None:
            wanted = f": connected to {remote}\n"
            what = f"{times} connections to {remote}"
            wait_until(lambda: log.read_text().count(wanted) == times, 30, what, log.read_text)

        systemd.shell("systemctl restart ovsdb-server")
        wait_connected("unix:/run/vtep_ryu/db.sock", 4)

        (keys,) = blocks("Keys and certificates", TLS_PAGE)
        (open_vswitch,) = blocks("Open vSwitch", TLS_PAGE)
        (modes,) = blocks("The private key", PAGE)
        configuration, *_ = blocks("The program", TLS_PAGE)
        systemd.shell("; ".join((*keys, *open_vswitch, *modes)))
        of_databases = (line for line in configuration if not line.startswith(("ctl_", "ca_certs")))
        log_of_events = "/var/log/vtep_ryu/events.jsonl"
        seen = ("metrics_listen = 127.0.0.1:9279", f"event_log = {log_of_events}")
        (systemd.root / "etc/vtep_ryu.conf").write_text("\n".join((*of_databases, *seen)))
        systemd.shell("systemctl restart vtep_ryu")
        wait_connected("ssl:127.0.0.1:6640", 2)
        serves(lab, node, "w", 36)
        check_services(systemd, "vtep_ryu", more=[f"f 600 {log_of_events}"])
        metrics = node.run(sys.executable, "-c", GET, "http://127.0.0.1:9279/metrics")
        assert "\nprocess_cpu_seconds_total " in metrics
        assert '\nvtep_switch_served{physical_switch="br0"} 1.0\n' in metrics

    @pytest.mark.timeout(600)
    def test_one_service_becomes_two_by_the_commands_of_the_page_and_either_can_be_restarted(
        lab: Lab, systemd: Systemd
    ) -> None:
        node, units = systemd.node, ("vtep_ryu@6653", "vtep_ryu@6654")
        set_up_service(lab, systemd)
        managers, settings, services, controllers = blocks("From one to two", INSTANCES_PAGE)
        systemd.shell("; ".join(managers))
        (systemd.root / "etc/vtep_ryu.conf").write_text("\n".join(settings))
        systemd.shell("; ".join(services))
        for command in controllers:
            node.shell(command)

        def masters() -> list[str]:
            return [row["target"] for row in node.rows("Controller", "Open_vSwitch") if row["role"] == "master"]

        def stand_by() -> int:
            return sum(row["role"] == "slave" for row in node.rows("Controller", "Open_vSwitch"))

        def wait_owner(but: str = "") -> str:
            """Wait until one of them, and not this one, is master, and the other slave; return which."""
            what = "a master and a slave"
            node.wait_until(lambda: stand_by() == 1 and len(masters()) == 1 and masters() != [but], 30, what)
            (owner,) = masters()
            return owner

        owner = wait_owner()
        serves(lab, node, "v", 37)
        check_services(systemd, *units)
        for _ in units:
            _, _, port = owner.rpartition(":")
            systemd.shell(f"systemctl restart vtep_ryu@{port}.service")
            owner = wait_owner(but=owner)
        serves(lab, node, "u", 38)
        check_services(systemd, *units)
        status = systemd.shell("ovs-appctl -t /run/vtep_ryu-6653/vtep_ryu.*.ctl vtep/status")
        assert '"br0"' in status
