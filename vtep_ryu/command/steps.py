"""Work beside which the program stays reachable: generators that yield for how many seconds there is nothing to do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[float, None, T]

SOON = 0.02
QUIET_SECONDS = 2.0
"""How long nothing may be seen to happen."""
NO_ANSWER = "no answer"
NOT_INSTALLED = "is not installed"


@dataclass(frozen=True, slots=True)
class Done:
    """How a tool has ended: what it printed, and in one line what went wrong, if anything."""

    output: str
    error: str

    @property
    def is_silent(self) -> bool:
        """Whether it had waited for an answer when its time was over."""
        return self.error == NO_ANSWER


def run(*argv: str, stdin: str = "") -> Steps[Done]:
    """Run a tool of Open vSwitch to its end. It is to be given a --timeout."""
    with TemporaryFile("w+") as given, TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(argv, stdin=given, stdout=output, stderr=errors, start_new_session=True)
        except FileNotFoundError:
            return Done("", f"{argv[0]} {NOT_INSTALLED}")
        while process.poll() is None:
            yield SOON
        output.seek(0)
        errors.seek(0)
        if not process.returncode:
            return Done(output.read(), "")
        status = process.returncode
        if status == -signal.SIGALRM:
            return Done("", NO_ANSWER)
        lines = errors.read().strip().splitlines() or [f"exit status {status}"]
        return Done("", lines[-1].rpartition("|")[2].removeprefix(f"{argv[0]}: "))


def wait_for(steps: Steps[T], what: str = "") -> T:
    """Do it all now. Somebody at a terminal is told what it is, when it takes long."""
    late = time.monotonic() + QUIET_SECONDS
    while True:
        try:
            time.sleep(next(steps))
        except StopIteration as end:
            result: T = end.value
            return result
        if what and time.monotonic() > late:
            if sys.stderr.isatty():
                print(f"{what} ...", file=sys.stderr)
            what = ""
