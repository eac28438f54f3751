"""A cluster of three ovsdb-servers that have hardware_vtep, on one machine."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from apps.lab import LabError, Node
from apps.lab.daemons import Daemon
from apps.lab.node import HARDWARE_VTEP, SCHEMA_DIRECTORY, SCHEMAS

ELECTION_TIMER_MS = 1000


class Member(Daemon):
    """One of the servers. By TCP it is reached by the application, by its Unix socket by the tests."""

    def __init__(self, node: Node, number: int) -> None:
        self.name = f"member{number}"
        super().__init__(node, node.directory / f"{self.name}.pid")
        self.node = node
        self.remote = f"tcp:127.0.0.1:{6640 + number}"
        self.raft = f"tcp:127.0.0.1:{6650 - number}"
        self.file = node.directory / f"{self.name}.db"
        self.socket: Path = node.directory / f"{self.name}.sock"

    def run(self) -> None:
        """Start it."""
        places = (f"punix:{self.socket}", self.remote.replace("tcp:127.0.0.1:", "ptcp:") + ":127.0.0.1")
        options = ("--detach", "--no-chdir", "-vconsole:off", f"--log-file={self.node.directory}/{self.name}.log")
        own = (f"--pidfile={self.pidfile}", f"--unixctl={self.node.directory}/{self.name}.ctl")
        self.start("ovsdb-server", *options, *own, *(f"--remote={place}" for place in places), str(self.file))

    def ask(self, *command: str) -> str:
        """What it answers to ovs-appctl."""
        return self.node.appctl(f"{self.node.directory}/{self.name}.ctl", *command)

    @property
    def says(self) -> dict[str, object]:
        """What it tells its clients of itself; nothing while it does not run, hangs, or has not read its files yet."""
        columns = ["leader", "connected", "index"]
        select = {"op": "select", "table": "Database", "where": [["name", "==", HARDWARE_VTEP]], "columns": columns}
        query = ("ovsdb-client", "--timeout=1", "--no-leader-only", "transact", f"unix:{self.socket}")
        try:
            (result,) = json.loads(self.node.run(*query, json.dumps(["_Server", select])))
        except LabError:
            return {}
        return dict(result["rows"][0]) if result["rows"] else {}


class Cluster:
    """All three, in the place of the node's own server of hardware_vtep."""

    def __init__(self, node: Node) -> None:
        self.node = node
        first, *others = self.members = [Member(node, number) for number in (1, 2, 3)]
        schema = str(SCHEMA_DIRECTORY / SCHEMAS["vtep"])
        timer = f"--election-timer={ELECTION_TIMER_MS}"
        node.run("ovsdb-tool", timer, "create-cluster", str(first.file), schema, first.raft)
        for each in others:
            node.run("ovsdb-tool", "join-cluster", str(each.file), HARDWARE_VTEP, each.raft, first.raft)
        for each in self.members:
            each.run()
        self.wait(lambda: all(each.says.get("connected") for each in self.members), "all to join")
        node.appctl("ovsdb-server", "ovsdb-server/remove-db", HARDWARE_VTEP)
        self.await_leader()

    @property
    def remotes(self) -> str:
        """As the option has them."""
        return ",".join(each.remote for each in self.members)

    def wait(self, predicate: Callable[[], object], what: str) -> None:
        """Wait, for longer than elections take on a slow machine."""
        self.node.wait_until(predicate, 30, what)

    def leaders(self) -> list[Member]:
        """Those who say that they lead."""
        return [each for each in self.members if each.says.get("leader")]

    def await_leader(self) -> Member:
        """Wait until one leads, and have the tests' tools use it from now on."""
        self.wait(lambda: len(self.leaders()) == 1, "a leader")
        (leader,) = self.leaders()
        self.node.vtep_socket = leader.socket
        return leader

    def term(self) -> int:
        """How many elections there have been: on a slow machine also some that nobody asked for."""
        return int(re.findall(r"^Term: (\d+)$", self.await_leader().ask("cluster/status", HARDWARE_VTEP), re.M)[0])

    def followers(self) -> list[Member]:
        """All but the leader."""
        leader = self.await_leader()
        return [each for each in self.members if each is not leader]

    def recover(self) -> None:
        """Start those who do not run, and wait until all are there."""
        for each in self.members:
            if each.pid is None:
                each.run()
        self.wait(lambda: all(each.says.get("connected") for each in self.members), "all to be back")
        self.await_leader()

    def delete(self) -> None:
        """End all."""
        for each in self.members:
            each.kill()
