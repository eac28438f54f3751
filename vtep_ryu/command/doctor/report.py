"""The command itself: all checks, what they say, and the exit status."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from vtep_ryu.command import databases
from vtep_ryu.command.doctor import network, programs, wishes
from vtep_ryu.command.doctor.facts import Facts, gather
from vtep_ryu.command.doctor.finding import Finding, Verdict
from vtep_ryu.command.steps import wait_for

CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    programs.daemons,
    programs.versions,
    programs.servers,
    programs.bridges,
    network.tunnel_ips,
    network.mtu,
    network.vxlan_port,
    network.checksums,
    wishes.vnis,
    wishes.bindings,
    wishes.faults,
    network.locators,
)
WRONG_USAGE = 3

EPILOG = """\
What follows -- is for ryu-manager, as for vtep-ryu: it says where the databases are.

examples:
  vtep-ryu doctor
  vtep-ryu doctor br0 -- --config-file /etc/vtep_ryu.conf
  vtep-ryu doctor --format json | jq -r .verdict"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str], directory: Path) -> NoReturn:
    """Run the checks; the exit status is 0 where all is well, 1 with warnings, 2 with errors, 3 for wrong usage."""
    end = argv.index("--") if "--" in argv else len(argv)
    parser = _Parser(
        prog="vtep-ryu doctor",
        description="Look for what is wrong, and say what to do.\n"
        f"Exit status: 0 nothing, 1 warnings, 2 errors, {WRONG_USAGE} wrong usage.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("ps_name", nargs="?", metavar="PS-NAME", help="The physical switch; default: all.")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="For people, or for programs.")
    options = parser.parse_args(argv[:end])
    try:
        where = databases.of_application(argv[end + 1 :])
    except SystemExit:
        sys.exit(WRONG_USAGE)  # It has been said.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Who has read enough is no error.
    facts = wait_for(gather(options.ps_name, where, directory), "asking databases and application")
    findings = []
    for finding in (finding for check in CHECKS for finding in check(facts)):
        findings.append(finding)
        if options.format == "text":
            print(as_text(finding), flush=True)  # At once: others may take a while.
    if options.format == "json":
        print(as_json(findings))
    sys.exit(max((finding.verdict for finding in findings), default=Verdict.OK))


def as_json(findings: Sequence[Finding]) -> str:
    """For programs."""
    worst = max((finding.verdict for finding in findings), default=Verdict.OK)
    lines = [asdict(finding) | {"verdict": finding.verdict.name.lower()} for finding in findings]
    return json.dumps({"verdict": worst.name.lower(), "findings": lines}, indent=2)


def as_text(finding: Finding) -> str:
    """For people: a line, and below it what to do."""
    head = f"{finding.verdict.name.lower():<8}{finding.check:<11}"
    advice = f"\n{'':<19} -> {_printable(finding.advice)}" if finding.advice else ""
    return f"{_printable(f'{head} {finding.subject}: {finding.says}')}{advice}"


def _printable(line: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
