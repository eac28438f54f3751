"""OpenFlow entries as values: flows, groups, meters, their matches and actions, and the text one reads them by.

The vocabulary (which tables and fields there are) is pipeline.py's; the OpenFlow messages are drivers/switch.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A match field or a part of one, under the name that the pipeline gives it. Each is made once.

    oxm is the OpenFlow 1.3 (or Nicira) field that carries it, shift and width (bits) its place in there; a width of 0
    means the whole field.
    """

    name: str
    oxm: str
    shift: int = 0
    width: int = 0


Value: TypeAlias = int | str
"""A field's value: an integer, or an address in its usual text form."""


@dataclass(frozen=True, slots=True)
class Match:
    """One condition of a flow: field == value, under a mask where one is given."""

    field: Field
    value: Value
    mask: Value | None = None

    def __str__(self) -> str:
        mask = "" if self.mask is None else f"/{self.mask}"
        return f"{self.field.name}={self.value}{mask}"


@dataclass(frozen=True, slots=True)
class Set:
    """Write a value to a field of the packet or of its metadata."""

    field: Field
    value: Value

    def __str__(self) -> str:
        return f"set {self.field.name}={self.value}"


@dataclass(frozen=True, slots=True)
class PopVlan:
    """Remove the outer VLAN tag."""

    def __str__(self) -> str:
        return "pop_vlan"


@dataclass(frozen=True, slots=True)
class PushVlan:
    """Add an 802.1Q tag (its VLAN id is set by a Set that follows)."""

    def __str__(self) -> str:
        return "push_vlan"


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of the port with this OpenFlow number."""

    port: int

    def __str__(self) -> str:
        return f"output {self.port}"


@dataclass(frozen=True, slots=True)
class ToController:
    """Copy the packet's first max_len bytes to the controller."""

    max_len: int

    def __str__(self) -> str:
        return "copy to controller"


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Let a group process a copy of the packet."""

    group_id: int

    def __str__(self) -> str:
        return f"group 0x{self.group_id:x}"


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in another table (Nicira extension) and come back."""

    table: Table

    def __str__(self) -> str:
        return f"resubmit {self.table.name}"


Action: TypeAlias = Set | PopVlan | PushVlan | Output | ToController | ToGroup | Resubmit


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The declaration of one table of the pipeline.

    fields are those its flows may match, leads_to the names of the tables its flows may hand a packet to, miss what
    happens to a packet that no flow matches (the name of the next table, or None to drop it), comment what the packet
    looks like here.
    """

    id: int
    name: str
    fields: frozenset[Field]
    leads_to: frozenset[str]
    miss: str | None
    comment: str


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow entry. Its identity is (table, priority, match); see key().

    idle_timeout is in seconds, 0 for none; a flow with one reports its own expiry (OFPFF_SEND_FLOW_REM). note is a
    number of 32 bits that the switch keeps with the flow. meter is the id of the meter that a packet has to pass first.

    Raises ValueError where it breaks its table's declaration.
    """

    table: Table
    priority: int
    match: tuple[Match, ...] = ()
    actions: tuple[Action, ...] = ()
    goto: Table | None = None
    idle_timeout: int = 0
    note: int = 0
    meter: int | None = None

    def __post_init__(self) -> None:
        for match in self.match:
            if match.field not in self.table.fields:
                raise ValueError(f"table {self.table.name} does not match {match.field.name}: {self}")
        if self.goto is not None:
            self._check_target(self.goto)
        for action in self.actions:
            if isinstance(action, Resubmit):
                self._check_target(action.table)

    def _check_target(self, target: Table) -> None:
        if target.name not in self.table.leads_to or target.id <= self.table.id:
            raise ValueError(f"table {self.table.name} does not lead to {target.name}: {self}")

    @property
    def key(self) -> tuple[int, int, tuple[Match, ...]]:
        """What makes the switch take two flow entries for the same."""
        return (self.table.id, self.priority, self.match)

    def __str__(self) -> str:
        steps = [] if self.meter is None else [f"meter 0x{self.meter:x}"]
        steps += [str(action) for action in self.actions]
        if self.goto is not None:
            steps.append(f"goto {self.goto.name}")
        match = " ".join(str(match) for match in self.match) or "any"
        timeout = f" idle_timeout={self.idle_timeout}" if self.idle_timeout else ""
        return f"{self.table.name} {self.priority}{timeout}: {match} -> {', '.join(steps) or 'drop'}"


class GroupType(Enum):
    """How a group uses its buckets (OpenFlow 1.3, section 5.6.1)."""

    ALL = "all"
    SELECT = "select"
    FAST_FAILOVER = "fast_failover"


@dataclass(frozen=True, slots=True)
class Bucket:
    """One copy that a group makes. watch_port (fast failover) is the port whose liveness decides for the bucket."""

    actions: tuple[Action, ...]
    watch_port: int | None = None

    def __str__(self) -> str:
        watch = "" if self.watch_port is None else f"watch {self.watch_port}: "
        return watch + ", ".join(str(action) for action in self.actions)


@dataclass(frozen=True, slots=True)
class Group:
    """One group entry."""

    id: int
    type: GroupType
    buckets: tuple[Bucket, ...]

    def __str__(self) -> str:
        buckets = " | ".join(str(bucket) for bucket in self.buckets)
        return f"group 0x{self.id:x} {self.type.value}: {buckets}"


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter entry: it drops what exceeds a rate (packets a second), but for a burst of so many packets."""

    id: int
    rate: int
    burst: int

    def __str__(self) -> str:
        return f"meter 0x{self.id:x}: {self.rate} packets/s, burst {self.burst}"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What one unit (a row, a binding, a learned address) contributes to the switch."""

    flows: tuple[Flow, ...] = ()
    groups: tuple[Group, ...] = ()
    meters: tuple[Meter, ...] = ()

    def __str__(self) -> str:
        return "\n".join(str(entry) for entry in (*self.meters, *self.groups, *self.flows))

    def __bool__(self) -> bool:
        return bool(self.flows or self.groups or self.meters)

    @staticmethod
    def joined(renderings: Iterable[Rendering]) -> Rendering:
        """All their flows, groups and meters in one."""
        parts = tuple(renderings)
        return Rendering(
            tuple(flow for part in parts for flow in part.flows),
            tuple(group for part in parts for group in part.groups),
            tuple(meter for part in parts for meter in part.meters),
        )


NOTHING = Rendering()
