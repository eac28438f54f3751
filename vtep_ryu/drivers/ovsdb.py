"""An OVSDB client as a companion thread: connect, follow with the IDL, write in transactions, reconnect for ever."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ovs.db.idl
import ovs.poller

from vtep_ryu.drivers import jsonrpc, pauses
from vtep_ryu.drivers.companion import Companion
from vtep_ryu.drivers.idl import Idl
from vtep_ryu.drivers.locks import Locks
from vtep_ryu.drivers.search import Found, Search
from vtep_ryu.drivers.tls_stream import Problem, TlsStream

RETRY_SECONDS = 1.0
CONFLICT_RETRY_SECONDS = 0.02
RACES_TO_TELL = 100
LEADER_RETRY_SECONDS = 0.25
NO_LEADER_SECONDS = 5.0
"""How long a cluster may have no leader until that is said: an election takes about one or two election timers."""

PATIENCE_SECONDS = 30.0
"""How long a server may take for the rows, until that is said."""

jsonrpc.install()

Incoming = TypeVar("Incoming")
Outgoing = TypeVar("Outgoing")


@dataclass(frozen=True, slots=True)
class Link:
    """How a database is reached: by which remote, None for none at present, and in which state that is.

    State: connected; leader (connected to the leader of a cluster); no leader (members of a cluster answer, and none
    leads); away (no server that can be used answers).
    """

    remote: str | None
    state: str


AWAY = Link(None, "away")


class OvsdbClient(Companion[Incoming, Outgoing | Link]):
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
        self._search: Search | None = None
        self._search_at = 0.0
        self._remote = ""
        self._link = AWAY
        self._is_cluster = False
        self._read: dict[str, int] = {}
        self._alone_since = self.monotonic()
        self._told_of_no_leader = False
        self._loaded = False
        self._had: dict[str, set[Any]] = {}
        self.was_lost = False
        """Whether there was a connection before."""
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
        self.errors: Counter[str] = Counter()
        """How often what went wrong. The other side may read it: each is one number."""
        self.sizes: Mapping[str, int] = {}
        """How many rows of each table there are, or were last. The other side may read it: nobody changes it."""

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
            self._look()
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
        if not idl.is_connected() or (was_monitoring and not idl.is_monitoring()):
            return False
        if idl.is_monitoring() and not was_monitoring:
            leader = ", the leader" if self._is_cluster else ""
            self._say(logging.INFO, f"{self._database}: connected to {self._remote}{leader}")
            self._set_link(Link(self._remote, "leader" if self._is_cluster else "connected"))
            self._loaded, self._told_of_no_leader = True, False
            self._said_of.clear()
            # Not before it has sent its rows: it may be a follower, which has locks of its own.
            self._locks.begin(idl._session.send)
            had, self._had, idl.changed = self._had, {}, {}
            self.follow({table: had.get(table, set()).union(idl.rows(table)) for table in self._columns}, True)
        elif idl.changed and self._loaded:
            changed, idl.changed = idl.changed, {}
            self.follow(changed, False)
        elif not self._loaded and self.monotonic() > self._impatient_at:
            self._say(logging.WARNING, f"{self._database}: {self._remote} has not sent its rows; waiting")
        self._locks.run()
        # What was taken in while a transaction was under way is written after it: nothing else will wake us for it.
        while self._write(idl):
            pass
        self.sizes = {table: len(idl.rows(table)) for table in self._columns}
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
            self.errors["not_written"] += 1
            self.not_written(str(transaction.get_error()))
        return True

    def _disconnect(self, idl: Idl) -> None:
        """Begin anew: when the database is back, it may have another schema."""
        member = idl.cluster()
        if member is not None and member.cid and member.index:
            self._read = {str(member.cid[0]): member.index[0]}
        if self._loaded:
            leads = member is None or member.leader
            why = "connection lost" if leads else f"{self._remote} does not lead any more"
            self._say(logging.WARNING, f"{self._database}: {why}, trying again")
            self.was_lost, self._alone_since = True, self.monotonic()
            self.errors["database_lost"] += 1
        else:
            self._pause()
        self._set_link(AWAY)
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = None
            self.not_written(None)
        if self._loaded:
            self._had = {table: idl.changed.get(table, set()).union(idl.rows(table)) for table in self._columns}
        self.hand_over_rest()  # For this the rows are needed.
        self._locks.end()
        idl.close()
        self._idl, self._loaded = None, False
        pauses.let_go()

    def _look(self) -> None:
        """Look for the server, and begin to follow the database when it is found."""
        now, poller = self.monotonic(), ovs.poller.Poller()
        if self._search is None and now < self._search_at:
            poller.timer_wait(int(1000 * (self._search_at - now)) + 1)
            self.wait(poller)
            return
        if self._search is None:
            # A server that has fewer changes than were read leads no more. If it does, its files are older ones.
            read = self._read if now < self._alone_since + PATIENCE_SECONDS else {}
            self._search = Search(self._database, self._remotes, read, now)
        found = self._search.run(now)
        self._report_problems()
        if found is not None:
            self._search = None
            self._begin(found)
        elif self._search.is_over:
            self._not_found(self._search, now)
        else:
            self._search.wait(poller, now)
            self.wait(poller)

    def _pause(self) -> None:
        """Have the next search begin a little later."""
        self._search_at = self.monotonic() + (LEADER_RETRY_SECONDS if self._is_cluster else RETRY_SECONDS)

    def _not_found(self, search: Search, now: float) -> None:
        self._search, self._is_cluster = None, self._is_cluster or search.is_cluster
        self._pause()
        self._set_link(Link(None, "no leader") if search.is_cluster else AWAY)
        if self._is_cluster:
            if now > self._alone_since + NO_LEADER_SECONDS and not self._told_of_no_leader:
                self._told_of_no_leader = True
                why = f": {search.why}" if search.why else ""
                what = f"no leader for {NO_LEADER_SECONDS:g} s{why}; waiting for one"
                self._say(logging.WARNING, f"{self._database}: {what}")
        elif search.why and not self.was_lost:
            self._say(logging.WARNING, f"{self._database}: {search.why}; waiting for it")

    def _begin(self, found: Found) -> None:
        absent = self._absent(found.schema)
        if needed := [name for name in absent if name not in self._optional]:
            self._say(logging.WARNING, f"{self._database}: {_lack(found.schema, needed)}; waiting for it")
            found.connection.close()
            self._pause()
            return
        if absent and absent != self._done_without:
            self.log(logging.WARNING, "%s: %s: done without", self._database, _lack(found.schema, absent))
        self._done_without = absent
        helper = ovs.db.idl.SchemaHelper(schema_json=found.schema)
        for table, columns in self._columns.items():
            if table not in absent:
                there = [column for column in columns if f"{table}.{column}" not in absent]
                helper.register_columns(table, there)
        self._idl = Idl(found.remote, helper, self._compact, self._locks)
        self._idl.adopt(found.connection, self._probe_interval)
        self._remote, self._is_cluster = found.remote, found.cluster is not None
        self._impatient_at = self.monotonic() + PATIENCE_SECONDS

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

    def _set_link(self, link: Link) -> None:
        if link != self._link:
            self._link = link
            self.hand_over(link)

    def _say(self, level: int, message: str) -> None:
        """Log what is the case, once for as long as it is."""
        if message != self._said:
            self._said = message
            self.log(level, "%s", message)


def _lack(schema: Any, absent: Sequence[str]) -> str:
    return f"schema version {schema.get('version', 'unknown')} has no {', '.join(absent)}"
