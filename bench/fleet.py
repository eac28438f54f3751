"""python -m bench.fleet DATABASE: switches that are not there, as OpenFlow controllers and Open_vSwitch see them.

Each Bridge row is a switch that connects to its controllers and does with their messages what Open vSwitch does, as far
as the application sends such: it keeps flows and groups, in bundles or not, has a master and slaves, and forwards
nothing. So one process is more switches than the machine could carry otherwise. It is for measuring alone;
tests/system/test_fleet.py holds it to a bridge of Open vSwitch that gets the same messages.

Ports have the numbers that their Interface rows ask for. A line is printed for each flow that comes or goes whose
destination begins with WATCHED.
"""

import asyncio
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from apps.lab.database import Connection, listed, plain
from vtep_ryu.core.pipeline import UNICAST

WATCHED = 0x0E
READY = "the fleet is there"
RECONNECT_SECONDS = 1.0
"""As max_backoff of the application has it."""
CONNECTED_SECONDS = 5.0
"""Between two times that is_connected is written, as in Open vSwitch."""

HEADER = struct.Struct("!BBHI")
FLOW_MOD = struct.Struct("!QQBBHHHIIIH2x")
FLOW_STATS = struct.Struct("!HBxIIHHHH4xQQQ")
FLOW_REQUEST = struct.Struct("!B3xII4xQQ")
PORT = struct.Struct("!I4x6s2x16sIIIIIIII")
PORT_COUNTERS = struct.Struct("!I4x12QII")
GROUP_MOD = struct.Struct("!HBxI")
ROLE = struct.Struct("!I4xQ")
EXPERIMENTER = struct.Struct("!II")
BUNDLE = struct.Struct("!IHH")

HELLO, ERROR, ECHO, FEATURES, GET_CONFIG, SET_CONFIG, EXPERIMENT = 0, 1, 2, 5, 7, 9, 4
FLOW, GROUP, MULTIPART, BARRIER, ROLES = 14, 15, 18, 20, 24
ONF, BUNDLE_CONTROL, BUNDLE_ADD, ROLE_STATUS = 0x4F4E4600, 2300, 2301, 1911
OPEN, COMMIT = 0, 4
ANY_TABLE, ADD, DELETE, DELETE_STRICT = 255, 0, 3, 4
GROUP_ADD_OR_MODIFY, GROUP_DELETE = 0x8000, 2
MASTER, SLAVE = 2, 3
NO_GENERATION = (1 << 64) - 1
IS_SLAVE, STALE = (1, 10), (11, 0)
LOCAL_PORT = 0xFFFFFFFE
REPLY_MORE, MOST = 1, 60_000
ETH_DST = b"\x80\x00\x06\x06"
"""The OXM header of a flow's destination."""

FlowKey = tuple[int, int, bytes]
"""Table, priority, match."""


class Switch:
    """What one of them has. The connections are its controllers' and, on its management socket, anybody's."""

    def __init__(self, name: str, datapath_id: int, ports: dict[str, int]) -> None:
        self.name = name
        self.datapath_id = datapath_id
        self.ports = ports
        self.flows: dict[FlowKey, tuple[int, int, int, bytes]] = {}
        """Cookie, flags, idle timeout, instructions."""
        self.groups: dict[int, tuple[int, bytes]] = {}
        self.generation = NO_GENERATION
        self.connections: set[Control] = set()

    def lead(self, leader: "Control") -> None:
        """One connection becomes the master, and who was it is told that it is a slave."""
        for each in self.connections - {leader}:
            if each.role == MASTER:
                each.role = SLAVE
                status = struct.pack("!IB3xQ", SLAVE, 0, self.generation)
                each.send(EXPERIMENT, 0, EXPERIMENTER.pack(ONF, ROLE_STATUS) + status)

    def change(self, kind: int, body: bytes) -> None:
        """Take in a flow mod or a group mod."""
        if kind == GROUP:
            command, group_type, group = GROUP_MOD.unpack_from(body)
            if command == GROUP_ADD_OR_MODIFY:
                self.groups[group] = (group_type, body[GROUP_MOD.size :])
            else:
                assert command == GROUP_DELETE, command
                self.groups.pop(group, None)
            return
        cookie, mask, table, command, idle, _, priority, _, _, _, flags = FLOW_MOD.unpack_from(body)
        match, end = _match(body, FLOW_MOD.size)
        key = (table, priority, match)
        if command == ADD:
            if key not in self.flows:
                self._tell("ADDED", key)
            self.flows[key] = (cookie, flags, idle, body[end:])
            return
        assert command in (DELETE, DELETE_STRICT), command
        keys: Iterable[FlowKey] = self.select(table, cookie, mask, match) if command == DELETE else (key,)
        for each in [each for each in keys if each in self.flows and not (self.flows[each][0] ^ cookie) & mask]:
            del self.flows[each]
            self._tell("DELETED", each)

    def select(self, table: int, cookie: int, mask: int, match: bytes) -> Iterator[FlowKey]:
        """The flows of a table, or of all, with such a cookie that match all of this."""
        wanted = set(_fields(match))
        for key, (has, *_) in self.flows.items():
            is_chosen = table in (key[0], ANY_TABLE) and not (has ^ cookie) & mask
            if is_chosen and (not wanted or wanted.issubset(_fields(key[2]))):
                yield key

    def _tell(self, event: str, key: FlowKey) -> None:
        table, _, match = key
        if table == UNICAST.id and (place := match.find(ETH_DST)) >= 0 and match[place + 4] == WATCHED:
            print(f"event={event} {self.name} dl_dst={match[place + 4 : place + 10].hex(':')}", flush=True)


class Control(asyncio.Protocol):
    """One OpenFlow connection of a switch."""

    def __init__(self, switch: Switch, lost: Callable[[], None] = lambda: None) -> None:
        self.role = 1
        self._switch = switch
        self._lost = lost
        self._left = b""
        self._bundles: dict[int, list[tuple[int, bytes]]] = {}
        self._answers: dict[int, Callable[[int, bytes], None]] = {
            ECHO: lambda xid, body: self.send(ECHO + 1, xid, body),
            BARRIER: lambda xid, _: self.send(BARRIER + 1, xid),
            GET_CONFIG: lambda xid, _: self.send(GET_CONFIG + 1, xid, b"\0\0\0\x80"),
            FEATURES: self._features,
            ROLES: self._role,
            FLOW: lambda xid, body: self._change(FLOW, xid, body),
            GROUP: lambda xid, body: self._change(GROUP, xid, body),
            EXPERIMENT: self._bundle,
            MULTIPART: self._multipart,
            **dict.fromkeys((HELLO, ERROR, ECHO + 1, SET_CONFIG), lambda xid, body: None),
        }

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._switch.connections.add(self)
        self.send(HELLO, 0)

    def connection_lost(self, error: Exception | None) -> None:
        self._switch.connections.discard(self)
        self._lost()

    def data_received(self, data: bytes) -> None:
        data, start = self._left + data, 0
        while len(data) - start >= HEADER.size:
            _, kind, length, xid = HEADER.unpack_from(data, start)
            if start + length > len(data):
                break
            self._answers[kind](xid, data[start + HEADER.size : start + length])
            start += length
        self._left = data[start:]

    def send(self, kind: int, xid: int, body: bytes = b"") -> None:
        """Send a message."""
        self._transport.write(HEADER.pack(4, kind, HEADER.size + len(body), xid) + body)

    def _refuse(self, why: tuple[int, int], kind: int, xid: int, body: bytes) -> None:
        began = (HEADER.pack(4, kind, HEADER.size + len(body), xid) + body)[:64]
        self.send(ERROR, xid, struct.pack("!HH", *why) + began)

    def _features(self, xid: int, _: bytes) -> None:
        self.send(FEATURES + 1, xid, struct.pack("!QIBB2xII", self._switch.datapath_id, 0, 254, 0, 0x4F, 0))

    def _role(self, xid: int, body: bytes) -> None:
        switch, (role, generation) = self._switch, ROLE.unpack_from(body)
        if role in (MASTER, SLAVE):
            if switch.generation != NO_GENERATION and (generation - switch.generation) % (1 << 64) >= 1 << 63:
                self._refuse(STALE, ROLES, xid, body)
                return
            switch.generation = generation
        if role == MASTER:
            switch.lead(self)
        self.role = role or self.role
        self.send(ROLES + 1, xid, ROLE.pack(self.role, switch.generation))

    def _change(self, kind: int, xid: int, body: bytes) -> None:
        if self.role == SLAVE:
            self._refuse(IS_SLAVE, kind, xid, body)
        else:
            self._switch.change(kind, body)

    def _bundle(self, xid: int, body: bytes) -> None:
        experimenter, kind = EXPERIMENTER.unpack_from(body)
        bundle, request, flags = BUNDLE.unpack_from(body, EXPERIMENTER.size)
        assert experimenter == ONF, experimenter
        if self.role == SLAVE:
            self._refuse(IS_SLAVE, EXPERIMENT, xid, body)
        elif kind == BUNDLE_ADD:
            inner = body[EXPERIMENTER.size + BUNDLE.size :]
            self._bundles[bundle].append((HEADER.unpack_from(inner)[1], inner[HEADER.size :]))
        else:
            assert kind == BUNDLE_CONTROL, kind
            if request == OPEN:
                self._bundles[bundle] = []
            else:
                changes = self._bundles.pop(bundle)
                for each in changes if request == COMMIT else ():
                    self._switch.change(*each)
            answer = BUNDLE.pack(bundle, request + 1, flags)
            self.send(EXPERIMENT, xid, EXPERIMENTER.pack(ONF, BUNDLE_CONTROL) + answer)

    # What is asked for by multipart requests.

    def _multipart(self, xid: int, body: bytes) -> None:
        (kind,) = struct.unpack_from("!H", body)
        parts = {
            0: self._description,
            1: self._flows,
            2: self._aggregate,
            3: self._tables,
            4: self._port_counters,
            7: self._groups,
            9: lambda _: iter(()),
            10: lambda _: iter(()),
            11: lambda _: iter([struct.pack("!IIIBB2x", 65535, 2, 0xF, 1, 0)]),
            13: self._ports,
        }[kind](body[8:])
        reply = b""
        for part in parts:
            if len(reply) + len(part) > MOST:
                self.send(MULTIPART + 1, xid, struct.pack("!HH4x", kind, REPLY_MORE) + reply)
                reply = b""
            reply += part
        self.send(MULTIPART + 1, xid, struct.pack("!HH4x", kind, 0) + reply)

    def _description(self, _: bytes) -> Iterator[bytes]:
        yield struct.pack("!256s256s256s32s256s", b"", b"", b"", b"", self._switch.name.encode())

    def _chosen(self, request: bytes) -> Iterator[FlowKey]:
        table, _, _, cookie, mask = FLOW_REQUEST.unpack_from(request)
        return self._switch.select(table, cookie, mask, _match(request, FLOW_REQUEST.size)[0])

    def _flows(self, request: bytes) -> Iterator[bytes]:
        for key in self._chosen(request):
            (table, priority, match), (cookie, flags, idle, instructions) = key, self._switch.flows[key]
            length = FLOW_STATS.size + len(match) + len(instructions)
            yield FLOW_STATS.pack(length, table, 1, 0, priority, idle, 0, flags, cookie, 0, 0) + match + instructions

    def _aggregate(self, request: bytes) -> Iterator[bytes]:
        yield struct.pack("!QQI4x", 0, 0, sum(1 for _ in self._chosen(request)))

    def _tables(self, _: bytes) -> Iterator[bytes]:
        tables = [table for table, _, _ in self._switch.flows]
        return (struct.pack("!B3xIQQ", n, tables.count(n), 0, 0) for n in sorted(set(tables)))

    def _groups(self, _: bytes) -> Iterator[bytes]:
        for group, (kind, buckets) in self._switch.groups.items():
            yield struct.pack("!HBxI", 8 + len(buckets), kind, group) + buckets

    def _port_counters(self, request: bytes) -> Iterator[bytes]:
        yield PORT_COUNTERS.pack(*struct.unpack_from("!I", request), *(0,) * 14)

    def _ports(self, _: bytes) -> Iterator[bytes]:
        ports = [(LOCAL_PORT, self._switch.name), *((number, name) for name, number in self._switch.ports.items())]
        for number, name in ports:
            yield PORT.pack(number, bytes((2, *bytes(5))), name.encode(), *(0,) * 8)


def _match(body: bytes, start: int) -> tuple[bytes, int]:
    """The match that begins there, padded as it is, and where what comes after it does."""
    (length,) = struct.unpack_from("!2xH", body, start)
    end = start + (length + 7) // 8 * 8
    return body[start:end], end


def _fields(match: bytes) -> Iterator[bytes]:
    """What a match says of each field."""
    (end,), place = struct.unpack_from("!2xH", match), 4
    while place < end:
        after = place + 4 + match[place + 3]
        yield match[place:after]
        place = after


# The connections, and what Open_vSwitch is told of them.


class Fleet:
    """All of them."""

    def __init__(self, database: Path) -> None:
        self._database = Connection(database)
        self._targets: dict[str, dict[str, str]] = {}
        self._connected: dict[str, bool] = {}
        self._told: dict[str, bool] = {}
        self.switches = list(self._read())

    async def run(self, directory: Path) -> None:
        """Connect all, and keep them connected, for ever."""
        loop = asyncio.get_running_loop()
        for switch in self.switches:
            await loop.create_unix_server(lambda each=switch: Control(each), directory / f"{switch.name}.mgmt")
        print(READY, flush=True)
        keeping = [self._keep(each, *row) for each in self.switches for row in self._targets[each.name].items()]
        await asyncio.gather(self._tell(), *keeping)

    def _read(self) -> Iterator[Switch]:
        tables = ("Bridge", "Port", "Interface", "Controller")
        results = self._database.transact("Open_vSwitch", *({"op": "select", "table": t, "where": []} for t in tables))
        bridges, ports, interfaces, controllers = (
            {row["_uuid"][1]: {column: plain(value) for column, value in row.items()} for row in result["rows"]}
            for result in results
        )
        for bridge in bridges.values():
            self._targets[bridge["name"]] = {row: controllers[row]["target"] for row in listed(bridge["controller"])}
            mine = [interfaces[each] for port in listed(bridge["ports"]) for each in listed(ports[port]["interfaces"])]
            numbers = {each["name"]: each["ofport_request"] for each in mine if each["ofport_request"] != []}
            yield Switch(bridge["name"], int(bridge["datapath_id"], 16), numbers)

    async def _keep(self, switch: Switch, row: str, target: str) -> None:
        """Connect to a controller, and again when that is lost."""
        _, host, port = target.split(":")
        while True:
            lost = asyncio.Event()
            try:
                make = lambda lost=lost: Control(switch, lost.set)  # noqa: E731
                await asyncio.get_running_loop().create_connection(make, host, int(port))
                self._connected[row] = True
                await lost.wait()
            except OSError:
                pass
            self._connected[row] = False
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _tell(self) -> None:
        """Write who is connected."""
        while True:
            await asyncio.sleep(CONNECTED_SECONDS)
            news = dict(self._connected.items() - self._told.items())
            self._told |= news
            where = ((row, [["_uuid", "==", ["uuid", row]]]) for row in news)
            if operations := [_update("Controller", each, is_connected=news[row]) for row, each in where]:
                self._database.transact("Open_vSwitch", *operations)


def _update(table: str, where: list[Any], **row: Any) -> dict[str, Any]:
    return {"op": "update", "table": table, "where": where, "row": row}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    asyncio.run(Fleet(place).run(place.parent))
