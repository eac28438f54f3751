"""What the command asks the two databases, and tells them: with the tools of Open vSwitch, in single transactions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg

from vtep_ryu import options
from vtep_ryu.command.steps import Steps, run

TIMEOUT = "--timeout=5"
OPEN_VSWITCH = "Open_vSwitch"
HARDWARE_VTEP = "hardware_vtep"


class NoAnswer(Exception):
    """A database does not answer, or refuses; the text is one line that says which and why."""


@dataclass(frozen=True, slots=True)
class Databases:
    """Where the two databases are."""

    remotes: Mapping[str, tuple[str, ...]]

    def same(self, status: Mapping[str, Any]) -> bool:
        """Whether an application with this vtep/status follows the same two."""
        return all(_places(each) == _places(status[name.lower()]) for name, each in self.remotes.items())

    def transact(self, database: str, *operations: Mapping[str, Any]) -> Steps[list[dict[str, Any]]]:
        """One transaction of RFC 7047, section 4.1.3; its results.

        Raises NoAnswer.
        """
        transaction = json.dumps([database, *operations])
        done = yield from run("ovsdb-client", TIMEOUT, "transact", ",".join(self.remotes[database]), transaction)
        if done.error:
            raise NoAnswer(f"{database}: {done.error}")
        results: list[dict[str, Any]] = json.loads(done.output)
        for result in results:
            if result and "error" in result:
                raise NoAnswer(f"{database}: {result['error']}: {result.get('details', '')}")
        return results

    def rows(self, database: str, table: str, *columns: str, **where: Any) -> Steps[list[dict[str, Any]]]:
        """Some columns of the rows whose other columns have these values; sets and maps as Python's.

        Raises NoAnswer.
        """
        conditions = [[column, "==", value] for column, value in where.items()]
        (result,) = yield from self.transact(database, select(table, conditions, columns))
        return [{column: plain(value) for column, value in row.items()} for row in result["rows"]]


def select(table: str, where: Sequence[Any], columns: Sequence[str]) -> dict[str, Any]:
    """The operation of that name (RFC 7047, section 5.2.2)."""
    return {"op": "select", "table": table, "where": where, "columns": columns}


def plain(value: Any) -> Any:
    """A value of RFC 7047, section 5.1, as Python has it: a set as a list, a map as a dictionary, a UUID as text."""
    match value:
        case ["uuid", text]:
            return text
        case ["set", members]:
            return [plain(member) for member in members]
        case ["map", pairs]:
            return {plain(key): plain(each) for key, each in pairs}
        case _:
            return value


def listed(value: Any) -> list[Any]:
    """A column that may have any number of values: one alone is written without a set around it."""
    return value if isinstance(value, list) else [value]


def _places(remotes: Sequence[str]) -> set[str]:
    """Remotes, so that two ways to name the same socket (/run, /var/run) are equal."""
    return {
        str(Path(remote.removeprefix("unix:")).resolve()) if remote.startswith("unix:") else remote
        for remote in remotes
    }


def of_application(arguments: Sequence[str]) -> Databases:
    """The databases that an application with these arguments follows; what is wrong with them is one line and exit."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--vtep-hardware-vtep-remotes", "--vtep-open-vswitch-remotes", "--config-file", "--config-dir"):
        parser.add_argument(name, dest=name, action="append", default=[])
    found = vars(parser.parse_known_args(list(arguments))[0])
    conf = cfg.ConfigOpts()
    options.attach(conf)
    mine = [f"{name}={value}" for name, values in found.items() for value in values]
    conf(args=mine, project="ryu", default_config_files=[], default_config_dirs=[])
    chosen = options.load(conf)
    return Databases({HARDWARE_VTEP: chosen.hardware_vtep_remotes, OPEN_VSWITCH: chosen.open_vswitch_remotes})
