"""A machine with Open vSwitch, both databases and the VTEP application."""

import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path
from typing import Any, TypeVar

from apps.lab import database
from apps.lab.daemons import App, Daemon
from apps.lab.datapath import Datapath
from apps.lab.host import Host
from apps.lab.namespace import LabError, Namespace, wait_until
from apps.lab.underlay import Underlay

T = TypeVar("T")

SCHEMAS = {"ovs": "vswitch.ovsschema", "vtep": "vtep.ovsschema"}
"""The schema of each database file; the files are ovs.db and vtep.db."""
SCHEMA_DIRECTORY = Path("/usr/share/openvswitch")
OPEN_VSWITCH = "Open_vSwitch"
LOCATOR_GONE = "referential integrity violation"
"""What ovsdb-server says of a reference to a row that is not there any more."""
HARDWARE_VTEP = "hardware_vtep"
_REMOTES = {"ovs": "db:Open_vSwitch,Open_vSwitch,manager_options", "vtep": "db:hardware_vtep,Global,managers"}


class Node(Namespace):
    """One machine: its databases, its switch, its VTEP application, and what is plugged into them.

    The environment of what runs in it (OVS_RUNDIR and so on) makes every Open vSwitch tool find its daemons.
    """

    def __init__(
        self, name: str, directory: Path, make_host: Callable[[str, str, str], Host], datapath: Datapath
    ) -> None:
        """A machine on which nothing runs yet; its files are in `directory`, its hosts come from `make_host`."""
        directory.mkdir()
        places = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
        super().__init__(name, {place: str(directory) for place in places})
        self.directory = directory
        self.app = App(self, directory)
        self.ovsdb_server = Daemon(self, directory / "ovsdb-server.pid")
        self.vtep_server = Daemon(self, directory / "vtep-server.pid")
        self.vtep_socket = self.socket
        self.vswitchd = Daemon(self, directory / "ovs-vswitchd.pid")
        self.datapath = datapath
        self._make_host = make_host
        self._internal: dict[str, str] = {}
        self._underlay_address = ""
        self._neighbours: dict[str, str] = {}

    # The daemons, step by step.

    @property
    def socket(self) -> Path:
        """Where ovsdb-server listens."""
        return self.directory / "db.sock"

    def create_databases(self, *names: str) -> None:
        """Create empty databases; by default both, "ovs" and "vtep"."""
        for name in names or SCHEMAS:
            self.run("ovsdb-tool", "create", str(self.directory / f"{name}.db"), str(SCHEMA_DIRECTORY / SCHEMAS[name]))

    def start_ovsdb(self, *names: str, remotes: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> None:
        """Start ovsdb-server with these databases (by default both); `remotes` as its option --remote takes them.

        `options` are more options of its own.
        """
        names = names or tuple(SCHEMAS)
        places = (f"punix:{self.socket}", *(_REMOTES[name] for name in names), *remotes)
        files = (str(self.directory / f"{name}.db") for name in names)
        options = ("--pidfile", "--detach", "--no-chdir", "--log-file", "-vconsole:off", *options)
        self.ovsdb_server.start("ovsdb-server", *options, *(f"--remote={place}" for place in places), *files)

    def start_vtep_server(self, *remotes: str) -> None:
        """Start an ovsdb-server of its own for hardware_vtep, at `vtep_socket` from now on unless remotes are given."""
        if self.vtep_socket == self.socket:
            self.appctl("ovsdb-server", "ovsdb-server/remove-db", HARDWARE_VTEP)
            self.vtep_socket = self.directory / "vtep.sock"
        places = (f"--remote={place}" for place in remotes or (f"punix:{self.vtep_socket}",))
        options = (f"--pidfile={self.vtep_server.pidfile}", "--detach", "--no-chdir", "-vconsole:off")
        control = f"--unixctl={self.directory}/vtep-server.ctl"
        self.vtep_server.start("ovsdb-server", *options, control, *places, str(self.directory / "vtep.db"))

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd, and configure what interfaces a restart made anew."""
        options = ("--pidfile", "--detach", "--no-chdir", "--log-file", "-vconsole:off", *self.datapath.options)
        self.vsctl("--no-wait", "init")
        self.vswitchd.start("ovs-vswitchd", *options, f"unix:{self.socket}")
        for port in self._internal:
            self._join_internal(port)
        if self._underlay_address:
            self._configure_underlay()

    def start(self) -> None:
        """Databases, ovsdb-server and ovs-vswitchd."""
        self.create_databases()
        self.start_ovsdb()
        self.start_vswitchd()

    def start_app(self, *options: str, timeout: float = 20) -> App:
        """Start the VTEP application and wait until it listens for switches."""
        self.app.start(*options, timeout=timeout)
        return self.app

    def delete(self) -> None:
        """End everything and remove the namespace; the log files stay until the lab goes."""
        if self.app.running:
            self.app.kill()
        self.vswitchd.kill()
        self.ovsdb_server.kill()
        self.vtep_server.kill()
        super().delete()

    # The tools.

    def vsctl(self, *argv: str) -> str:
        """`ovs-vsctl`; waits for ovs-vswitchd to have done it, 10 seconds at the longest."""
        return self.run("ovs-vsctl", "--timeout=10", *argv)

    def vtep_ctl(self, *argv: str) -> str:
        """`vtep-ctl`; again where a locator that it had found was gone when it referred to it: nothing is done then."""
        command = ("vtep-ctl", "--timeout=10", f"--db=unix:{self.vtep_socket}", *argv)
        try:
            return self.run(*command)
        except LabError as error:
            if LOCATOR_GONE not in str(error):
                raise
            return self.run(*command)

    def ofctl(self, *argv: str) -> str:
        """`ovs-ofctl`, with OpenFlow 1.3."""
        return self.run("ovs-ofctl", "-O", "OpenFlow13", *argv)

    def appctl(self, target: str, *argv: str) -> str:
        """`ovs-appctl -t target` ("ovs-vswitchd", "ovsdb-server")."""
        if target == "ovsdb-server":
            target = str(self.directory / f"ovsdb-server.{self.ovsdb_server.pid}.ctl")
        return self.run("ovs-appctl", "-t", target, *argv)

    def transact(self, *operations: dict[str, Any], db: str = HARDWARE_VTEP, timeout: float = 60) -> list[Any]:
        """OVSDB operations (RFC 7047 section 5.2) in one transaction; their results."""
        return database.transact(self._socket_of(db), db, *operations, timeout=timeout)

    def rows(self, table: str, db: str = HARDWARE_VTEP) -> list[dict[str, Any]]:
        """The rows of a table; columns as by `database.plain`."""
        return database.select(self._socket_of(db), db, [table])[0]

    def macs(self, table: str = "Ucast_Macs_Local") -> dict[tuple[str, str], tuple[str, ...]]:
        """A table of MAC addresses: (logical switch's name, MAC) -> addresses of its locators, sorted.

        Raises LabError when two rows have the same logical switch and MAC.
        """
        tables = ("Logical_Switch", "Physical_Locator", "Physical_Locator_Set", table)
        switches, locators, sets, rows = database.select(self.vtep_socket, HARDWARE_VTEP, tables)
        name_of = {row["_uuid"]: row["name"] for row in switches}
        places: dict[str, tuple[str, ...]] = {row["_uuid"]: (row["dst_ip"],) for row in locators}
        for row in sets:
            members = database.listed(row["locators"])
            places[row["_uuid"]] = tuple(sorted(address for member in members for address in places[member]))
        found = {}
        for row in rows:
            place = row["locator"] if "locator" in row else row["locator_set"]
            found[name_of[row["logical_switch"]], row["MAC"]] = places[place]
        if len(found) < len(rows):
            raise LabError(f"{self.name}: {table} has rows for the same address: {rows}")
        return found

    def _socket_of(self, db: str) -> Path:
        return self.vtep_socket if db == HARDWARE_VTEP else self.socket

    def wait_until(self, predicate: Callable[[], T], timeout: float = 10, what: str = "") -> T:
        """As `namespace.wait_until`, with the end of the application's log when it takes too long."""
        return wait_until(predicate, timeout, what, self.app.tail)

    # Bridges, ports and cables.

    def add_bridge(self, name: str = "br0", *settings: str) -> None:
        """Add a bridge; `settings` as for `ovs-vsctl set Bridge`."""
        self.vsctl("add-br", name, "--", "set", "Bridge", name, f"datapath_type={self.datapath.type}", *settings)

    def add_port(
        self, port: str, bridge: str = "br0", address: str = "", mac: str = "", host: str = "", kind: str = "veth"
    ) -> Host:
        """Add a port to a bridge with a host behind it, and return the host.

        `kind` is "veth" (as a physical port), "tap" (as a virtual machine's) or "internal". The host's
        address is "192.168.1.1/24" or none, its MAC is chosen if not given, its name is the port's and ours.
        """
        behind = self.add_cable(port, address, mac, host, kind) if kind != "internal" else None
        settings = ("--", "set", "Interface", port, "type=internal") if kind == "internal" else ()
        self.vsctl("add-port", bridge, port, *settings)
        return behind or self.add_cable(port, address, mac, host, kind)

    def add_cable(self, port: str, address: str = "", mac: str = "", host: str = "", kind: str = "veth") -> Host:
        """The half of `add_port` that is not Open vSwitch's: the interface, or the cable to an internal one."""
        behind = self._make_host(host or f"{self.directory.name}-{port}", mac, address)
        if kind == "tap":
            self._plug_tap(port, behind)
        elif kind == "internal":
            self._plug_internal(port, behind)
        else:
            behind.plug_into(self, port)
        return behind

    def del_port(self, port: str, bridge: str = "br0") -> None:
        """Take a port out of a bridge; the cable to its host stays, an internal port goes altogether."""
        self.vsctl("del-port", bridge, port)
        self._internal.pop(port, None)

    def port_down(self, port: str) -> None:
        """Take the switch's own end of a port's cable down."""
        self.ip("link", "set", port, "down")

    def port_up(self, port: str) -> None:
        """Bring it up again."""
        self.ip("link", "set", port, "up")

    def ofport(self, port: str) -> int:
        """The OpenFlow number of a port; -1 when it has none."""
        return int(self.vsctl("get", "Interface", port, "ofport").strip("[]\n") or -1)

    def _plug_tap(self, port: str, host: Host) -> None:
        """A process carries frames between a TAP interface here and one that is the host's eth0."""
        program = (sys.executable, str(Path(__file__).with_name("tap.py")))
        relay = self.popen(*program, self.path, port, host.path, "eth0", stdout=subprocess.PIPE)
        assert relay.stdout
        if relay.stdout.readline() != "ready\n":
            raise LabError(f"{self.name}: no TAP interface {port}")
        host.ip("link", "set", "eth0", "address", host.mac)
        self.ip("link", "set", port, "up")
        host.configure()

    def _plug_internal(self, port: str, host: Host) -> None:
        """A bridge of the kernel joins the internal port and the host's cable."""
        bridge, cable = f"{port}-lan", f"{port}-host"
        self.ip("link", "add", bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        self.ip("link", "set", bridge, "up")
        host.plug_into(self, cable)
        self.ip("link", "set", cable, "master", bridge)
        self._internal[port] = bridge
        self._join_internal(port)

    def _join_internal(self, port: str) -> None:
        self.ip("link", "set", port, "master", self._internal[port])
        self.offload_off(port)
        self.ip("link", "set", port, "up")

    # The underlay.

    @property
    def underlay_ip(self) -> str:
        """Our address on the underlay, without its prefix length."""
        return str(ip_interface(self._underlay_address).ip)

    def join_underlay(self, underlay: Underlay, address: str, mac: str, learn: bool = True) -> None:
        """Plug into the underlay with an address ("10.2.2.1/24").

        With `learn` every member's MAC address is put into the neighbour table, without which the
        userspace datapath drops the first frame to each.
        """
        self.datapath.attach(self, underlay, mac)
        self._underlay_address = address
        self._configure_underlay()
        if learn:
            underlay.join(self.underlay_ip, mac, self._learn_neighbour)
        else:
            underlay.join(self.underlay_ip, mac)

    def add_underlay_address(self, address: str) -> None:
        """Another address ("10.2.2.21/24") where our underlay address is."""
        self.ip("address", "add", address, "dev", self.datapath.interface)

    def _configure_underlay(self) -> None:
        interface = self.datapath.interface
        self.offload_off(interface)
        self.ip("address", "replace", self._underlay_address, "dev", interface)
        self.ip("link", "set", interface, "up")
        for address, mac in self._neighbours.items():
            self._learn_neighbour(address, mac)

    def _learn_neighbour(self, address: str, mac: str) -> None:
        self._neighbours[address] = mac
        self.datapath.learn(self, address, mac)
