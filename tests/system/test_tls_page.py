"""The commands of docs/tls.rst, run as they are written there."""

from pathlib import Path

from apps.lab import Lab, Node
from tests.system import command, support
from tests.system.command import Command, controllers, served
from tests.system.test_readme import blocks

PAGE = Path(__file__).parents[2] / "docs/tls.rst"
CONFIGURATION = Path("/etc/vtep_ryu.conf")
LISTENER = "openssl s_client -connect 127.0.0.1:6653 </dev/null 2>&1 | openssl x509"
AS_OVS_CTL_HAS_IT = (
    "--private-key=db:Open_vSwitch,SSL,private_key",
    "--certificate=db:Open_vSwitch,SSL,certificate",
    "--bootstrap-ca-cert=db:Open_vSwitch,SSL,ca_cert",
)


def follow(node: Node, commands: list[str]) -> None:
    """Run a block as if it were typed."""
    node.shell("\n".join(["set -e", *commands]))


def test_the_steps_of_the_page_make_every_connection_tls_and_replace_a_certificate(lab: Lab, tmp_path: Path) -> None:
    node = lab.node("page", start=False)
    node.create_databases()
    node.start_ovsdb(options=AS_OVS_CTL_HAS_IT)
    node.start_vswitchd()
    node.add_bridge()
    lab.join(node, "10.2.2.1/24")
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")
    node.add_port("p0")

    (keys,) = blocks("Keys and certificates", PAGE)
    follow(node, keys)
    (open_vswitch,) = blocks("Open vSwitch", PAGE)
    follow(node, open_vswitch)

    configuration, (program, set_controller), (vtep_ryu,) = blocks("The program", PAGE)
    assert program == f"ryu-manager --config-file {CONFIGURATION} vtep_ryu.apps.vtep"
    file = tmp_path / CONFIGURATION.name
    file.write_text("\n".join(configuration))
    node.start_app(f"--config-file={file}")
    node.shell(set_controller)
    for database in ("hardware_vtep", "Open_vSwitch"):
        node.app.wait_log(f"^{database}: connected to ssl:127.0.0.1:6640$")
    node.app.wait_log(r"^br0: switch \w+ is served$")
    node.wait_until(lambda: support.physical_ports(node) == {"p0"}, what="a row of p0")

    (new, (reconnect,)) = blocks("Certificates that are replaced", PAGE)
    certificate = Path("/etc/openvswitch/vtep_ryu-cert.pem")
    before = node.shell(LISTENER)
    assert before in certificate.read_text()
    follow(node, new)
    assert before not in certificate.read_text()
    assert node.shell(LISTENER) in certificate.read_text()
    node.shell(reconnect.replace("ovsdb-server ", f"{node.directory}/ovsdb-server.{node.ovsdb_server.pid}.ctl ", 1))
    node.wait_until(lambda: node.app.log().count("connected to ssl:") == 4, what="both databases again")
    node.app.stop()

    node.vsctl("del-controller", "br0")
    argv = vtep_ryu.replace(str(CONFIGURATION), str(file)).split()
    assert argv[0] == "vtep-ryu"
    node.run(command.PROGRAM, *argv[1:])
    assert served(node) == ["br0"]
    (target,) = controllers(node)
    assert target.startswith("ssl:127.0.0.1:")
    Command(node).exit()
