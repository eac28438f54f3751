"""The bridge that is to be served: whether it is there with its row, and where its controller is."""

from __future__ import annotations

from dataclasses import dataclass

from vtep_ryu.command.databases import HARDWARE_VTEP, OPEN_VSWITCH, TIMEOUT, Databases, NoAnswer, listed, plain, select
from vtep_ryu.command.steps import Steps, run
from vtep_ryu.core.marks import FAIL_MODE_BEFORE

ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


class Failure(Exception):
    """The program cannot do what it was asked to; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A row of Bridge: its controllers' UUIDs by target, its fail_mode (empty for none), its external_ids."""

    controllers: dict[str, str]
    fail_mode: str
    external_ids: dict[str, str]


def find(databases: Databases, name: str) -> Steps[Bridge | None]:
    """The bridge of this name, if there is one.

    Raises NoAnswer.
    """
    bridges, controllers = yield from databases.transact(
        OPEN_VSWITCH,
        select("Bridge", [["name", "==", name]], ["controller", "fail_mode", "external_ids"]),
        select("Controller", [], ["_uuid", "target"]),
    )
    if not bridges["rows"]:
        return None
    (row,) = ({column: plain(value) for column, value in each.items()} for each in bridges["rows"])
    targets = {plain(each["_uuid"]): each["target"] for each in controllers["rows"]}
    its = {targets[uuid]: uuid for uuid in listed(row["controller"])}
    return Bridge(its, "".join(listed(row["fail_mode"])), row["external_ids"])


def look_up(databases: Databases, name: str) -> Steps[Bridge]:
    """The bridge of this name.

    Raises Failure where there is none, NoAnswer.
    """
    found = yield from find(databases, name)
    if found is None:
        raise Failure(f"there is no bridge {name} (ovs-vsctl add-br {name})")
    return found


def has_row(databases: Databases, name: str) -> Steps[bool]:
    """Whether there is a Physical_Switch row of this name.

    Raises NoAnswer.
    """
    return bool((yield from databases.rows(HARDWARE_VTEP, "Physical_Switch", "name", name=name)))


def check_row(databases: Databases, name: str) -> Steps[None]:
    """See that there is one.

    Raises Failure where there is none, NoAnswer.
    """
    if not (yield from has_row(databases, name)):
        raise Failure(f"there is no physical switch {name} in hardware_vtep (vtep-ctl add-ps {name})")


def target(listens: str) -> str:
    """Where a switch on this machine connects to what listens there."""
    scheme, _, rest = listens.partition(":")
    host, _, port = rest.rpartition(":")
    return f"{scheme}:{ANYWHERE.get(host, host)}:{port}"


def point(databases: Databases, name: str, at: str) -> Steps[bool]:
    """Have the bridge connect there; return False where it does already, and nothing is touched.

    Raises Failure where there is no such bridge, NoAnswer.
    """
    there = yield from look_up(databases, name)
    if at in there.controllers:
        return False
    note = [] if there.fail_mode == "secure" else [f'external_ids:{FAIL_MODE_BEFORE}="{there.fail_mode}"']
    done = yield from run(
        *("ovs-vsctl", TIMEOUT, *databases.tls, "--no-wait", f"--db={','.join(databases.remotes[OPEN_VSWITCH])}"),
        *("set-controller", name, at, "--", "set", "Bridge", name, "fail_mode=secure", *note),
        *("--", "set", "Controller", name, "connection_mode=out-of-band"),
    )
    if done.error:
        raise NoAnswer(f"{OPEN_VSWITCH}: {done.error}")
    return True
