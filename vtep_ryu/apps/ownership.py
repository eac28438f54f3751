"""Has core.ownership's decisions carried out: asks for locks, gives bridges away, and hands them over at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Set

from ryu.lib import hub

from vtep_ryu.core.ownership import HANDING_SECONDS, TURN, Ownership
from vtep_ryu.drivers.hwvtep import AskLocks, HardwareVtep, LockAnswer, PassLock

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks whether a bridge is to be given away."""

TURN_SECONDS = 0.05
"""The same while it is waited for the turn to do so."""

AGAIN_SECONDS = 1.0
"""How soon the lock of a bridge is asked for anew of which another became the master while we had it."""

POLL_SECONDS = 0.01
REST_SECONDS = 1.0
"""How long is waited until all that was taken in of a bridge is applied, before it is handed over."""


class Owner:
    """This instance among others.

    rest(name, at_once) has the app end its work on a bridge, unless at once where nothing is left undone, and returns
    whether there is none any more. forget(name) has it forget that the bridge was ours, refresh() look what there is
    to do. is_probed is whether the server of hardware_vtep can notice that we hang.
    """

    def __init__(
        self,
        hwvtep: HardwareVtep,
        rebalance: bool,
        is_probed: bool,
        rest: Callable[[str, bool], bool],
        forget: Callable[[str], None],
        refresh: Callable[[], None],
    ) -> None:
        self._hwvtep = hwvtep
        self._ownership = Ownership(rebalance)
        self._is_probed = is_probed
        self._rest = rest
        self._forget = forget
        self._refresh = refresh
        self._asked: Mapping[str, bool] | None = None
        self._others: set[str] = set()

    @property
    def owned(self) -> Set[str]:
        """The bridges that are ours."""
        return self._ownership.owned.keys()

    @property
    def worked_on(self) -> Set[str]:
        """Those of them that are not being given away."""
        return {name for name in self.owned if not self._ownership.is_handing(name)}

    @property
    def standby(self) -> tuple[str, ...]:
        """The bridges that are connected, and not ours."""
        return self._ownership.standby

    def is_anothers(self, name: str) -> bool:
        """Whether another instance has the lock of a bridge."""
        return name in self._others

    def has_heirs(self) -> bool:
        """Whether any bridge is connected to others too, which could take it over."""
        return any(map(self._ownership.has_heir, self.owned))

    def has_heir(self, name: str) -> bool:
        """Whether this one is."""
        return self._ownership.has_heir(name)

    def look(self, known: Set[str], connected: Set[str], controllers: Mapping[str, int]) -> None:
        """Take in which bridges matter, which are connected here, and to how many controllers each is."""
        self._ownership.look(known, connected, controllers, time.monotonic())
        self._ask()

    def answered(self, answer: LockAnswer) -> None:
        """Take in whether we have the lock of a bridge."""
        name, has = answer.bridge, answer.has
        if name == TURN:
            self._ownership.take_turn(has)
            return
        if has:
            self._others.discard(name)
        elif name not in self._others:
            self._others.add(name)
            LOG.info("%s: another instance has its lock", name)
            if not self._is_probed:
                self._is_probed = True  # It is said once.
                LOG.warning("hardware_vtep: by Unix socket nobody notices an instance that hangs, to take over from it")
        if self._ownership.answered(name, has, time.monotonic()):
            if has:
                LOG.info("%s: this instance has its lock", name)
            else:
                self._forget(name)
        self._refresh()

    def demoted(self, name: str) -> None:
        """Take in that another has become the master of a bridge."""
        self._ownership.handed(name)
        self._ask()
        if name in self.worked_on:
            LOG.warning("%s: another controller is its master now", name)
            self._ownership.answered(name, False, time.monotonic())
            self._forget(name)
            self._refresh()
            # That one has the lock too, and we have not heard of it yet; or it does not know of locks.
            hub.spawn_after(AGAIN_SECONDS, self._hwvtep.post, PassLock(name))

    def balance(self) -> None:
        """Give away what is too much, one after another, for ever; to be run in a green thread."""
        pause = LOOK_SECONDS
        while True:
            hub.sleep(pause)
            name = self._ownership.to_give(time.monotonic())
            self._ask()
            if name is not None:
                LOG.info("%s: is given to another instance, which owns fewer switches", name)
                self._give(name)
                self._wait_given(name)
                self._ask()  # It is the turn of who else waits, before it is ours again.
            pause = 0.0 if name is not None else TURN_SECONDS if self._ownership.wants_turn else LOOK_SECONDS

    def leave(self) -> None:
        """Hand over, one after another, what others can take over."""
        self._ownership.leave()
        self._ask()
        for name in sorted(filter(self._ownership.has_heir, self.owned)):
            self._give(name)
            if self._wait_given(name):
                LOG.info("%s: handed over", name)

    def _give(self, name: str) -> None:
        _wait(lambda: self._rest(name, False), REST_SECONDS)
        self._ownership.give(name, time.monotonic())
        self._rest(name, True)
        self._hwvtep.post(PassLock(name))

    def _wait_given(self, name: str) -> bool:
        return _wait(lambda: not self._ownership.is_under_way(name), HANDING_SECONDS)

    def _ask(self) -> None:
        requests = self._ownership.requests()
        if requests != self._asked:
            self._asked = requests
            self._hwvtep.post(AskLocks(requests))


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until it is so, but no longer than so many seconds; return whether it is."""
    patience = time.monotonic() + seconds
    while not (is_so := condition()) and time.monotonic() < patience:
        hub.sleep(POLL_SECONDS)
    return is_so
