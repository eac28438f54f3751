"""Telling what a lab does as it does it: commands as they are typed, what they print, and what was expected."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Callable

from apps.lab import Host, LabError, Node, wait_until
from vtep_ryu.core.flow import Table
from vtep_ryu.core.pipeline import TABLES

WIDTH = 100
PATIENCE = 10
"""Seconds that a result may take to show up."""

_FLOW = re.compile(r"table=(\d+), n_packets=(\d+), .*?(priority=\S+) actions=(.*)")


class Narrator:
    """Prints the story, and ends it with a LabError at the first expectation that is not met."""

    def __init__(self) -> None:
        self.checks = 0
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """Begin a numbered part of the story."""
        self._chapters += 1
        heading = f"{self._chapters}. {title}"
        self.write(f"\n{heading}\n{'=' * len(heading)}")

    def say(self, text: str) -> None:
        """A paragraph."""
        self.write("\n" + textwrap.fill(" ".join(text.split()), WIDTH))

    def write(self, text: str) -> None:
        """Lines as they are."""
        print(text, flush=True)

    def show(self, *nodes: Node, line: str) -> None:
        """Run a shell line on some machines; print it once, and what they answer once if it is the same."""
        self.prompt(*nodes, line=line)
        outputs = [node.shell(line).strip("\n") for node in nodes]
        if len(set(outputs)) > 1:
            outputs = [f"{node.name}:\n{output}" for node, output in zip(nodes, outputs, strict=True)]
        for output in dict.fromkeys(outputs):
            self.write_result(output)

    def prompt(self, *machines: Node | Host, line: str) -> None:
        """Print a line as it would be typed on some machines."""
        self.write(f"{' '.join(machine.name for machine in machines):>5} $ {line}")

    def write_result(self, text: str) -> None:
        """Print what came of a command, if anything."""
        if text:
            self.write(textwrap.indent(text, " " * 8))

    def check(self, what: str, holds: Callable[[], object]) -> None:
        """Something that has to be so, within a few seconds."""
        wait_until(holds, PATIENCE, what)
        self.checks += 1
        self.write_result(f"ok: {what}")

    def ping(self, source: Host, target: Host) -> None:
        """Ping from one host to another: every request has to be answered.

        What was just configured may take a moment to come into force, so a first answer is waited for.
        """
        self.prompt(source, line=f"ping -c 3 {target.ip_address}")
        wait_until(lambda: source.ping(target, count=1), PATIENCE, f"{target.name} to answer {source.name}")
        self._answers(source, target, 3, 3)

    def ping_in_vain(self, source: Host, target: Host) -> None:
        """Ping from one host to another that must not answer."""
        self.prompt(source, line=f"ping -c 1 {target.ip_address}")
        self._answers(source, target, 1, 0)

    def _answers(self, source: Host, target: Host, count: int, expected: int) -> None:
        answers = source.ping(target, count)
        what = f"{source.name} to {target.name}: {answers} of {count} answered"
        if answers != expected:
            raise LabError(f"{what}, {expected} expected")
        self.check(what, lambda: True)

    def pipeline(self, node: Node) -> None:
        """Walk through the tables: what each is for, where it leads, and which of its flows have seen packets."""
        flows = defaultdict(list)
        for line in node.ofctl("--names", "dump-flows", "br0").splitlines():
            if found := _FLOW.search(line):
                flows[int(found[1])].append((int(found[2]), found[3], found[4]))
        for table in TABLES:
            self._table(table, sorted(flows[table.id], reverse=True))

    def _table(self, table: Table, flows: list[tuple[int, str, str]]) -> None:
        """One table; each flow as its packets, its match and its actions."""
        packets = sum(flow[0] for flow in flows)
        self.write(
            f"\nTable {table.id}, {table.name}: {_number(len(flows), 'flow')}, {_number(packets, 'packet')} so far"
        )
        self.write(textwrap.fill(table.comment, WIDTH, initial_indent="  ", subsequent_indent="  "))
        fields = ", ".join(sorted(field.name for field in table.fields)) or "nothing"
        leads = ", ".join(other.name for other in TABLES if other.name in table.leads_to) or "no other table"
        self.write(f"  Looks at {fields}; leads to {leads}; without a match: {table.miss or 'dropped'}.")
        used = [flow for flow in flows if flow[0]]
        for count, match, actions in used:
            self.write(f"  {count:>7}  {match}\n           -> {actions}")
        if len(used) < len(flows):
            self.write(f"        0  {_number(len(flows) - len(used), 'flow')} that no packet has matched")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
