"""Locks of several sessions on a real server: one has each, others wait for it, and who has not cannot write."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import ovs.db.idl
import ovs.poller
import pytest

from apps.lab import Lab, Node
from apps.lab.namespace import wait_until
from apps.lab.node import SCHEMA_DIRECTORY
from tests.system import support
from vtep_ryu.drivers import jsonrpc, locks
from vtep_ryu.drivers.idl import Idl
from vtep_ryu.drivers.locks import Locks

jsonrpc.install()

NAMES = ("br0", "br-0", "br_2d0", "Brücke", "a b", "", "9", "_", "__")


class Client:
    """A session with locks, and what it was told of them."""

    def __init__(self, node: Node, steal: bool = False) -> None:
        self.node = node
        self.told: list[tuple[str, bool]] = []
        self.refused: list[str] = []
        self.locks = Locks(
            "test_",
            lambda name, has: self.told.append((name, has)),
            lambda name, why: self.refused.append(f"{name}: {why}"),
            time.monotonic,
            steal,
        )
        self.connect()

    def connect(self) -> None:
        """Have a new session."""
        helper = ovs.db.idl.SchemaHelper(location=str(SCHEMA_DIRECTORY / "vtep.ovsschema"))
        helper.register_columns("Logical_Router", ["name"])
        self.idl = Idl(f"unix:{self.node.socket}", helper, {}, self.locks)
        self.wait(self.idl.is_monitoring)
        self.locks.begin(self.idl._session.send)

    def close(self) -> None:
        """Hang up."""
        self.locks.end()
        self.idl.close()

    def run(self, seconds: float = 0.02) -> None:
        """Take in what comes within that time."""
        self.idl.run()
        self.locks.run()
        poller = ovs.poller.Poller()
        self.idl.wait(poller)
        self.locks.wait(poller)
        poller.timer_wait(int(1000 * seconds))
        poller.block()

    def wait(self, condition: Callable[[], Any]) -> None:
        """Wait until it is so."""
        wait_until(lambda: self.run() or condition(), what="what the server says")

    def wait_told(self, *told: tuple[str, bool]) -> None:
        """Wait until it was told this, and no more, since it was last asked."""
        self.wait(lambda: len(self.told) >= len(told) and self.locks.settled)
        assert tuple(self.told) == told
        self.told.clear()

    def write(self, name: str, lock: str) -> str:
        """Insert a row, if this lock is had; return what became of it."""
        transaction = ovs.db.idl.Transaction(self.idl)
        transaction.insert(self.idl.tables["Logical_Router"]).name = name
        transaction.add_op(self.locks.assertion(lock))
        transaction.commit()
        self.wait(lambda: transaction.commit() != transaction.INCOMPLETE)
        return str(transaction.commit())


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    return support.database_alone(lab)


@pytest.fixture
def make(node: Node) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(steal: bool = False) -> Client:
        made.append(Client(node, steal))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_one_has_a_lock_and_the_first_who_waits_has_it_next(make: Callable[..., Client]) -> None:
    one, two, three = make(), make(), make()
    for each, has in ((one, True), (two, False), (three, False)):
        each.locks.want({"br0": True})
        each.wait_told(("br0", has))
    assert one.locks.held == {"br0"}
    assert not two.locks.held
    one.locks.pass_on("br0")
    one.wait_told(("br0", False))
    two.wait_told(("br0", True))
    two.close()
    three.wait_told(("br0", True))
    three.locks.want({})
    one.wait_told(("br0", True))


def test_a_lock_that_nobody_waits_for_stays_and_that_is_told(make: Callable[..., Client]) -> None:
    one = make()
    one.locks.want({"br0": True, "br1": True})
    one.wait_told(("br0", True), ("br1", True))
    one.locks.pass_on("br1")
    assert not one.locks.settled
    assert not one.locks.holds("br1")
    one.wait_told(("br1", True))
    assert one.locks.held == {"br0", "br1"}


def test_a_lock_that_is_not_waited_for_is_left_to_who_waits(
    make: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "OFFER_SECONDS", 0.2)
    one, two = make(), make()
    one.locks.want({"br0": False})
    one.wait_told(("br0", True))
    two.locks.want({"br0": True})
    two.wait_told(("br0", False))
    one.wait_told(("br0", False))
    two.wait_told(("br0", True))
    for _ in range(20):
        one.run()  # It tries again and again.
    assert not one.told
    two.locks.want({})
    one.wait_told(("br0", True))


def test_who_stops_to_wait_is_not_given_the_lock(make: Callable[..., Client]) -> None:
    one, two = make(), make()
    one.locks.want({"br0": True})
    one.wait_told(("br0", True))
    two.locks.want({"br0": True})
    two.wait_told(("br0", False))
    two.locks.want({"br0": False})
    two.run()
    one.locks.pass_on("br0")
    one.wait_told(("br0", True))


def test_when_all_stop_to_wait_at_once_the_lock_stays_where_it_is(make: Callable[..., Client]) -> None:
    """So it is when the switch ends: who had it knows its stations, and would not if another had it in between."""
    one, two = make(), make()
    one.locks.want({"br0": True})
    one.wait_told(("br0", True))
    two.locks.want({"br0": True})
    two.wait_told(("br0", False))
    two.locks.want({"br0": False})
    for each in (two, one):
        each.run()
    one.locks.want({"br0": False})
    time.sleep(locks.PATIENCE_SECONDS)
    two.locks.run()
    time.sleep(0.05)  # The server has what two says before what one does.
    one.locks.run()
    for _ in range(10):
        for each in (two, one):
            each.run()
    assert one.told == two.told == []
    assert one.locks.held == {"br0"}


def test_what_is_written_without_the_lock_is_refused_by_the_server(make: Callable[..., Client], node: Node) -> None:
    one, two = make(), make(steal=True)
    one.locks.want({"br0": True})
    one.wait_told(("br0", True))
    assert one.write("first", "br0") == "success"
    two.locks.want({"br0": True})
    two.wait_told(("br0", True))
    assert one.write("second", "br0") == "not locked"
    assert two.write("third", "br0") == "success"
    one.wait_told(("br0", False))
    assert {row["name"] for row in node.rows("Logical_Router")} == {"first", "third"}
    two.close()
    one.wait_told(("br0", True))  # Who was stolen from waits again.
    two.connect()
    two.wait_told(("br0", False))  # It is taken once, not with each new session.


def test_a_new_session_asks_for_all_locks_and_tells_what_is_news(make: Callable[..., Client]) -> None:
    one, two = make(), make()
    one.locks.want({"br0": True, "br1": True})
    one.wait_told(("br0", True), ("br1", True))
    two.locks.want({"br1": True})
    two.wait_told(("br1", False))
    one.close()
    assert not one.locks.held
    two.wait_told(("br1", True))
    one.connect()
    one.wait_told(("br1", False))
    assert one.locks.held == {"br0"}


def test_whatever_a_bridge_is_called_has_a_lock_of_its_own(make: Callable[..., Client]) -> None:
    one, two = make(), make()
    one.locks.want(dict.fromkeys(NAMES, True))
    one.wait_told(*((name, True) for name in NAMES))
    two.locks.want(dict.fromkeys(NAMES, True))
    two.wait_told(*((name, False) for name in NAMES))
    assert one.refused == two.refused == []
