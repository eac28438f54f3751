"""What a VTEP's switch and its rows should be by the databases as they are: rendered at once, by a VTEP that begins.

The flows and groups are put on a bridge of their own, by the messages that the application would send, and compared
with the real one's as ovs-ofctl prints them.
"""

import logging
import re
import socket
import struct
from collections.abc import Iterator
from typing import Any

import ovs.db.idl
import ovs.poller
from ryu.ofproto import ofproto_protocol
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto import ofproto_v1_3_parser as parser

from apps.lab import Node, database
from apps.lab.database import listed
from apps.lab.node import HARDWARE_VTEP
from tests.system.support import flows
from tests.unit.world import rendering
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.database import Database
from vtep_ryu.core.model import Change, Port, Settings, UcastRemote, Update
from vtep_ryu.core.plan import plan
from vtep_ryu.core.units import AlwaysUnit
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.drivers import bfd, hwvtep, messages, openvswitch

BRIDGE, REFERENCE = "br0", "br-ref"
DATAPATH = ofproto_protocol.ProtocolDesc(version=ofp.OFP_VERSION)


class Reference:
    """The databases of a node, followed, and a second bridge there that has what the first one should have."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self.node = node
        self.settings = settings
        node.add_bridge(REFERENCE, "fail_mode=secure")
        self._rows: Any = None
        self._bridges: Any = None
        self.connect()

    def connect(self) -> None:
        """Follow the databases from now on; anew, where their servers may have gone and come back meanwhile."""
        for idl in filter(None, (self._rows, self._bridges)):
            idl.close()
        self._rows = _follow(f"unix:{self.node.vtep_socket}", "hardware_vtep", hwvtep.COLUMNS)
        self._bridges = _follow(f"unix:{self.node.socket}", "Open_vSwitch", openvswitch.COLUMNS)

    def vtep(self) -> Vtep:
        """A VTEP that is told what the databases and the switch's own memory say now, and nothing else."""
        for idl in (self._rows, self._bridges):
            _catch_up(idl)
        logging.disable()
        try:
            return self._vtep()
        finally:
            logging.disable(logging.NOTSET)

    def _vtep(self) -> Vtep:
        database = Database()
        changes = [
            Change(kind, str(row.uuid), value)
            for table, (kind, read) in READERS.items()
            for row in self._rows.tables[table].rows.values()
            if (value := _read(read, row)) is not None
        ]
        database.apply(Update(tuple(changes), complete=True))
        (bridge,) = (row for row in self._bridges.tables["Bridge"].rows.values() if row.name == BRIDGE)
        vtep = Vtep(BRIDGE, database, self.settings, openvswitch._bridge(bridge))
        vtep.set_ports(self._ports())
        vtep.restore(self._learned(), True, self._forwarding())
        vtep.restore_tunnels(self._taking())
        while vtep.settle():
            pass
        return vtep

    def differences(self, vtep: Vtep) -> list[str]:
        """Flows and groups that only one of the bridges has: a "+" is the application's, a "-" is missing there."""
        steps = plan({AlwaysUnit(): rendering(vtep)}, {})
        everything = [
            messages.remove_flows(DATAPATH, 0, 0),
            parser.OFPGroupMod(DATAPATH, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, ofp.OFPG_ALL),
            *(messages.message(DATAPATH, step.change, p.cookie(0)) for step in steps),
        ]
        _send(str(self.node.directory / f"{REFERENCE}.mgmt"), everything)
        there, wanted = flows(self.node), flows(self.node, REFERENCE)
        return [*(f"+ {each}" for each in there if each not in wanted), *(f"- {x}" for x in wanted if x not in there)]

    def unlike(self, vtep: Vtep) -> list[Any]:
        """What is published, or said to be a fault or a tunnel, and ought not to be, or ought to and is not."""
        pairs = {
            "published": (
                sorted(self._published()),
                sorted((*key, ip) for key, ip in vtep.all_news().items() if ip is not None),
            ),
            "faults": (self._faults(), vtep.faults()),
            "tunnels": (
                sorted(self._tunnels(), key=str),
                sorted(((pair, status) for pair, status in vtep.sessions.news()[0].items()), key=str),
            ),
        }
        return [(name, is_, to) for name, (is_, to) in pairs.items() if is_ != to]

    def _faults(self) -> dict[str, frozenset[str]]:
        return {
            row["_uuid"]: frozenset(listed(row[column]))
            for table, column in (("Physical_Switch", "switch_fault_status"), ("Physical_Port", "port_fault_status"))
            for row in self.node.rows(table)
            if listed(row[column])
        }

    def _published(self) -> Iterator[tuple[str, str, str]]:
        """Logical switch, address and locators of each row of ours."""
        tables = ("Physical_Locator", "Physical_Locator_Set", "Ucast_Macs_Local", "Mcast_Macs_Local")
        places, sets, unicast, multicast = database.select(self.node.vtep_socket, HARDWARE_VTEP, tables)
        locators = {row["_uuid"]: row["dst_ip"] for row in places}
        members = {row["_uuid"]: listed(row["locators"]) for row in sets}
        for row in unicast:
            yield row["logical_switch"], row["MAC"], locators[row["locator"]]
        for row in multicast:
            yield row["logical_switch"], row["MAC"], ",".join(sorted(locators[x] for x in members[row["locator_set"]]))

    def _tunnels(self) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
        """The addresses and bfd_status of each Tunnel row, and a note there of what else is ours and missing."""
        tables = ("Physical_Locator", "Tunnel")
        places, rows = database.select(self.node.vtep_socket, HARDWARE_VTEP, tables)
        locators = {row["_uuid"]: row["dst_ip"] for row in places}
        for row in rows:
            missing = dict.fromkeys(bfd.LOCAL_DEFAULTS.keys() - row["bfd_config_local"], "missing")
            yield (locators[row["local"]], locators[row["remote"]]), row["bfd_status"] | missing

    def _ports(self) -> dict[str, Port]:
        text = self.node.ofctl("show", BRIDGE)
        found = re.findall(r"^ (\d+)\((\S+)\):.*\n +config: +(.*)\n +state: +(.*)$", text, re.MULTILINE)
        return {
            name: Port(name, int(number), "PORT_DOWN" not in config and "LINK_DOWN" not in state)
            for number, name, config, state in found
        }

    def _learned(self) -> list[tuple[int, int, str, int]]:
        text = self.node.ofctl("dump-flows", BRIDGE, f"table={p.LEARN.id}", "--no-stats")
        found = re.findall(r"cookie=(\w+), .*reg1=(\w+),metadata=(\w+)/\w+,dl_src=([0-9a-f:]+) ", text)
        return [
            (int(metadata, 16), int(reg, 16), mac, p.note_of(int(cookie, 16))) for cookie, reg, metadata, mac in found
        ]

    def _forwarding(self) -> list[tuple[int, int]]:
        text = self.node.ofctl("dump-flows", BRIDGE, f"table={p.FLOOD.id}", "--no-stats")
        found = re.findall(r"cookie=(\w+), .*metadata=(\w+)/", text)
        return [(int(metadata, 16) & 0xFFFFFFFF, p.note_of(int(cookie, 16))) for cookie, metadata in found]

    def _taking(self) -> list[tuple[int, str | None, int]]:
        text = self.node.ofctl("dump-flows", BRIDGE, f"table={p.CLASSIFY.id}", "--no-stats")
        found = re.findall(r"cookie=(\w+), .*tun_id=(\w+),(?:tun_src=([\d.]+),)?", text)
        return [(int(vni, 0), source or None, p.note_of(int(cookie, 16))) for cookie, vni, source in found]


def _ucast_remote(row: Any, complain: Any) -> Any:
    locator = hwvtep.read_locator(row.locator)
    return hwvtep.ucast_remote(str(row.uuid), row.MAC, str(row.logical_switch.uuid), locator)


READERS = {**hwvtep.READERS, hwvtep.REMOTES: (UcastRemote, _ucast_remote)}
"""The package's IDL has all rows as objects."""


def _follow(remote: str, database: str, columns: Any) -> Any:
    schema = f"/usr/share/openvswitch/{'vtep' if database == 'hardware_vtep' else 'vswitch'}.ovsschema"
    helper = ovs.db.idl.SchemaHelper(location=schema)
    for table, names in columns.items():
        helper.register_columns(table, list(names))
    return ovs.db.idl.Idl(remote, helper)


def _catch_up(idl: Any) -> None:
    """Take in what has come. Who compares does so until it is equal: what is still under way counts then."""
    seen = -1
    while not idl.has_ever_connected() or idl.change_seqno != seen:
        seen = idl.change_seqno
        poller = ovs.poller.Poller()
        idl.wait(poller)
        poller.timer_wait(10)
        poller.block()
        idl.run()


def _read(read: Any, row: Any) -> Any:
    try:
        return read(row, lambda *_: None)
    except hwvtep.BadValue:
        return None


def _send(path: str, requests: list[Any]) -> None:
    """Send messages to a switch that listens at this path, and see that it takes all of them."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(path)
        data = bytearray()
        for request in [parser.OFPHello(DATAPATH), *requests, parser.OFPBarrierRequest(DATAPATH)]:
            request.set_xid(1)
            request.serialize()
            data += request.buf
        connection.sendall(data)
        stream = connection.makefile("rb")
        while True:
            header = stream.read(8)
            _, kind, length, _ = struct.unpack("!BBHI", header)
            body = stream.read(length - 8)
            assert kind != ofp.OFPT_ERROR, f"the switch refuses: {body[:4].hex()}"
            if kind == ofp.OFPT_BARRIER_REPLY:
                return
