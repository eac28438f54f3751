"""What Open vSwitch's ``ovs-vtep`` leaves of a bridge that it served, which is removed when this program takes it over.

It has a bridge for each logical switch, a pair of patch ports for each binding, flows without a cookie, and one bridge
for BFD, which all of them share that run on a machine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vtep_ryu import __version__
from vtep_ryu.command.bridge import Failure
from vtep_ryu.command.databases import OPEN_VSWITCH, TIMEOUT, Databases, NoAnswer, listed
from vtep_ryu.command.steps import Steps, run

BFD_BRIDGE = "vtep_bfd"
LOGICAL_SWITCH = "vtep_logical_switch"
"""The key in the external_ids of its other bridges."""

_SOCKET = re.compile(r"ovs-vtep\.(\d+)\.ctl")
_PATCH_PORT = re.compile(r"\d{4}-.+-p")


def refuse_while_running(name: str, directory: Path) -> Steps[None]:
    """See that no ovs-vtep serves the bridge: each would undo what the other does.

    Raises Failure where one does.
    """
    for pid, words in (yield from _running(directory)).items():
        if name in words:
            raise Failure(f"{name} is served by ovs-vtep, process {pid}: end that first (ovs-appctl -t ovs-vtep exit)")


def remove(name: str, databases: Databases, directory: Path) -> Steps[str]:
    """Remove what one has left of this bridge; say what that was, in some words, or nothing.

    Raises NoAnswer.
    """
    rows = yield from databases.rows(OPEN_VSWITCH, "Bridge", "name", "ports", "external_ids")
    its = {row["name"] for row in rows if row["external_ids"].get(LOGICAL_SWITCH) == "true"}
    bridges = {each for each in its if re.fullmatch(rf"{re.escape(name)}_vtep_ls\d+", each)}
    if its == bridges and not (yield from _running(directory)):
        bridges |= {row["name"] for row in rows if row["name"] == BFD_BRIDGE}
    ports = yield from _patch_ports(databases, next((listed(row["ports"]) for row in rows if row["name"] == name), []))
    if not bridges and not ports:
        return ""
    numbers = [number for each in ports.values() for number in listed(each) if number > 0]
    flows = "".join(f"in_port={number}\nout_port={number}\n" for number in numbers)
    if flows:
        # Without ovs-vswitchd there are none, and this says so.
        yield from run("ovs-ofctl", TIMEOUT, "--protocols=OpenFlow10,OpenFlow13", "del-flows", name, "-", stdin=flows)
    commands: list[tuple[str, ...]] = [("--if-exists", "del-br", each) for each in sorted(bridges)]
    commands += [("--if-exists", "del-port", name, each) for each in sorted(ports)]
    remotes = f"--db={','.join(databases.remotes[OPEN_VSWITCH])}"
    words = (word for each in commands for word in ("--", *each))
    done = yield from run("ovs-vsctl", TIMEOUT, *databases.tls, "--no-wait", remotes, *words)
    if done.error:
        raise NoAnswer(f"{OPEN_VSWITCH}: {done.error}")
    return ", ".join([*sorted(bridges), *sorted(ports)])


def _patch_ports(databases: Databases, uuids: list[str]) -> Steps[dict[str, Any]]:
    """Those of these ports that are the bridge's half of a binding, with their OpenFlow numbers."""
    columns = ("name", "ofport", "options")
    patches = yield from databases.rows(OPEN_VSWITCH, "Interface", *columns, type="patch")
    halves = {
        row["name"]: row["ofport"]
        for row in patches
        if _PATCH_PORT.fullmatch(row["name"]) and row["options"].get("peer") == f"{row['name'][:-2]}-l"
    }
    if not halves:
        return {}
    ports = yield from databases.rows(OPEN_VSWITCH, "Port", "_uuid", "name")
    return {row["name"]: halves[row["name"]] for row in ports if row["_uuid"] in uuids and row["name"] in halves}


def _running(directory: Path) -> Steps[dict[int, list[str]]]:
    """The ovs-vtep that run, each with the words of its command line; a link to this program can have their name."""
    found = {}
    for socket in sorted(directory.glob("ovs-vtep.*.ctl")):
        match = _SOCKET.fullmatch(socket.name)
        if match is None:
            continue
        done = yield from run("ovs-appctl", TIMEOUT, f"--target={socket}", "version")
        # Theirs answers between two rounds alone, of which one can be longer than that.
        if done.is_silent or (not done.error and __version__ not in done.output.split()):
            found[int(match[1])] = _words(int(match[1]))
    return found


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
