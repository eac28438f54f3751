"""A controller that writes to a node's hardware_vtep, and what its frames do then."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from typing import Any, TypeAlias

from apps.lab import Capture, Frame, Host, Lab, Node, Tag, Vxlan
from apps.lab.database import listed
from apps.lab.frames import BROADCAST
from tests.system.support import set_up

UNSET = ["set", []]
Locator: TypeAlias = str | tuple[str, int]
SETTLE = "settle"
_SETTLE_KEYS = count(0xF00000)
_frame_numbers = count(1)


class Nvc:
    """A network virtualization controller: each method is one transaction, and returns once the switch follows it.

    A locator is given by its address, or by address and tunnel_key if it has one.
    """

    def __init__(self, node: Node) -> None:
        """The controller of a node that is a VTEP. A port and a logical switch of its own tell it what is done."""
        self.node = node
        node.vsctl("add-port", "br0", SETTLE, "--", "set", "Interface", SETTLE, "type=internal")
        self.logical_switch(SETTLE, settle=False)
        self.bind({SETTLE: {0: SETTLE}})

    def settle(self) -> None:
        """Wait until the switch has what the database says now: what is written last is on the switch last."""
        key = next(_SETTLE_KEYS)
        self._update("Logical_Switch", "name", SETTLE, {"tunnel_key": key})
        flows = ("dump-flows", "br0", f"metadata={key}/0xffffffff")
        followed = "the switch to follow the database"
        self.node.wait_until(lambda: "actions=" in self.node.ofctl(*flows), timeout=60, what=followed)
        # The datapath caches what the flows made of earlier packets, and revalidates that a moment later.
        self.node.appctl("ovs-vswitchd", "revalidator/purge")

    def write(self, *operations: dict[str, Any], settle: bool = True) -> None:
        """Any operations (RFC 7047 section 5.2)."""
        self.node.transact(*operations)
        if settle:
            self.settle()

    def logical_switch(self, name: str, settle: bool = True, **columns: Any) -> None:
        """Add a logical switch, or set columns of it."""
        if self._uuid("Logical_Switch", "name", name):
            self._update("Logical_Switch", "name", name, columns)
        else:
            self.node.transact({"op": "insert", "table": "Logical_Switch", "row": {"name": name, **columns}})
        if settle:
            self.settle()

    def bind(self, ports: Mapping[str, Mapping[int, str]]) -> None:
        """Give ports exactly these bindings: {port: {VLAN: logical switch}}."""
        for port in ports:
            self.node.wait_until(
                lambda port=port: self._uuid("Physical_Port", "name", port), what=f"Physical_Port {port}"
            )
        names = {row["name"]: row["_uuid"] for row in self.node.rows("Logical_Switch")}
        rows = {
            port: ["map", [[vlan, ["uuid", names[switch]]] for vlan, switch in vlans.items()]]
            for port, vlans in ports.items()
        }
        updates = (_update("Physical_Port", "name", port, {"vlan_bindings": row}) for port, row in rows.items())
        self.write(*updates)

    def _write_anew(self, operations: Callable[[], list[dict[str, Any]]], settle: bool = True) -> None:
        """Write what refers to locators, made anew where one of them goes meanwhile: its tunnel was its last use."""
        self.node.wait_until(lambda: self.node.transact(*operations()), what="locators that stay")
        if settle:
            self.settle()

    def unicast(self, switch: str, macs: Mapping[str, Locator], settle: bool = True) -> None:
        """Add rows to Ucast_Macs_Remote: {MAC: locator}."""
        self._write_anew(lambda: self._unicast(switch, macs), settle)

    def _unicast(self, switch: str, macs: Mapping[str, Locator]) -> list[dict[str, Any]]:
        inserts, locators = self._locators(macs.values())
        reference = ["uuid", self._uuid("Logical_Switch", "name", switch)]
        for mac, ip in macs.items():
            row = {"MAC": mac, "logical_switch": reference, "locator": locators[ip]}
            inserts.append({"op": "insert", "table": "Ucast_Macs_Remote", "row": row})
        return inserts

    def move_unicast(self, mac: str, ip: Locator) -> None:
        """Change the locator of a row of Ucast_Macs_Remote."""
        inserts, locators = self._locators([ip])
        self.write(*inserts, _update("Ucast_Macs_Remote", "MAC", mac, {"locator": locators[ip]}))

    def multicast(self, switch: str, mac: str, *ips: Locator, settle: bool = True) -> None:
        """Add a row to Mcast_Macs_Remote, or give the one that is there another locator set."""
        self._write_anew(lambda: self._multicast(switch, mac, *ips), settle)

    def replicate(self, switch: str, mode: str, *ips: Locator) -> None:
        """Change the mode of a logical switch and the members of its unknown-dst in one transaction."""
        update = _update("Logical_Switch", "name", switch, {"replication_mode": mode})
        self._write_anew(lambda: [update, *self._multicast(switch, "unknown-dst", *ips)])

    def _multicast(self, switch: str, mac: str, *ips: Locator) -> list[dict[str, Any]]:
        operations, locators = self._locators(ips)
        members = ["set", [locators[ip] for ip in ips]]
        new = {"op": "insert", "table": "Physical_Locator_Set", "row": {"locators": members}, "uuid-name": "members"}
        reference = ["uuid", self._uuid("Logical_Switch", "name", switch)]
        row = {"MAC": mac, "logical_switch": reference, "locator_set": ["named-uuid", "members"]}
        where = [["MAC", "==", mac], ["logical_switch", "==", reference]]
        known = any(each["MAC"] == mac and each["logical_switch"] == reference[1] for each in self._mcast_remotes())
        put = {"op": "update", "where": where} if known else {"op": "insert"}
        return [*operations, new, {**put, "table": "Mcast_Macs_Remote", "row": row}]

    def rekey(self, *keys: tuple[Locator, int | None]) -> None:
        """Change the tunnel_key of locators: (locator as it is, its new key or None for none)."""
        known = {_locator(row): row["_uuid"] for row in self.node.rows("Physical_Locator")}
        self.write(
            *(
                {
                    "op": "update",
                    "table": "Physical_Locator",
                    "where": [["_uuid", "==", ["uuid", known[locator]]]],
                    "row": {"tunnel_key": UNSET if key is None else key},
                }
                for locator, key in keys
            )
        )

    def delete(self, table: str, mac: str, switch: str = "ls0") -> None:
        """Delete the rows of a logical switch for an address."""
        reference = ["uuid", self._uuid("Logical_Switch", "name", switch)]
        where = [["MAC", "==", mac], ["logical_switch", "==", reference]]
        self.write({"op": "delete", "table": table, "where": where})

    def clear(self) -> None:
        """Delete everything that any method but the constructor wrote."""
        ports = [_update("Physical_Port", "name", port, {"vlan_bindings": ["map", []]}) for port in self._bound()]
        tables = ("Ucast_Macs_Remote", "Mcast_Macs_Remote")
        self.write(*ports, *({"op": "delete", "table": table, "where": []} for table in tables))
        everything = {"op": "delete", "table": "Logical_Switch", "where": [["name", "!=", SETTLE]]}
        # The server refuses for as long as rows of the application's own refer to them.
        self.node.wait_until(lambda: self.node.transact(everything), what="the logical switches to be unused")

    def _bound(self) -> list[str]:
        return [
            row["name"] for row in self.node.rows("Physical_Port") if row["vlan_bindings"] and row["name"] != SETTLE
        ]

    def _mcast_remotes(self) -> list[dict[str, Any]]:
        return self.node.rows("Mcast_Macs_Remote")

    def _locators(self, ips: Iterable[Locator]) -> tuple[list[dict[str, Any]], dict[Locator, list[str]]]:
        """The operations that make the locators that are missing, and a reference to each."""
        known = {_locator(row): ["uuid", row["_uuid"]] for row in self.node.rows("Physical_Locator")}
        missing = {ip: ["named-uuid", f"locator{n}"] for n, ip in enumerate(dict.fromkeys(ips)) if ip not in known}
        inserts: list[dict[str, Any]] = []
        for locator, (_, name) in missing.items():
            ip, key = (locator, UNSET) if isinstance(locator, str) else locator
            row = {"encapsulation_type": "vxlan_over_ipv4", "dst_ip": ip, "tunnel_key": key}
            inserts.append({"op": "insert", "table": "Physical_Locator", "row": row, "uuid-name": name})
        return inserts, known | missing

    def _uuid(self, table: str, column: str, value: str) -> str | None:
        return next((row["_uuid"] for row in self.node.rows(table) if row[column] == value), None)

    def _update(self, table: str, column: str, value: str, row: Mapping[str, Any]) -> None:
        self.node.transact(_update(table, column, value, row))


def _locator(row: Mapping[str, Any]) -> Locator:
    return (row["dst_ip"], row["tunnel_key"]) if listed(row["tunnel_key"]) else row["dst_ip"]


def _update(table: str, column: str, value: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"op": "update", "table": table, "where": [[column, "==", value]], "row": dict(row)}


def new_frame(src: str, dst: str = BROADCAST, *vids: int, size: int = 46, tags: tuple[Tag, ...] = ()) -> Frame:
    """A frame whose payload no other has; `size` is the payload's in bytes."""
    payload = next(_frame_numbers).to_bytes(8) + bytes(n & 0xFF for n in range(8, size))
    return Frame(dst, src, payload, tags=tags or tuple(Tag(vid) for vid in vids))


def is_payload(frame: Frame) -> Callable[[Frame], bool]:
    """A predicate: whether a frame, or the one in its tunnel, carries this one's payload."""
    return lambda each: frame.payload in each.payload


def arrivals(sender: Host, *frames: Frame, marker: Frame, at: Iterable[Host]) -> list[list[Frame]]:
    """What arrives at each of the hosts when these frames are sent and then the marker, which each of them gets.

    The marker is left out.
    """
    with ExitStack() as stack:
        captures = [stack.enter_context(host.capture()) for host in at]
        sender.send(*frames)
        return _before([(capture, marker) for capture in captures], lambda: sender.send(marker))


def _before(captures: Sequence[tuple[Capture, Frame]], send_markers: Callable[[], None]) -> list[list[Frame]]:
    """What was captured before each one's marker, markers left out.

    Open vSwitch reads frames in batches, and carries out last what it has cached flows for: a marker can overtake what
    was sent before it. One that is sent when another has arrived cannot.
    """
    markers = [marker for _, marker in captures]
    for _ in range(2):
        send_markers()
        came = [capture.until(is_payload(marker)) for capture, marker in captures]
    return [[each for each in frames if not any(is_payload(marker)(each) for marker in markers)] for frames in came]


def unordered(frames: Iterable[Frame]) -> list[Frame]:
    """The frames in an order that does not depend on that of their arrival."""
    return sorted(frames, key=Frame.pack)


def tunnelled(frames: Iterable[Frame], destination: str = "") -> list[Vxlan]:
    """The VXLAN datagrams among the frames; only those to a destination if one is given."""
    datagrams = (Vxlan.parse(frame) for frame in frames)
    return [each for each in datagrams if each and destination in ("", each.destination)]


VTEP = "10.2.2.1"


class Site:
    """A VTEP at 10.2.2.1 with a host at each of its ports, machines that speak VXLAN by hand, and its controller."""

    def __init__(self, lab: Lab, ports: Iterable[str], peers: Iterable[str], *options: str) -> None:
        """`peers` are addresses on the underlay, `options` the application's."""
        self.lab = lab
        self.node = lab.node("a", f"{VTEP}/24")
        set_up(self.node, *options)
        self.hosts = {port: self.node.add_port(port) for port in ports}
        self.peers = {ip: lab.peer(f"peer{ip.rpartition('.')[2]}", f"{ip}/24") for ip in peers}
        self.nvc = Nvc(self.node)
        self._markers = {ip: lab.new_mac() for ip in self.peers}

    def reset(self, key: int = 5000, **columns: Any) -> Nvc:
        """An empty database but for ls0, with this tunnel key, to which VLAN 0 of every port is bound."""
        self.nvc.clear()
        self.nvc.logical_switch("ls0", settle=False, tunnel_key=key, **columns)
        self.nvc.unicast("ls0", {mac: ip for ip, mac in self._markers.items()}, settle=False)
        self.nvc.bind({port: {0: "ls0"} for port in self.hosts})
        return self.nvc

    def carried(self, sender: Host, *frames: Frame) -> dict[str, list[Vxlan]]:
        """What arrives at each peer when a host sends these frames into ls0."""
        markers = [new_frame(sender.mac, mac) for mac in self._markers.values()]
        with ExitStack() as stack:
            captures = [stack.enter_context(peer.capture()) for peer in self.peers.values()]
            sender.send(*frames)
            came = _before(list(zip(captures, markers, strict=True)), lambda: sender.send(*markers))
        # Of what goes to a machine that has not sent anything yet, the others on the underlay see a copy.
        return {ip: tunnelled(each, ip) for ip, each in zip(self.peers, came, strict=True)}

    def delivered(self, source: str, vni: int, *frames: Frame, marker: Frame, sent_by: str = "") -> list[list[Frame]]:
        """What arrives at each host when a peer sends these frames and then, with VNI 5000, the marker.

        The address they come from is `sent_by`, or else the peer's own. The marker is left out.
        """
        peer = self.peers[source]
        with ExitStack() as stack:
            captures = [stack.enter_context(host.capture()) for host in self.hosts.values()]
            for frame in frames:
                peer.send_vxlan(frame, vni, to=VTEP, source=sent_by)
            return _before([(capture, marker) for capture in captures], lambda: peer.send_vxlan(marker, 5000, to=VTEP))
