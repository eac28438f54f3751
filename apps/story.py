"""The story that the demo tells: one logical network across two switches, step by step.

It follows "How to Use the VTEP Emulator" of Open vSwitch's documentation, with this project's
application in the place of ovs-vtep.
"""

from functools import partial
from typing import NamedTuple

from apps.lab import App, Host, Lab, Node
from apps.narrator import Narrator

PICTURE = """
    h1 192.168.1.1   h2 192.168.1.2          h3 192.168.1.3   h4 192.168.1.4
        |                |                       |                |
    ----p0---------------p1----              ----p0---------------p1----
    |        s1: br0          |              |        s2: br0          |
    ---------------------------              ---------------------------
       10.2.2.1 |                                           | 10.2.2.2
                ---------------- underlay -------------------
"""

LOGICAL_SWITCH = "ls0"
VNI = 33


class Vtep(NamedTuple):
    """One of the two switches and what hangs on it."""

    node: Node
    tunnel_ip: str
    hosts: tuple[Host, Host]


class Story:
    """Told chapter by chapter; each method is one and needs those before it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.datapath = lab.datapath
        self.tell = Narrator()
        self.nodes = (lab.node("s1", start=False), lab.node("s2", start=False))
        self.vteps: list[Vtep] = []

    def run(self) -> None:
        """Tell all of it; raises LabError when something is not as it should be."""
        self.introduce()
        self.start_databases()
        self.start_switches()
        self.build_bridges()
        self.name_physical_switches()
        self.start_applications()
        self.make_logical_switch()
        self.flood_to_a_service_node()
        self.flood_from_the_source()
        self.direct_unicast()
        self.show_learned()
        self.explain_pipeline()
        self.expect_health()
        self.tell.write(f"\nAll {self.tell.checks} expectations were met.")

    def introduce(self) -> None:
        """What is going to be built."""
        self.tell.write("vtep_ryu: two switches, four hosts, one logical network")
        self.tell.write(PICTURE)
        self.tell.say(
            """Every machine is a network namespace; s1 and s2 have an Open vSwitch of their own each. Commands are
            printed as you would type them, after the name of the machine. Nothing outside is touched."""
        )

    def start_databases(self) -> None:
        """The two databases and their server."""
        self.tell.chapter("The databases")
        self.tell.say("Two databases, from the schemas that come with Open vSwitch: one for the switch itself ...")
        create = "ovsdb-tool create $OVS_DBDIR/{}.db /usr/share/openvswitch/{}"
        self.tell.show(*self.nodes, line=create.format("ovs", "vswitch.ovsschema"))
        self.tell.say("... and one for the VTEP, through which a controller says what it wants, and reads what is.")
        self.tell.show(*self.nodes, line=create.format("vtep", "vtep.ovsschema"))
        self.tell.say("A single server holds both:")
        self.tell.show(
            *self.nodes,
            line="ovsdb-server --pidfile --detach --no-chdir --log-file -vconsole:off "
            "--remote=punix:$OVS_RUNDIR/db.sock --remote=db:hardware_vtep,Global,managers "
            "$OVS_DBDIR/ovs.db $OVS_DBDIR/vtep.db",
        )

    def start_switches(self) -> None:
        """ovs-vswitchd, and the underlay under it."""
        self.tell.chapter("The switches")
        where, interface = self.datapath.story
        self.tell.say(f"Next the switch. {where}")
        self.tell.show(*self.nodes, line="ovs-vsctl --no-wait init")
        start = ("ovs-vswitchd --pidfile --detach --no-chdir --log-file -vconsole:off", *self.datapath.options)
        self.tell.show(*self.nodes, line=" ".join((*start, "unix:$OVS_RUNDIR/db.sock")))
        self.tell.say(f"The lab now connects eth1 of both machines. {interface}")
        for node, address in zip(self.nodes, ("10.2.2.1/24", "10.2.2.2/24"), strict=True):
            self.lab.join(node, address)
            self.tell.show(node, line=f"ip -brief address show {self.datapath.interface}")

    def build_bridges(self) -> None:
        """br0 with two ports each, and a host at every port."""
        self.tell.chapter("Bridge and ports")
        self.tell.say("br0 becomes the physical switch that the VTEP is. Each host has a cable to one of its ports.")
        setting = f"datapath_type={self.datapath.type}"
        self.tell.show(*self.nodes, line=f"ovs-vsctl add-br br0 -- set Bridge br0 {setting}")
        for number, node in enumerate(self.nodes, 1):
            hosts = (self.add_host(node, "p0", 2 * number - 1), self.add_host(node, "p1", 2 * number))
            self.vteps.append(Vtep(node, node.underlay_ip, hosts))
        for port in ("p0", "p1"):
            self.tell.show(*self.nodes, line=f"ovs-vsctl add-port br0 {port}")

    def add_host(self, node: Node, port: str, number: int) -> Host:
        """A host on a cable to a port."""
        mac = f"00:11:22:33:44:{number:02x}"
        return node.add_cable(port, address=f"192.168.1.{number}/24", mac=mac, host=f"h{number}")

    def name_physical_switches(self) -> None:
        """The Physical_Switch rows."""
        self.tell.chapter("The physical switch in the VTEP database")
        self.tell.say("A Physical_Switch row of the bridge's name makes it a VTEP; tunnel_ips is where tunnels end.")
        self.tell.show(*self.nodes, line="vtep-ctl add-ps br0")
        for vtep in self.vteps:
            self.tell.show(vtep.node, line=f"vtep-ctl set Physical_Switch br0 tunnel_ips={vtep.tunnel_ip}")

    def start_applications(self) -> None:
        """The application, in the place of ovs-vtep."""
        self.tell.chapter("The application")
        self.tell.say("Now the application, in the place of ovs-vtep, and br0 is told to take its flows from there.")
        self.tell.prompt(*self.nodes, line="ryu-manager vtep_ryu.apps.vtep &")
        self.lab.at_once(*(node.start_app for node in self.nodes))
        self.tell.show(*self.nodes, line="ovs-vsctl set-controller br0 tcp:127.0.0.1:6653")
        self.tell.say("Without being told, it finds the ports of br0 and lists them for the network's controller:")
        for node in self.nodes:
            self.expect_ports(node)
        self.tell.show(*self.nodes, line="vtep-ctl list-ports br0")

    def expect_ports(self, node: Node) -> None:
        """Both ports are in the database, and the switch is connected."""
        self.tell.check(
            f"{node.name} has Physical_Port rows for p0 and p1",
            lambda: {row["name"] for row in node.rows("Physical_Port")} == {"p0", "p1"},
        )
        connected = "get Controller br0 is_connected"
        self.tell.check(f"br0 of {node.name} is connected", lambda: node.vsctl(*connected.split()).strip() == "true")

    def make_logical_switch(self) -> None:
        """A logical switch on all four ports, still without tunnels."""
        left, right = self.vteps
        self.tell.chapter("A logical switch")
        self.tell.say("From here on vtep-ctl plays the controller of the network. It wants a logical switch ...")
        self.tell.show(*self.nodes, line=f"vtep-ctl add-ls {LOGICAL_SWITCH}")
        self.tell.say("... with the untagged frames of both ports in it (VLAN 0 stands for untagged) ...")
        for port in ("p0", "p1"):
            self.tell.show(*self.nodes, line=f"vtep-ctl bind-ls br0 {port} 0 {LOGICAL_SWITCH}")
        self.tell.say("... and a VXLAN network identifier (VNI) for the tunnels.")
        self.tell.show(*self.nodes, line=f"vtep-ctl set Logical_Switch {LOGICAL_SWITCH} tunnel_key={VNI}")
        self.tell.say("Hosts of the same switch reach each other. No tunnel is known yet, so nothing else is reached.")
        self.tell.ping(left.hosts[0], left.hosts[1])
        self.tell.ping_in_vain(left.hosts[0], right.hosts[0])

    def flood_to_a_service_node(self) -> None:
        """unknown-dst, with the default replication mode."""
        left, right = self.vteps
        self.tell.chapter("Broadcast and unknown destinations")
        self.tell.say(
            """Frames for everyone, or for an address that nobody has seen, go to the tunnels of unknown-dst. By
            default (service_node) a single one of them is sent a copy, and would pass it on. With two switches,
            that one is the other switch."""
        )
        for here, there in ((left, right), (right, left)):
            line = f"vtep-ctl add-mcast-remote {LOGICAL_SWITCH} unknown-dst {there.tunnel_ip}"
            self.tell.show(here.node, line=line)
        self.tell.say("That is all it takes: an ARP request crosses, and so does everything after it.")
        self.tell.ping(left.hosts[0], right.hosts[0])
        self.tell.ping(right.hosts[0], left.hosts[0])

    def flood_from_the_source(self) -> None:
        """The other replication mode."""
        left, right = self.vteps
        self.tell.chapter("Replication at the source")
        self.tell.say(
            "In the other mode, source_node, the switch itself sends a copy into every tunnel of unknown-dst."
        )
        self.tell.show(*self.nodes, line=f"vtep-ctl set-replication-mode {LOGICAL_SWITCH} source_node")
        self.tell.ping(left.hosts[0], right.hosts[1])
        self.tell.ping(right.hosts[1], left.hosts[1])

    def direct_unicast(self) -> None:
        """Ucast_Macs_Remote: known addresses get a tunnel of their own."""
        left, right = self.vteps
        self.tell.chapter("Known destinations")
        self.tell.say(
            """A controller that knows where a station is says so, and frames for it are no longer flooded. Here
            it passes what one switch has learned on to the other."""
        )
        for here, there in ((left, right), (right, left)):
            for host in there.hosts:
                line = f"vtep-ctl add-ucast-remote {LOGICAL_SWITCH} {host.mac} {there.tunnel_ip}"
                self.tell.show(here.node, line=line)
        for here, there in ((left, right), (right, left)):
            for source, target in zip(here.hosts, there.hosts, strict=True):
                self.tell.ping(source, target)
        for here, there in ((left, right), (right, left)):
            for host in there.hosts:
                self.expect_unicast(here, host)

    def expect_unicast(self, vtep: Vtep, host: Host) -> None:
        """A flow for this address has sent packets into a tunnel."""
        self.tell.check(
            f"{vtep.node.name} sends frames for {host.name} by a flow of their own",
            lambda: any(
                f"dl_dst={host.mac}" in line and "tun_dst" in line and "n_packets=0," not in line
                for line in vtep.node.ofctl("dump-flows", "br0").splitlines()
            ),
        )

    def show_learned(self) -> None:
        """What the application has published."""
        self.tell.chapter("What was learned")
        self.tell.say("The addresses behind its own ports are published by each switch, with its tunnel IP.")
        for vtep in self.vteps:
            self.tell.show(vtep.node, line=f"vtep-ctl list-local-macs {LOGICAL_SWITCH}")
            self.expect_published(vtep)

    def expect_published(self, vtep: Vtep) -> None:
        """Exactly the addresses of its own hosts, and unknown-dst, at its tunnel IP."""
        hosts = {(LOGICAL_SWITCH, host.mac): (vtep.tunnel_ip,) for host in vtep.hosts}
        everyone = {(LOGICAL_SWITCH, "unknown-dst"): (vtep.tunnel_ip,)}
        name = vtep.node.name
        self.tell.check(f"{name} has published its two hosts and no others", lambda: vtep.node.macs() == hosts)
        self.tell.check(
            f"{name} has published where to send it broadcasts",
            lambda: vtep.node.macs("Mcast_Macs_Local") == everyone,
        )

    def explain_pipeline(self) -> None:
        """The tables of s1, with their live counters."""
        self.tell.chapter("The path of a packet")
        self.tell.say("These are the tables of br0 on s1, in the order a packet sees them, with what they counted.")
        self.tell.pipeline(self.nodes[0])

    def expect_health(self) -> None:
        """The applications are still there, and had nothing go wrong that nobody saw."""
        self.tell.write("")
        for app in (node.app for node in self.nodes):
            what = f"the application of {app.owner.name} runs, without a traceback in its log"
            self.tell.check(what, partial(self.is_well, app))

    @staticmethod
    def is_well(app: App) -> bool:
        """Whether an application runs and has reported no exception."""
        return app.running and "Traceback" not in app.log()
