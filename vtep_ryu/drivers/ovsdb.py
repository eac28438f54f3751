"""An OVSDB client as a companion thread: connect, follow with the IDL, write in transactions, reconnect for ever."""

from __future__ import annotations

import errno
import logging
import os
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import ovs.db.idl
import ovs.jsonrpc
import ovs.poller
import ovs.stream

from vtep_ryu.drivers import jsonrpc, pauses
from vtep_ryu.drivers.companion import Companion
from vtep_ryu.drivers.idl import Idl
from vtep_ryu.drivers.locks import Locks
from vtep_ryu.drivers.tls_stream import Problem, TlsStream

RETRY_SECONDS = 1.0
CONFLICT_RETRY_SECONDS = 0.02
RACES_TO_TELL = 100
CONNECT_TIMEOUT_MS = 5000
ANSWER_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
"""How long a server may take for the rows, until that is said."""

jsonrpc.install()

Incoming = TypeVar("Incoming")
Outgoing = TypeVar("Outgoing")


class OvsdbClient(Companion[Incoming, Outgoing]):
    """Follows one database. Subclasses say which tables and columns, what changes mean, and what there is to write.

    The tables and columns in optional ("Table", "Table.column") may be absent: there is nothing of them to follow then,
    and rows do not have such columns. Any other has to be there.

    A server that says nothing for probe_interval seconds is asked for an echo, and given up after as long again, by a
    Unix socket too; with 0 never.

    Nothing is written but under locks: lock_prefix begins their names. With steals they are taken from who has them.
    """

    def __init__(
        self,
        database: str,
        columns: Mapping[str, Sequence[str]],
        remotes: Sequence[str],
        probe_interval: int,
        logger: logging.Logger,
        optional: Collection[str] = (),
        compact: Collection[str] = (),
        *,
        lock_prefix: str,
        steals: bool = False,
    ):
        super().__init__(database, logger)
        self._database = database
        self._columns = columns
        self._remotes = remotes
        self._probe_interval = probe_interval
        self._optional = optional
        self._compact = {table: columns[table] for table in compact}
        self._idl: Idl | None = None
        self._loaded = False
        self._had: dict[str, set[Any]] = {}
        self._lost = False
        self._done_without: list[str] = []
        self._said: str | None = None
        self._problems: dict[str, Problem] = {}
        self._said_of: dict[str, str] = {}
        self._locks = Locks(lock_prefix, self.locked, self._report_no_lock, self.monotonic, steals)
        self._without_locks = ""
        self._transaction: Any = None
        self._retry_at = 0.0
        self._impatient_at = 0.0
        self._lost_races = 0

    # What subclasses do.

    @abstractmethod
    def follow(self, changed: Mapping[str, set[Any]], complete: bool) -> None:
        """Take in that the rows with these UUIDs, by table, changed.

        complete: that there are no others, and none of those that are named and not in rows().
        """

    @abstractmethod
    def take(self, value: Incoming) -> None:
        """Take in what was posted."""

    @abstractmethod
    def write(self, transaction: Any) -> bool:
        """Put what there is to write into the transaction; return whether that is anything."""

    @abstractmethod
    def written(self) -> None:
        """Take in that what write() put into the transaction is committed."""

    @abstractmethod
    def not_written(self, error: str | None) -> None:
        """Take in that it is not: the server refused it or, without an error, it lost a race; it is to be made anew."""

    def locked(self, name: str, has: bool) -> None:
        """Take in whether we have a lock, of which this is news."""

    # What they use.

    def want_locks(self, wanted: Mapping[str, bool]) -> None:
        """Ask for these locks and no others, and wait for those where that is said."""
        self._locks.want(wanted)

    def pass_lock(self, name: str) -> None:
        """Let whoever waits for a lock have it."""
        self._locks.pass_on(name)

    def holds(self, name: str) -> bool:
        """Whether we have a lock, and so may write what it is for."""
        return self._locks.holds(name)

    def held(self) -> set[str]:
        """All locks that we have."""
        return self._locks.held

    def show_life(self) -> None:
        """Have the server know that we are there: to be called again and again during what takes long."""
        self._locks.show_life()

    def claim(self, transaction: Any, name: str) -> None:
        """Have a transaction fail at the server where we do not have this lock any more."""
        operation = self._locks.assertion(name)
        if operation not in transaction._operations:
            transaction.add_op(operation)

    def rows(self, table: str) -> Mapping[Any, Any]:
        """The rows of a table by UUID; none where the schema has no such table."""
        assert self._idl is not None
        return self._idl.rows(table)

    def table(self, table: str) -> Any:
        """A table, to insert into."""
        assert self._idl is not None
        return self._idl.tables[table]

    def has_table(self, table: str) -> bool:
        """Whether the schema has this table."""
        assert self._idl is not None
        return table in self._idl.tables

    def row(self, table: str, uuid: Any) -> Any:
        """The row with this UUID, or None."""
        return self.rows(table).get(uuid)

    # The loop.

    def loop(self) -> None:
        for value in self.taken():
            self.take(value)
        if self._idl is None:
            self._connect()
            return
        connected = self._run(self._idl)
        self._report_problems()
        if not connected:
            self._disconnect(self._idl)
            return
        poller = ovs.poller.Poller()
        self._idl.wait(poller)
        if self._transaction is not None:
            self._transaction.wait(poller)
        self._locks.wait(poller)
        if self._transaction is None and self._retry_at > self.monotonic():
            poller.timer_wait(int(1000 * (self._retry_at - self.monotonic())) + 1)
        self.wait(poller)

    def _run(self, idl: Idl) -> bool:
        """Do what there is to do; return whether the connection is still there."""
        was_monitoring = idl.is_monitoring()
        idl.run()
        if idl.is_monitoring() and not was_monitoring:
            self._say(logging.INFO, f"{self._database}: connected to {', '.join(self._remotes)}")
            self._loaded = True
            self._said_of.clear()
            # Not before it has sent its rows: it may be a follower, which has locks of its own.
            self._locks.begin(idl._session.send)
            had, self._had, idl.changed = self._had, {}, {}
            self.follow({table: had.get(table, set()).union(idl.rows(table)) for table in self._columns}, True)
        elif was_monitoring and not idl.is_monitoring():
            return False
        elif idl.changed and self._loaded:
            changed, idl.changed = idl.changed, {}
            self.follow(changed, False)
        elif not self._loaded and self.monotonic() > self._impatient_at:
            self._say(logging.WARNING, f"{self._database}: {', '.join(self._remotes)} has not sent its rows; waiting")
        self._locks.run()
        # What was taken in while a transaction was under way is written after it: nothing else will wake us for it.
        while self._write(idl):
            pass
        return True

    def _write(self, idl: Idl) -> bool:
        """Go on with the transaction, or begin one; return whether it is over."""
        if self._transaction is None:
            if not idl.is_monitoring() or not self._locks.settled or self.monotonic() < self._retry_at:
                return False
            transaction = ovs.db.idl.Transaction(idl)
            if not self.write(transaction):
                transaction.abort()
                return False
            self._transaction = transaction
        status = self._transaction.commit()
        if status == ovs.db.idl.Transaction.INCOMPLETE:
            return False
        transaction, self._transaction = self._transaction, None
        if status != ovs.db.idl.Transaction.TRY_AGAIN:
            self._lost_races = 0
        if status in (ovs.db.idl.Transaction.SUCCESS, ovs.db.idl.Transaction.UNCHANGED):
            self.written()
        elif status == ovs.db.idl.Transaction.TRY_AGAIN:
            self._lost_races += 1
            if self._lost_races % RACES_TO_TELL == 0:
                races = f"somebody else was faster {self._lost_races} times in a row"
                self.log(logging.WARNING, "%s: not written yet: %s; trying again", self._database, races)
            self._retry_at = self.monotonic() + CONFLICT_RETRY_SECONDS
            self.not_written(None)
        elif status == ovs.db.idl.Transaction.NOT_LOCKED:
            self._retry_at = self.monotonic() + CONFLICT_RETRY_SECONDS
            self.not_written(None)  # Another has the lock, and what is to be written is its affair.
        else:
            self._retry_at = self.monotonic() + RETRY_SECONDS
            self.not_written(str(transaction.get_error()))
        return True

    def _disconnect(self, idl: Idl) -> None:
        """Begin anew: when the database is back, it may have another schema."""
        self._say(logging.WARNING, f"{self._database}: connection lost, trying again")
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = None
            self.not_written(None)
        if self._loaded:
            self._had = {table: idl.changed.get(table, set()).union(idl.rows(table)) for table in self._columns}
        self._locks.end()
        idl.close()
        self._idl, self._loaded, self._lost = None, False, True
        pauses.let_go()

    def _connect(self) -> None:
        schema, why = self._schema()
        self._report_problems()
        absent = [] if schema is None else self._absent(schema)
        if needed := [name for name in absent if name not in self._optional]:
            why = _lack(schema, needed)
        if schema is None or needed:
            if needed or (why and not self._lost):
                self._say(logging.WARNING, f"{self._database}: {why}; waiting for it")
            poller = ovs.poller.Poller()
            poller.timer_wait(int(1000 * RETRY_SECONDS))
            self.wait(poller)
            return
        if absent and absent != self._done_without:
            self.log(logging.WARNING, "%s: %s: done without", self._database, _lack(schema, absent))
        self._done_without = absent
        helper = ovs.db.idl.SchemaHelper(schema_json=schema)
        for table, columns in self._columns.items():
            if table not in absent:
                there = [column for column in columns if f"{table}.{column}" not in absent]
                helper.register_columns(table, there)
        self._idl = Idl(",".join(self._remotes), helper, self._compact, self._locks)
        self._idl._session.reconnect.set_probe_interval(1000 * self._probe_interval)
        self._impatient_at = self.monotonic() + PATIENCE_SECONDS

    def _schema(self) -> tuple[Any, str]:
        """The schema of the database from the first remote that has it, or None and why if that was not TLS."""
        why = ""
        for remote in self._remotes:
            self.pulse.turns += 1  # Several that do not answer take their time.
            attempt = ovs.stream.Stream.open(remote)
            error, stream = ovs.stream.Stream.open_block(attempt, CONNECT_TIMEOUT_MS)
            if error:
                if not getattr(attempt[1], "problem", None):
                    why = f"no connection to {remote} ({os.strerror(error) if error > 0 else 'refused'})"
                continue
            connection = ovs.jsonrpc.Connection(stream)
            request = ovs.jsonrpc.Message.create_request("get_schema", [self._database])
            reply = self._ask(connection, request)
            connection.close()
            if reply is None:
                if not getattr(stream, "problem", None):
                    why = f"{remote} does not answer"
            elif reply.error:
                why = f"{remote} has no database of this name"
            else:
                return reply.result, ""
        return None, why

    def _ask(self, connection: Any, request: Any) -> Any:
        """The answer to a request, or None where none comes: the ovs package would wait for one for ever."""
        patience = self.monotonic() + ANSWER_SECONDS
        error = connection.send(request)
        while not error and self.monotonic() < patience:
            error, reply = connection.recv()
            if reply is not None and reply.id == request.id:
                return reply
            if error == errno.EAGAIN:
                error = 0
                connection.run()
                poller = ovs.poller.Poller()
                connection.wait(poller)
                connection.recv_wait(poller)
                poller.timer_wait(int(1000 * max(0.0, patience - self.monotonic())) + 1)
                poller.block()
        return None

    def _report_problems(self) -> None:
        """Say why there is no TLS with a remote, once for as long as it is so.

        The other database's client may have had the problem, and this one be connected since.
        """
        problems = {remote: TlsStream.problems[remote] for remote in self._remotes if remote in TlsStream.problems}
        connected = self._idl is not None and self._idl.is_monitoring()
        for remote, problem in problems.items() - self._problems.items():
            if not connected and self._said_of.get(remote) != problem.text:
                self._said_of[remote] = problem.text
                self.log(logging.WARNING, "%s: %s %s; trying again", self._database, remote, problem.text)
        self._problems = problems

    def _absent(self, schema: Any) -> list[str]:
        """The tables and columns of ours that the schema does not have."""
        tables = schema["tables"]
        columns = ((table, column) for table, columns in self._columns.items() for column in columns if table in tables)
        return [
            *(table for table in self._columns if table not in tables),
            *(f"{table}.{column}" for table, column in columns if column not in tables[table]["columns"]),
        ]

    def _report_no_lock(self, name: str, error: str) -> None:
        if error != self._without_locks:
            self._without_locks = error
            self.log(logging.WARNING, "%s: no lock for %s, so nothing of it is served: %s", self._database, name, error)

    def _say(self, level: int, message: str) -> None:
        """Log what is the case, once for as long as it is."""
        if message != self._said:
            self._said = message
            self.log(level, "%s", message)


def _lack(schema: Any, absent: Sequence[str]) -> str:
    return f"schema version {schema.get('version', 'unknown')} has no {', '.join(absent)}"
