"""What the command asks the two databases, and tells them: with the tools of Open vSwitch, in single transactions."""

from __future__ import annotations

import argparse
import errno
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ovs.jsonrpc
import ovs.stream
from oslo_config import cfg

from vtep_ryu import options
from vtep_ryu.command.steps import SOON, Steps, run
from vtep_ryu.drivers.tls_stream import Problem, TlsStream
from vtep_ryu.tls import Files

TIMEOUT = "--timeout=5"
OPEN_VSWITCH = "Open_vSwitch"
HARDWARE_VTEP = "hardware_vtep"
TLS_OPTIONS = ("private-key", "certificate", "ca-cert")
"""Open vSwitch's names, in the order of tls.Files; with vtep- in front they are the application's."""

PROBE_SECONDS = 5.0


class NoAnswer(Exception):
    """A database does not answer, or refuses; the text is one line that says which and why."""


@dataclass(frozen=True, slots=True)
class Databases:
    """Where the two databases are, and the files for those that are reached by TLS, if there are any."""

    remotes: Mapping[str, tuple[str, ...]]
    files: Files | None = None

    @property
    def tls(self) -> tuple[str, ...]:
        """The files as options of Open vSwitch's tools."""
        if self.files is None:
            return ()
        named = zip(TLS_OPTIONS, (self.files.private_key, self.files.certificate, self.files.ca_cert), strict=True)
        return tuple(f"--{name}={file}" for name, file in named)

    def same(self, status: Mapping[str, Any]) -> bool:
        """Whether an application with this vtep/status follows the same two."""
        return all(_places(each) == _places(status[name.lower()]) for name, each in self.remotes.items())

    def transact(self, database: str, *operations: Mapping[str, Any]) -> Steps[list[dict[str, Any]]]:
        """One transaction of RFC 7047, section 4.1.3; its results.

        Raises NoAnswer.
        """
        transaction = json.dumps([database, *operations])
        remotes = ",".join(self.remotes[database])
        done = yield from run("ovsdb-client", TIMEOUT, *self.tls, "transact", remotes, transaction)
        if done.error:
            problem = yield from _tls_problem(self.remotes[database], self.files)
            raise NoAnswer(f"{database}: {problem or done.error}")
        results: list[dict[str, Any]] = json.loads(done.output)
        for result in results:
            if result and "error" in result:
                raise NoAnswer(f"{database}: {result['error']}: {result.get('details', '')}")
        return results

    def rows(self, database: str, table: str, *columns: str, **where: Any) -> Steps[list[dict[str, Any]]]:
        """Some columns, or all, of the rows whose other columns have these values; sets and maps as Python's.

        Raises NoAnswer.
        """
        conditions = [[column, "==", value] for column, value in where.items()]
        (result,) = yield from self.transact(database, select(table, conditions, columns))
        return [{column: plain(value) for column, value in row.items()} for row in result["rows"]]


def _tls_problem(remotes: Sequence[str], files: Files | None) -> Steps[str]:
    """Why there is no TLS with one of these, if so; Open vSwitch's tools tell the reason only now and then."""
    if files is not None:
        TlsStream.use(files)
        for remote in remotes:
            problem = (yield from _greet(remote)) if remote.startswith("ssl:") else None
            if problem is not None:
                return f"{remote} {problem.text}"
    return ""


def _greet(remote: str) -> Steps[Problem | None]:
    """Connect to a server and wait for it to say something, or to hang up; return why there is no TLS, if so."""
    error, stream = ovs.stream.Stream.open(remote)
    if error:
        return None
    connection = ovs.jsonrpc.Connection(stream)
    connection.send(ovs.jsonrpc.Message.create_request("echo", []))
    deadline = time.monotonic() + PROBE_SECONDS
    while connection.recv()[0] == errno.EAGAIN and time.monotonic() < deadline:
        yield SOON
        connection.run()
    connection.close()
    assert isinstance(stream, TlsStream)
    return stream.problem


def select(table: str, where: Sequence[Any], columns: Sequence[str]) -> dict[str, Any]:
    """The operation of that name (RFC 7047, section 5.2.2); without columns it is for all."""
    return {"op": "select", "table": table, "where": where} | ({"columns": columns} if columns else {})


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
    remotes = ("--vtep-hardware-vtep-remotes", "--vtep-open-vswitch-remotes")
    files = (f"--vtep-{name}" for name in TLS_OPTIONS)
    for name in (*remotes, *files, "--config-file", "--config-dir"):
        parser.add_argument(name, dest=name, action="append", default=[])
    found = vars(parser.parse_known_args(list(arguments))[0])
    conf = cfg.ConfigOpts()
    options.attach(conf)
    mine = [f"{name}={value}" for name, values in found.items() for value in values]
    conf(args=mine, project="ryu", default_config_files=[], default_config_dirs=[])
    chosen = options.load(conf)
    remotes_of = {HARDWARE_VTEP: chosen.hardware_vtep_remotes, OPEN_VSWITCH: chosen.open_vswitch_remotes}
    return Databases(remotes_of, chosen.tls)
