"""The commands of docs/cluster.rst, run as they are written there, on three machines."""

import re
from pathlib import Path

from apps.lab import Lab, Namespace
from apps.lab.daemons import Daemon
from tests.system import support
from tests.system.test_readme import blocks

PAGE = Path(__file__).parents[2] / "docs/cluster.rst"


def test_the_steps_of_the_page_make_a_cluster_of_what_the_one_server_had(lab: Lab) -> None:
    node = lab.node("page", start=False)
    node.create_databases()
    node.start_ovsdb()
    node.start_vswitchd()
    node.add_bridge()
    lab.join(node, "10.2.2.1/24")
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")
    node.add_port("p0")
    first, second, third, status, options, (list_switches,) = blocks("From one server to three", PAGE)
    _, remotes = options[1].split(" = ")
    places: list[tuple[Namespace, Path]] = [(node, node.directory)]
    for number in (2, 3):
        places.append((lab.peer(f"machine{number}", f"10.2.2.{number}/24"), node.directory / str(number)))
        places[-1][1].mkdir()

    def follow(where: tuple[Namespace, Path], commands: list[str]) -> str:
        """Run a block as if it were typed on this machine: the machines of a lab have directories in common."""
        machine, directory = where
        own = node.appctl("ovsdb-server", "version") and f"{node.directory}/ovsdb-server.{node.ovsdb_server.pid}.ctl"
        text = "\n".join(["set -e", *commands]).replace("-t ovsdb-server ", f"-t {own} ")
        text = re.sub(
            r"/(etc|run)/openvswitch/", f"{directory}/", text.replace("--log-file", f"--log-file={directory}/l")
        )
        return machine.shell(text)

    try:
        for where, commands in zip(places, (first, second, third), strict=True):
            follow(where, commands)
        for where in places:
            node.wait_until(lambda where=where: follow(where, status).count(" at tcp:10.2.2.") == 3, 30, "the members")
        assert node.shell(list_switches) == "br0\n"
        node.start_app(f"--vtep-hardware-vtep-remotes={remotes}")
        node.app.wait_log(r"^hardware_vtep: connected to tcp:10.2.2.\d:6642, the leader$")
        node.vsctl("set-controller", "br0", support.CONTROLLER)
        node.app.wait_log(r"^br0: switch \w+ is served$")
        listed = list_switches.replace("list-ps", "list-ports br0")
        node.wait_until(lambda: node.shell(listed) == "p0\n", what="a row of p0")
    finally:
        for machine, directory in places:
            Daemon(machine, directory / "vtep.pid").kill()
