"""Looks for a database's server among its remotes: the one that has it or, of the members of a cluster, the leader.

All remotes are asked at once, so that one that hangs keeps nobody from the others, and the connection that the answer
came by is the one to be used. A leader that was elected a moment ago may have read less than it has: what was under way
to its predecessor is in its log, but not among its rows yet (RAFT, section 6.4). It answers a transaction only when it
is, so it is asked for an empty one. A write of ours that was committed, and its answer lost, is seen thereby, and not
made twice.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ovs.jsonrpc
import ovs.stream

ANSWER_SECONDS = 5.0
"""How long a remote may take to be connected to and to answer."""

OTHERS_SECONDS = 1.0
"""How long others may take when a member of a cluster has said that it does not lead: then all are asked again."""

SERVER_COLUMNS = ("model", "connected", "leader", "cid", "index")


@dataclass(frozen=True, slots=True)
class Found:
    """The server to use: its remote, the connection to it, and the schema of the database there.

    cluster: the UUID of the cluster that it leads; None where it is no member of any.
    """

    remote: str
    connection: Any
    schema: Any
    cluster: str | None


class _Inquiry:
    """What one remote says. Afterwards either connection is there to be used, or why says why not.

    why is empty where TLS is the reason: see TlsStream.problems.
    """

    def __init__(self, remote: str, database: str, read: Mapping[str, int]) -> None:
        self.remote = remote
        self.why: str | None = None
        self.connection: Any = None
        self.schema: Any = None
        self.cluster: str | None = None
        self.found = False
        self._database = database
        self._read = read
        self._answers: dict[int, Any] = {}
        error, self._stream = ovs.stream.Stream.open(remote)
        if error:
            self._not_connected(error)

    def run(self) -> None:
        """Go on as far as is possible now."""
        if self.connection is None and self.why is None:
            self._stream.run()
            error = self._stream.connect()
            if error == errno.EAGAIN:
                return
            if error:
                self._not_connected(error)
                return
            self.connection = ovs.jsonrpc.Connection(self._stream)
            self._ask()
        while not self.found and self.why is None:
            self.connection.run()
            error, reply = self.connection.recv()
            if error == errno.EAGAIN:
                return
            if error:
                self.fail(f"{self.remote} does not answer")
            elif reply.id in self._answers:
                self._answers[reply.id] = reply
                if all(self._answers.values()):
                    self._judge(*self._answers.values())

    def wait(self, poller: Any) -> None:
        """Have the poller wake up when it can go on."""
        if self.why is not None:
            return
        if self.connection is None:
            self._stream.run_wait(poller)
            self._stream.connect_wait(poller)
        else:
            self.connection.wait(poller)
            self.connection.recv_wait(poller)

    def fail(self, why: str) -> None:
        """Hang up: this remote is not to be used."""
        self.why = "" if getattr(self._stream, "problem", None) else why
        if self.connection is not None:
            self.connection.close()
        elif self._stream is not None:
            self._stream.close()

    def give_up(self) -> None:
        """The same for one that has taken too long."""
        if self.connection is None:
            self._not_connected(errno.ETIMEDOUT)
        else:
            self.fail(f"{self.remote} does not answer")

    def _not_connected(self, error: int) -> None:
        self.fail(f"no connection to {self.remote} ({os.strerror(error) if error > 0 else 'refused'})")

    def _ask(self) -> None:
        select = {"op": "select", "table": "Database", "where": [["name", "==", self._database]]}
        self._send("transact", "_Server", {**select, "columns": list(SERVER_COLUMNS)})
        self._send("get_schema", self._database)

    def _send(self, method: str, *parameters: Any) -> None:
        request = ovs.jsonrpc.Message.create_request(method, list(parameters))
        self._answers[request.id] = None
        self.connection.send(request)

    def _judge(self, server: Any, schema: Any, empty: Any = None) -> None:
        row = _row(server)
        if empty is not None:
            self.found = True
        elif row.get("model") == "clustered":
            self.cluster = _uuid(row["cid"])
            if not row["connected"]:
                self.fail(f"{self.remote} has no connection to the leader")
            elif not row["leader"]:
                self.fail(f"{self.remote} does not lead")
            elif schema.error or row["index"] < self._read.get(self.cluster, 0):
                self.fail(f"{self.remote} has older rows than were read before")
            else:
                self.schema = schema.result
                self._send("transact", self._database)
        elif row.get("model") == "relay":
            self.fail(f"{self.remote} is a relay")
        elif schema.error:
            self.fail(f"{self.remote} has no database of this name")
        else:
            self.schema, self.found = schema.result, True


def _row(answer: Any) -> Mapping[str, Any]:
    """The database's row of _Server; none where there is no such database, or no _Server (before Open vSwitch 2.9)."""
    if answer.error or "rows" not in answer.result[0] or not answer.result[0]["rows"]:
        return {}
    row: Mapping[str, Any] = answer.result[0]["rows"][0]
    return row


def _uuid(value: Any) -> str:
    """The UUID that a column has; "" for none, as that of a server which has not joined its cluster."""
    kind, content = value
    return str(content) if kind == "uuid" else ""


class Search:
    """One look around. read is, by cluster, the index of the last change that was read: less is not to be had again."""

    def __init__(self, database: str, remotes: Sequence[str], read: Mapping[str, int], now: float) -> None:
        self._began = now
        self._inquiries = [_Inquiry(remote, database, read) for remote in remotes]

    def run(self, now: float) -> Found | None:
        """Go on; return what is found, and hang up on all others."""
        for each in self._inquiries:
            each.run()
        for each in self._inquiries:
            if each.found:
                self._inquiries.remove(each)
                self.close()
                return Found(each.remote, each.connection, each.schema, each.cluster)
        if now >= self._deadline:
            self.close()
        return None

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be found any more."""
        return all(each.why is not None for each in self._inquiries)

    @property
    def is_cluster(self) -> bool:
        """Whether a member of a cluster has answered."""
        return any(each.cluster is not None for each in self._inquiries)

    @property
    def why(self) -> str:
        """Why nothing is found, by remote; empty where TLS is the reason."""
        return "; ".join(each.why for each in self._inquiries if each.why)

    def wait(self, poller: Any, now: float) -> None:
        """Have the poller wake up when it can go on."""
        for each in self._inquiries:
            each.wait(poller)
        poller.timer_wait(int(1000 * max(0.0, self._deadline - now)) + 1)

    def close(self) -> None:
        """Hang up on all that have not said anything of use."""
        for each in self._inquiries:
            if each.why is None:
                each.give_up()

    @property
    def _deadline(self) -> float:
        leads = any(each.cluster is not None and each.why is None for each in self._inquiries)
        return self._began + (OTHERS_SECONDS if self.is_cluster and not leads else ANSWER_SECONDS)
