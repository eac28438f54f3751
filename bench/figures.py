"""The figures: what each is called, how it is taken, and what is to be reached."""

from collections.abc import Iterable
from dataclasses import dataclass

OURS = "vtep_ryu"
THEIRS = "ovs-vtep"
FLOOR = "floor"
SIDES = (OURS, THEIRS, FLOOR)

PERFORMANCE = "performance"
SCALING = "scaling"

SWITCHES = "logical switches"
MACS = "remote MACs"
SOURCES = "new sources"
PHYSICAL = "switches"


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value."""

    figure: str
    side: str
    series: str
    x: float
    value: float
    samples: int = 1
    """Of how many the value is the median, percentile or mean."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a series of the application is to reach at an x; `x` None: at every one that was measured."""

    series: str
    x: float | None
    limit: float
    at_least: bool = False
    over_floor: bool = False
    """The limit is one of the ratio to the floor at the same x."""
    text: str = ""
    """What is to be reached, where the number and the unit do not say it."""

    def met(self, value: float) -> bool:
        """Whether a value is as it should be."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; its series are curves over the same x, in the same unit."""

    name: str
    title: str
    x: str
    unit: str
    how: str
    goals: tuple[Goal, ...] = ()
    page: str = PERFORMANCE
    """The page of docs/ that shows it."""

    def of(self, points: Iterable[Point]) -> list[Point]:
        """Its points among others."""
        return [point for point in points if point.figure == self.name]


FIGURES = (
    Figure(
        "change",
        "One remote MAC: from the commit to the flow in br0",
        SWITCHES,
        "ms",
        "With all other MACs installed, one row at a time is inserted into Ucast_Macs_Remote, each after the flow"
        " of the one before. From the server's reply to that transaction until a flow monitor (ovs-ofctl monitor br0"
        " watch:, which ovs-vswitchd notifies) has the line of the new flow. Floor: ovs-ofctl add-flow of the same"
        " flow, with the start of that program.",
        (Goal("median", None, 5), Goal("99th percentile", None, 25)),
    ),
    Figure(
        "load",
        "Remote MACs in one transaction, until the last forwards",
        MACS,
        "s",
        "One logical switch, four bindings. From the server's reply to the one transaction that inserts all rows until"
        " the number of flows in br0 (OpenFlow table statistics, every 20 ms) has grown by as many. Floor: ovsdb-client"
        " dump of those rows, then ovs-ofctl --bundle add-flows of those flows into another bridge of the same"
        " ovs-vswitchd.",
        tuple(
            Goal("all forward", size, 1.5, over_floor=True, text="1.5 times the floor") for size in (100_000, 1_000_000)
        ),
    ),
    Figure(
        "memory",
        "Memory with so many remote MACs",
        MACS,
        "MB",
        "Resident memory (VmRSS) of the process when the load of the figure before is done; peak: VmHWM.",
        (Goal("resident", 100_000, 300), Goal("resident", 1_000_000, 2500)),
    ),
    Figure(
        "start",
        "Program start until everything forwards",
        SWITCHES,
        "s",
        "Four bindings and 50 remote MACs for each logical switch are in the database; br0 has no flows, and is pointed"
        " to the program once that listens. From the start of the process until the number of flows in br0 (table"
        " statistics, every 20 ms) has changed for the last time.",
        (Goal("everything forwards", 1000, 3),),
    ),
    Figure(
        "restart",
        "The same with the flows in place",
        SWITCHES,
        "s",
        "The program is stopped, one row of Ucast_Macs_Remote is deleted and one inserted, the program is started. From"
        " the start of the process until a flow monitor has both changes: what is left over is removed last.",
        (Goal("everything is right", 1000, 3),),
    ),
    Figure(
        "undisturbed",
        "What such a restart loses and rewrites",
        SWITCHES,
        "",
        "During the figure before, from the end of the program until everything is right, two pairs of hosts, one of"
        " them through a tunnel, ping each other every 10 ms: frames lost are those without an answer. Rows of ours and"
        " of the NVC whose _version is another than before, or that have gone, are rewritten; counters do not count.",
        (Goal("frames lost", None, 0), Goal("rows rewritten", None, 0)),
    ),
    Figure(
        "idle",
        "CPU with nothing changing",
        SWITCHES,
        "% of a core",
        "User and system time of the process (ovs-vtep: and of the tools that it runs) over some seconds, with all MACs"
        " installed for half as long, default options.",
        (Goal("program", 1000, 0.5),),
    ),
    Figure(
        "learning",
        "New sources, until all are in Ucast_Macs_Local",
        SOURCES,
        "a second",
        "So many stations behind p0 send one broadcast each, 6,000 a second, which is the default of packet_in_rate."
        " Their number over the time from the first frame until ovsdb-client monitor shows the last row that comes.",
        (Goal("learned", 10_000, 5_000, at_least=True),),
    ),
    Figure(
        "unlearned",
        "New sources that were lost",
        SOURCES,
        "",
        "Of the figure before: those of which no row has come when none came for some seconds.",
        (Goal("lost", None, 0),),
    ),
    Figure(
        "first",
        "One new source: from its first frame to its row in the database",
        "known sources",
        "ms",
        "A station behind p0 sends a broadcast, the next one when its row is there. From before the frame is sent until"
        " ovsdb-client monitor has shown the row.",
        (Goal("median", None, 10),),
    ),
    Figure(
        "meanwhile",
        "While remote MACs load in one transaction",
        MACS,
        "ms",
        "From the server's reply to the transaction until there are as many more flows. learn: every 20 ms a new"
        " station sends a frame; until a flow monitor has its flow in the learn table. publish: until ovsdb-client"
        " monitor has its row. echo: on a second OpenFlow connection to the program, an echo request 20 ms after the"
        " reply to the one before.",
        (Goal("learn, 99th percentile", 100_000, 100), Goal("echo, 99th percentile", 100_000, 100)),
    ),
    Figure(
        "dropped",
        "How often the switch lost its controller meanwhile",
        MACS,
        "",
        "Lines of ovs-vswitchd's log during the figure before that say that br0's connection to the program ended.",
        (Goal("dropped", None, 0),),
    ),
    Figure(
        "tcp",
        "TCP through the tunnel",
        MACS,
        "Mbit/s",
        "iperf3 from a host at p0 to one behind a VTEP of the Linux kernel, with so many MACs installed; the median of"
        " rounds in which everybody takes turns. Floor: a bridge with a VXLAN port and two static flows, from port to"
        " port.",
        (Goal("median", None, 0.98, at_least=True, over_floor=True, text="0.98 of the floor"),),
    ),
    Figure(
        "udp",
        "UDP with 64 bytes through the tunnel",
        MACS,
        "packets/s",
        "As the figure before, with iperf3 --udp --bandwidth 0 --length 64: datagrams that arrived.",
        (Goal("median", None, 0.98, at_least=True, over_floor=True, text="0.98 of the floor"),),
    ),
    Figure(
        "takeover",
        "From the end of an instance until all its switches are as they should be",
        PHYSICAL,
        "s",
        "An instance is killed (SIGKILL); then the NVC deletes one remote address that all switches have and inserts"
        " another. Until the last switch has both changes: what is left over is removed last. One instance alone is"
        " started again at once, as whoever supervises it would.",
        page=SCALING,
    ),
    Figure(
        "sharing",
        "From the start of an instance until it has its share of the switches",
        PHYSICAL,
        "s",
        "The instance that was killed is started again. Until all switches are served (vtep/status, every tenth of a"
        " second), and nobody has more than its share.",
        page=SCALING,
    ),
    Figure(
        "everywhere",
        "One remote MAC that all switches need: from the commit to the last flow",
        PHYSICAL,
        "ms",
        "From the server's reply to the transaction that inserts one row into Ucast_Macs_Remote, of a logical switch"
        " that all switches have bindings to, until the last switch has its flow; the median.",
        page=SCALING,
    ),
    Figure(
        "somewhere",
        "One remote MAC that one switch needs: from the commit to the flow",
        PHYSICAL,
        "ms",
        "The same in a logical switch of one switch alone.",
        page=SCALING,
    ),
    Figure(
        "resting",
        "CPU of an instance with nothing changing",
        PHYSICAL,
        "% of a core",
        "User and system time of the process over some seconds, of the instance that used most.",
        page=SCALING,
    ),
    Figure(
        "resident",
        "Memory of an instance",
        PHYSICAL,
        "MB",
        "Resident memory (VmRSS) of the process, of the instance that has most.",
        page=SCALING,
    ),
)
