"""The rows of Tunnel and the sessions that follow from them, for tests."""

from typing import Any

from apps.lab import Node
from apps.lab.database import listed
from apps.lab.node import OPEN_VSWITCH
from tests.system import support

VTEP, HYPERVISOR, PEER, OTHER = "10.2.2.1", "10.2.2.5", "10.2.2.8", "10.2.2.9"
VNI = 5000
MAC, LOCAL_IP, REMOTE_IP = "00:23:20:00:00:01", "169.254.1.0", "169.254.1.1"
"""What vtep(5) has for BFD packets by default: the MAC address of both ends, and what their IP addresses are."""


def reset(node: Node) -> None:
    """Leave the VTEP at VTEP with ls0 at p0 that uses the hypervisor and the peer, and with BFD nowhere."""
    for port in ("p0", "p1"):
        node.run("vtep-ctl", "unbind-ls", "br0", port, "0", check=False)
    node.wait_until(lambda: not node.rows("Tunnel"), what="no tunnel")
    for switch in node.vtep_ctl("list-ls").split():
        node.vtep_ctl("clear-remote-macs", switch)
        node.wait_until(lambda switch=switch: node.vtep_ctl("del-ls", switch) == "", what="no logical switch")
    support.add_logical_switch(node, "ls0", VNI, HYPERVISOR, PEER)
    support.bind(node, "ls0", "p0")
    wait_tunnels(node, HYPERVISOR, PEER)


def tunnels(node: Node) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows that a physical switch has, by their addresses."""
    (switch,) = node.rows("Physical_Switch")
    locators = {row["_uuid"]: row["dst_ip"] for row in node.rows("Physical_Locator")}
    rows = [row for row in node.rows("Tunnel") if row["_uuid"] in listed(switch["tunnels"])]
    return {(locators[row["local"]], locators[row["remote"]]): row for row in rows}


def tunnel(node: Node, remote: str) -> dict[str, Any]:
    """The row of a tunnel from our first address."""
    return tunnels(node)[VTEP, remote]


def wait_tunnels(node: Node, *remotes: str) -> None:
    """Wait until there are rows for tunnels to these, one each, and no others."""
    wanted = {(VTEP, remote) for remote in remotes}
    node.wait_until(lambda: tunnels(node).keys() == wanted, what=f"tunnels to {remotes}")
    assert len(node.rows("Tunnel")) == len(remotes)


def configure(node: Node, remote: str, column: str, **values: Any) -> None:
    """Give a column of a tunnel's row these values and no others."""
    pairs = [[key, str(value).lower()] for key, value in values.items()]
    where = [["_uuid", "==", ["uuid", tunnel(node, remote)["_uuid"]]]]
    node.transact({"op": "update", "table": "Tunnel", "where": where, "row": {column: ["map", pairs]}})


def session(node: Node, remote: str) -> dict[str, Any] | None:
    """The Interface row of the port with BFD to a remote address."""
    rows = node.rows("Interface", OPEN_VSWITCH)
    return next((row for row in rows if row["options"].get("remote_ip") == remote), None)


def status(node: Node, remote: str) -> dict[str, str]:
    """bfd_status of a tunnel."""
    found: dict[str, str] = tunnel(node, remote)["bfd_status"]
    return found


def wait_status(node: Node, remote: str, timeout: float = 10, **wanted: str) -> dict[str, str]:
    """Wait until bfd_status has all this; return the whole of it."""
    node.wait_until(lambda: wanted.items() <= status(node, remote).items(), timeout, f"{wanted} with {remote}")
    return status(node, remote)
