"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """How bad it is; the worst is the exit status."""

    OK = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict on something, in one line; advice is what to do, empty where all is well."""

    check: str
    subject: str
    verdict: Verdict
    says: str
    advice: str = ""


def fine(check: str, subject: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, subject, Verdict.OK, says)


def warning(check: str, subject: str, says: str, advice: str) -> Finding:
    """It works, but perhaps not as one thinks, or not for all."""
    return Finding(check, subject, Verdict.WARNING, says, advice)


def error(check: str, subject: str, says: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(check, subject, Verdict.ERROR, says, advice)
