"""Flows and buckets as ``ovs-ofctl -O OpenFlow13`` prints them, so that they can be found in what it prints."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import (
    Action,
    Bucket,
    Field,
    Flow,
    Match,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    Set,
    ToController,
    ToGroup,
    Value,
)

ORDER = ("reg1", "reg2", "tunnel_id", "tun_ipv4_src", "tun_ipv4_dst", "metadata", "in_port", "vlan_vid")
"""In which fields are printed; the addresses of frames follow, the source first."""

NAMES = {
    "tunnel_id": "tun_id",
    "tun_ipv4_src": "tun_src",
    "tun_ipv4_dst": "tun_dst",
    "eth_src": "dl_src",
    "eth_dst": "dl_dst",
}
METADATA = p.SWITCH.oxm
WHOLE = 0xFFFFFFFFFFFFFFFF


def flow_text(flow: Flow) -> str:
    """A flow, without its cookie and what it has counted."""
    timeout = [f"idle_timeout={flow.idle_timeout}"] if flow.idle_timeout else []
    matches = ",".join((f"priority={int(flow.priority)}", *_matches(flow.match)))
    actions = ",".join(_instructions(flow)) or "drop"
    return f"{', '.join((f'table={flow.table.id}', *timeout, matches))} actions={actions}"


def bucket_text(bucket: Bucket) -> str:
    """A bucket of a group."""
    watch = "" if bucket.watch_port is None else f"watch_port:{bucket.watch_port},"
    return f"{watch}actions={','.join(map(_action, bucket.actions))}"


def _hex(number: int) -> str:
    return f"{number:#x}" if number else "0"


def _matches(matches: tuple[Match, ...]) -> Iterator[str]:
    """The conditions; those on parts of one field are one."""
    parts: dict[str, tuple[int, int]] = {}
    whole: dict[str, Match] = {}
    for match in matches:
        if match.field.width:
            value, mask = parts.get(match.field.oxm, (0, 0))
            assert isinstance(match.value, int)
            parts[match.field.oxm] = (value | match.value << match.field.shift, mask | _mask(match.field))
        else:
            whole[match.field.oxm] = match
    for oxm in (*ORDER, "eth_src", "eth_dst"):
        if oxm in parts:
            value, mask = parts[oxm]
            yield f"{oxm}={_hex(value)}" + ("" if mask == WHOLE else f"/{mask:#x}")
        elif oxm in whole:
            yield _match(whole[oxm])


def _match(match: Match) -> str:
    value, name = match.value, NAMES.get(match.field.oxm, match.field.oxm)
    if match.field is p.VLAN and isinstance(value, int):
        return f"dl_vlan={value & ~p.TAG}" if value & p.TAG else "vlan_tci=0x0000/0x1fff"
    shown = _value(match.field, value)
    return f"{name}={shown}" if match.mask is None else f"{name}={shown}/{match.mask}"


def _value(field: Field, value: Value) -> str:
    if isinstance(value, int) and field not in (p.IN_PORT, p.VLAN):
        return _hex(value)
    return str(value)


def _mask(field: Field) -> int:
    return (1 << field.width) - 1 << field.shift


def _instructions(flow: Flow) -> Iterator[str]:
    """What is done, in the order in which it is: the metadata are written last, as OpenFlow has it."""
    if flow.meter is not None:
        yield f"meter:{flow.meter}"
    value = mask = 0
    for action in flow.actions:
        if isinstance(action, Set) and action.field.oxm == METADATA:
            assert isinstance(action.value, int)
            value, mask = value | action.value << action.field.shift, mask | _mask(action.field)
        else:
            yield _action(action)
    if mask:
        yield f"write_metadata:{_hex(value)}" + ("" if mask == WHOLE else f"/{mask:#x}")
    if flow.goto is not None:
        yield f"goto_table:{flow.goto.id}"


def _action(action: Action) -> str:
    match action:
        case Set(field, _) if field is p.IN_PORT:
            return "load:0->NXM_OF_IN_PORT[]"
        case Set(field, value):
            return f"set_field:{_value(field, value)}->{NAMES.get(field.oxm, field.oxm)}"
        case PopVlan():
            return "pop_vlan"
        case PushVlan():
            return "push_vlan:0x8100"
        case Output(port):
            return f"output:{port}"
        case ToController(length):
            return f"CONTROLLER:{length}"
        case ToGroup(group):
            return f"group:{group}"
        case Resubmit(table):
            return f"resubmit(,{table.id})"
