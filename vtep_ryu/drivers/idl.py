"""The ovs package's IDL, but for the rows of large tables, of which it keeps no more than the values that are used.

A row of the package's is a dozen objects: 100,000 of them are hundreds of megabytes, and seconds in which they are
filled with default values. Here such a row is a tuple in a dict. Which tables is the caller's choice: their columns
have to be strings or references, one value each. All other tables are the package's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import ovs.db.error
import ovs.db.idl
import ovs.timeval

from vtep_ryu.drivers import pauses
from vtep_ryu.drivers.companion import Companion
from vtep_ryu.drivers.jsonrpc import TableUpdates
from vtep_ryu.drivers.locks import Locks

Values: TypeAlias = tuple[Any, ...]
"""A row: its UUID and its columns in the caller's order, references as UUIDs in text form too."""


ROWS_BEFORE_LIFE = 1000
"""Rows taken in until the server is told that we are there; the rest of a long update may take long as well."""

ROWS_BEFORE_PAUSE = 200
"""Rows taken in until the main thread is given way; when a database is read first, it waits for them."""


class Idl(ovs.db.idl.Idl):  # type: ignore[misc]
    """An IDL that notes which rows changed since last asked, and keeps those of some tables by UUID in text form.

    What the server says of locks goes to locks.
    """

    def __init__(
        self, remote: str, helper: Any, compact: Mapping[str, Sequence[str]], locks: Locks | None = None
    ) -> None:
        super().__init__(remote, helper)
        self._locks = locks
        self.changed: dict[str, set[Any]] = {}
        self.compact: dict[str, dict[str, Values]] = {table: {} for table in compact}
        self._columns = compact
        self._adopted = False

    def rows(self, table: str) -> Mapping[Any, Any]:
        """The rows of a table by UUID; none where the schema has no such table."""
        if table in self.compact:
            return self.compact[table]
        rows: Mapping[Any, Any] = self.tables[table].rows if table in self.tables else {}
        return rows

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        """See the ovs package."""
        self.changed.setdefault(row._table.name, set()).add(row.uuid)

    def adopt(self, connection: Any, probe_interval: int) -> None:
        """Follow the database by a connection that is there already, for as long as it is.

        A server that says nothing for probe_interval seconds is asked for an echo; 0 is never.
        """
        self._session.reconnect.set_probe_interval(1000 * probe_interval)
        self._adopted = True
        self._session.rpc = connection
        self._session.seqno += 1
        self._session.reconnect.connected(ovs.timeval.msec())

    def force_reconnect(self) -> None:
        """See the ovs package: this server is not to be used any more, for example as it does not lead.

        The package only notes that, and forgets it when the rest of a request can be sent before it hangs up.
        """
        if self._adopted:
            self._session.close()
        else:
            super().force_reconnect()

    def close(self) -> None:
        """See the ovs package."""
        super().close()
        pauses.go_on(self)

    def is_connected(self) -> bool:
        """Whether the connection is still there."""
        return bool(self._session.is_connected())

    def cluster(self) -> Any:
        """What the server says of itself as a member of a cluster: its row of _Server, or None where it is none."""
        rows = self.server_tables["Database"].rows.values() if self.server_tables else ()
        return next((row for row in rows if row.name == self._db.name and row.model == ovs.db.idl.CLUSTERED), None)

    def is_monitoring(self) -> bool:
        """Whether the rows are those that the server has."""
        # The state alone does not change before the next connection is there.
        return bool(self.state == self.IDL_S_MONITORING and self._session.is_connected())

    def restart_fsm(self) -> None:
        """See the ovs package: there is a new connection, on which nothing has been received."""
        self._session.rpc.read_in_parts(self._shorten)
        super().restart_fsm()

    def _shorten(self, updates: TableUpdates) -> TableUpdates:
        if self._locks is not None:
            pauses.hold(self)  # Until all of them are taken in.
            self._locks.show_life()
        for table in self.compact.keys() & updates.keys():
            columns = self._columns[table]
            updates[table] = {uuid: _shortened(uuid, columns, change) for uuid, change in updates[table].items()}
        return updates

    # Private methods of the package's class, whose names are made of the class's.

    def _Idl__txn_process_reply(self, message: Any) -> bool:  # noqa: N802
        is_of_locks = self._locks is not None and self._locks.take_reply(message)
        return is_of_locks or bool(super()._Idl__txn_process_reply(message))

    def _Idl__parse_lock_notify(self, parameters: Any, has: bool) -> None:  # noqa: N802
        if self._locks is not None:
            self._locks.take_notification(parameters, has)

    def _Idl__clear(self) -> None:  # noqa: N802
        for table, rows in self.compact.items():
            self.changed.setdefault(table, set()).update(rows)
            rows.clear()
        super()._Idl__clear()

    def _Idl__do_parse_update(self, updates: Any, version: Any, tables: Any) -> None:  # noqa: N802
        if tables is self.tables and isinstance(updates, dict):
            try:
                for table in self.compact.keys() & updates.keys():
                    self._follow(table, updates.pop(table))
            except (AttributeError, IndexError, KeyError, TypeError) as error:
                raise ovs.db.error.Error("<table-update> is not as RFC 7047 has it", str(error)) from error
        super()._Idl__do_parse_update(updates, version, tables)
        pauses.go_on(self)

    def _follow(self, table: str, changes: dict[str, Any]) -> None:
        rows, columns, changed = self.compact[table], self._columns[table], self.changed.setdefault(table, set())
        is_monitoring = self.is_monitoring()
        for count, (uuid, change) in enumerate(changes.items()):
            if self._locks is not None and count % ROWS_BEFORE_LIFE == 0:
                self._locks.show_life()
            if is_monitoring and count % ROWS_BEFORE_PAUSE == ROWS_BEFORE_PAUSE - 1:
                Companion.give_way()
            values = _shortened(uuid, columns, change) if isinstance(change, dict) else change
            if values is None:
                rows.pop(uuid, None)
            elif None in values:
                rows[uuid] = tuple(old if new is None else new for old, new in zip(rows[uuid], values, strict=True))
            else:
                rows[uuid] = values
            changed.add(uuid)
        self.change_seqno += len(changes)


def _shortened(uuid: str, columns: Sequence[str], change: dict[str, Any]) -> Values | None:
    """A row as a <row-update> or <row-update2> has it, None for a column that stays as it is; or None: it is gone."""
    for kind in ("initial", "insert", "new"):
        if kind in change:
            row = change[kind]
            return (uuid, *[_value(row.get(column, "")) for column in columns])
    row = change.get("modify")
    return None if row is None else (uuid, *[_value(row[column]) if column in row else None for column in columns])


def _value(value: Any) -> Any:
    """A column; many rows have the same reference, which is kept once."""
    return sys.intern(value[1]) if isinstance(value, list) else value
