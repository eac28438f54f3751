"""OVSDB locks (RFC 7047, sections 4.1.8 to 4.1.11): any number in one session, where the ovs package's IDL has one.

They are those of the session that writes. So a lock goes exactly when that session goes, and the server refuses what is
sent after that: write() of a client asserts the locks of what it changes.

A lock is had by one, and others wait for it in a queue; who has it is not told whether there are any. Who would let
others have it unlocks it and locks it again, in one go: it stays where it was unless somebody is in the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ovs.jsonrpc

OFFER_SECONDS = 2.0
"""Between two times that a lock which is not waited for is offered to others, or tried."""

LIFE_SECONDS = 0.1
"""Between two signs of life while there is much to do: a server that waits for one in vain hangs up."""

PATIENCE_SECONDS = 0.3
"""How soon it is offered first: whoever else has lost the switch, as when it ends, has left the queue by then."""


class Locks:
    """The locks that a client wants. All names are the client's own; prefix makes them the database's.

    told is called with a name and whether its lock is had: at first, when that changes, and after pass_on(). That
    nothing is known, as while there is no connection, is not told. refused is called with a name and what the server
    says where it gives no locks.
    """

    def __init__(
        self,
        prefix: str,
        told: Callable[[str, bool], None],
        refused: Callable[[str, str], None],
        monotonic: Callable[[], float],
        steal: bool = False,
    ) -> None:
        self._prefix = prefix
        self._tell = told
        self._refuse = refused
        self._monotonic = monotonic
        self._steal = steal
        self._send: Callable[[Any], Any] | None = None
        self._wanted: dict[str, bool] = {}
        self._new: set[str] = set()
        self._names: dict[str, str] = {}
        self._queued: set[str] = set()
        self._has: dict[str, bool] = {}
        self._told: dict[str, bool] = {}
        self._asked: dict[str, Any] = {}
        self._unanswered: dict[Any, str] = {}
        self._offers: dict[str, float] = {}
        self._alive = 0.0

    # What the client asks and says.

    def holds(self, name: str) -> bool:
        """Whether this session has the lock."""
        return self._has.get(name, False)

    @property
    def held(self) -> set[str]:
        """The names of all locks that this session has."""
        return {name for name, has in self._has.items() if has}

    @property
    def settled(self) -> bool:
        """Whether the server has said of every lock whether this session has it."""
        return self._send is not None and not self._asked

    def assertion(self, name: str) -> dict[str, str]:
        """The operation by which a transaction fails where this session does not have the lock."""
        return {"op": "assert", "lock": self._lock(name)}

    def want(self, wanted: Mapping[str, bool]) -> None:
        """Ask for these locks and no others, and wait for those where that is said."""
        for name in self._wanted.keys() - wanted.keys():
            self._leave(name)
            for each in (self._told, self._has, self._asked, self._offers):
                each.pop(name, None)
        before, self._wanted = self._wanted, dict(wanted)
        self._new.intersection_update(wanted)
        for name, waits in wanted.items():
            if name not in before:
                self._new.add(name)
                self._ask(name)
            elif waits:
                self._offers.pop(name, None)
                if name not in self._queued:
                    self._ask(name)
            elif before[name]:
                # Who has it not tries later: at the moment of an offer it would be given it.
                self._stop_waiting(name, PATIENCE_SECONDS if self._has.get(name) else OFFER_SECONDS)

    def pass_on(self, name: str) -> None:
        """Let whoever waits have the lock; where nobody does it stays here."""
        self._told.pop(name, None)
        if name in self._wanted:
            self._leave(name)
            self._ask(name)

    # The session.

    def begin(self, send: Callable[[Any], Any]) -> None:
        """Take in that there is a new session."""
        self.end()
        self._send = send
        for name in self._wanted:
            self._ask(name)

    def end(self) -> None:
        """Take in that the session is gone, and all locks with it."""
        self._send = None
        for each in (self._queued, self._has, self._asked, self._unanswered, self._offers):
            each.clear()

    def run(self) -> None:
        """Offer and try what is due."""
        now = self._monotonic()
        for name in [name for name, due in self._offers.items() if due <= now]:
            self._leave(name)
            self._ask(name)

    def wait(self, poller: Any) -> None:
        """Have the poller wake up when something is."""
        if self._offers:
            poller.timer_wait(max(0, int(1000 * (min(self._offers.values()) - self._monotonic()))) + 1)

    def show_life(self) -> None:
        """Have the server know that we are there, in the midst of work that leaves what it says unread."""
        now = self._monotonic()
        if self._send is not None and now - self._alive >= LIFE_SECONDS:
            self._alive = now
            echo = ovs.jsonrpc.Message.create_request("echo", [])
            echo.id = "echo"  # So the ovs package does not wonder at the answer.
            self._send(echo)

    def take_reply(self, message: Any) -> bool:
        """Take in an answer, if it is one to what is asked here; return whether it is."""
        name = self._unanswered.pop(message.id, None)
        if name is None:
            return False
        if self._asked.get(name) == message.id:
            del self._asked[name]
            if message.error:
                self._refuse(name, str(message.error))
            self._know(name, isinstance(message.result, dict) and message.result.get("locked") is True)
        return True

    def take_notification(self, parameters: Any, has: bool) -> None:
        """Take in that a lock that was waited for is had, or was stolen by another session."""
        name = self._names.get(parameters[0]) if isinstance(parameters, list) and parameters else None
        if name is None or name not in self._queued or name in self._asked:
            return  # It has been given up meanwhile, and the answer to the next question counts.
        if has:
            self._know(name, True)
        else:
            self._leave(name)
            self._ask(name)

    def _know(self, name: str, has: bool) -> None:
        is_news = self._has.get(name) != has  # That a lock is had is said again whenever another leaves the queue.
        self._has[name] = has
        if is_news and not self._wanted[name]:
            self._stop_waiting(name, OFFER_SECONDS)
        if self._told.get(name) != has:
            self._told[name] = has
            self._tell(name, has)

    def _stop_waiting(self, name: str, seconds: float) -> None:
        """Leave the queue, or, where there is none before us, offer the lock soon."""
        if name not in self._asked:
            self._offers[name] = self._monotonic() + seconds
            if not self._has.get(name):
                self._leave(name)

    def _ask(self, name: str) -> None:
        self._offers.pop(name, None)
        if self._send is not None:
            method = "steal" if self._steal and name in self._new else "lock"
            self._new.discard(name)
            self._queued.add(name)
            self._asked[name] = self._request(method, name)

    def _leave(self, name: str) -> None:
        self._has.pop(name, None)
        if name in self._queued:
            self._queued.discard(name)
            self._request("unlock", name)

    def _request(self, method: str, name: str) -> Any:
        assert self._send is not None
        request = ovs.jsonrpc.Message.create_request(method, [self._lock(name)])
        self._unanswered[request.id] = name
        self._send(request)
        return request.id

    def _lock(self, name: str) -> str:
        """The lock's name: an <id> has letters, digits and underscores alone."""
        lock = self._prefix + "".join(_spelled(each) for each in name)
        self._names[lock] = name
        return lock


def _spelled(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    return "".join(f"_{byte:02x}" for byte in character.encode())
