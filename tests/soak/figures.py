"""What a soak measures after each step, and whether any of it grows."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ENOUGH = 60
"""Steps in the life of a process from which on its growth is judged."""
MEMORY, DESCRIPTORS, THREADS, ROWS = "MB", "descriptors", "threads", "rows"
ALLOWED = {MEMORY: (4.0, 0.1), DESCRIPTORS: (8, 0), THREADS: (2, 0)}
"""What the last quarter may have more than the second: so much, or this part of it, whatever is more.

ovs-vswitchd has a thread for BFD while any is enabled, and some descriptors for each port.
"""


@dataclass(frozen=True)
class Usage:
    """What a process has: resident memory in MB, file descriptors, threads."""

    pid: int
    values: Mapping[str, float]

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Of a process as it is now."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        memory, threads = (int(status[key].split()[0]) for key in ("VmRSS", "Threads"))
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(pid, {MEMORY: memory / 1024, DESCRIPTORS: descriptors, THREADS: threads})


@dataclass(frozen=True)
class Sample:
    """What there was after a step: processes by part, rows by table; and what the step was and lost."""

    number: int
    at: float
    seconds: float
    kind: str
    text: str
    lost: int
    sent: int
    load: float
    usage: Mapping[str, Usage]
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Growth:
    """A quantity in the second and in the last quarter of a time, as medians, and of how many samples."""

    what: str
    unit: str
    samples: int
    second: float
    last: float

    @property
    def judged(self) -> bool:
        """Whether there are enough samples. Rows are not: they have bounds, and are as many as at first in the end."""
        return self.samples >= ENOUGH and self.unit in ALLOWED

    @property
    def too_much(self) -> bool:
        """Whether it has grown by more than what is allowed."""
        least, part = ALLOWED.get(self.unit, (0, 0))
        return self.judged and self.last - self.second > max(least, part * self.second)

    def __str__(self) -> str:
        judged = "GROWS" if self.too_much else "does not grow" if self.judged else ""
        numbers = (
            f"{self.second:10.1f} {self.last:10.1f}" if self.unit == MEMORY else f"{self.second:10g} {self.last:10g}"
        )
        return f"{self.what:32} {self.unit:12} {self.samples:6} {numbers}  {judged}".rstrip()


def growth(what: str, unit: str, values: Sequence[float]) -> Growth:
    """How a quantity has gone: the median of the last quarter beside that of the second one."""
    quarter = max(1, len(values) // 4)
    return Growth(what, unit, len(values), median(values[quarter : 2 * quarter] or values), median(values[-quarter:]))


def grown(samples: Sequence[Sample]) -> Iterator[Growth]:
    """How everything has gone: of each part in the longest of its lives, of rows in the whole time."""
    if not samples:
        return
    lives: dict[str, dict[int, list[Usage]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        for part, usage in sample.usage.items():
            lives[part][usage.pid].append(usage)
    for part, those in lives.items():
        longest = max(those.values(), key=len)
        for unit in (MEMORY, DESCRIPTORS, THREADS):
            yield growth(part, unit, [usage.values[unit] for usage in longest])
    for table in samples[-1].rows:
        yield growth(table, ROWS, [sample.rows[table] for sample in samples])


def summary(samples: Sequence[Sample]) -> Iterator[str]:
    """Lines with what there was, in the end."""
    if not samples:
        return
    loads, sent = [sample.load for sample in samples], sum(sample.sent for sample in samples)
    yield f"{len(samples)} steps in {samples[-1].at / 60:.1f} minutes, with {sent} packets each way"
    yield f"load average: median {median(loads)}, most {max(loads)}"
    yield ""
    yield f"{'medians':32} {'':12} {'steps':>6} {'2nd qu.':>10} {'last qu.':>10}"
    yield from (str(each) for each in grown(samples) if each.second or each.last)
    kinds = defaultdict(list)
    for sample in samples:
        kinds[sample.kind].append(sample)
    yield ""
    yield f"{'what':44} {'times':>5} {'seconds: median, most':>22} {'lost of sent':>16} {'most':>6}"
    for name, those in sorted(kinds.items(), key=lambda item: -len(item[1])):
        took = [sample.seconds for sample in those]
        lost, sent = sum(sample.lost for sample in those), sum(sample.sent for sample in those)
        most = max(sample.lost for sample in those)
        yield f"{name:44} {len(those):5} {median(took):14.1f} {max(took):7.1f} {f'{lost} of {sent}':>16} {most:6}"


def write(path: Path, samples: Iterable[Sample]) -> None:
    """All figures as a table, a line a step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        lines = [_line(sample) for sample in samples]
        writer = csv.DictWriter(file, list(lines[0]) if lines else ["step"])
        writer.writeheader()
        writer.writerows(lines)


def _line(sample: Sample) -> dict[str, object]:
    return {
        "step": sample.number,
        "at": round(sample.at, 1),
        "seconds": round(sample.seconds, 2),
        "kind": sample.kind,
        "what": sample.text,
        "sent": sample.sent,
        "lost": sample.lost,
        "load": sample.load,
        **{
            f"{part} {name}": round(value, 1)
            for part, usage in sample.usage.items()
            for name, value in {"pid": usage.pid, **usage.values}.items()
        },
        **sample.rows,
    }
