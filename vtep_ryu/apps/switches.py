"""The switches that are connected, by their identity, and what is done on each: it is served, followed or cleaned."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ryu.lib import hub

from vtep_ryu.apps.fatal import fatal
from vtep_ryu.apps.reconciler import Reconciler
from vtep_ryu.drivers import pauses
from vtep_ryu.drivers.replies import Identity
from vtep_ryu.drivers.switch import Refused, Switch, SwitchLost

LOG = logging.getLogger(__name__)


class Switches:
    """reconcilers are those of the switches that are served."""

    def __init__(self) -> None:
        self.reconcilers: dict[Identity, Reconciler] = {}
        self._switches: dict[Identity, Switch] = {}
        self._threads: dict[Identity, list[Any]] = {}
        self._cleaned: set[Identity] = set()
        self._following: set[Identity] = set()
        self._generations: dict[str, int] = {}

    def __contains__(self, identity: object) -> bool:
        return identity in self._switches

    def __iter__(self) -> Any:
        return iter(tuple(self._switches))

    def __getitem__(self, identity: Identity) -> Switch:
        return self._switches[identity]

    def of(self, datapath: Any) -> Switch | None:
        """The switch at the other end of a connection, unless it has connected anew since."""
        return next((switch for switch in self._switches.values() if switch.is_of(datapath)), None)

    def reconciler_of(self, datapath: Any) -> Reconciler | None:
        """The one that serves that switch, if one does."""
        switch = self.of(datapath)
        return None if switch is None else self.reconcilers.get(switch.identity)

    def connect(self, datapath: Any) -> None:
        """Take in that a switch has connected; an earlier connection of its may not have ended yet."""
        switch = Switch(datapath)
        if switch.identity in self._switches:
            self._lose(switch.identity)
        LOG.info("switch %016x connected", switch.datapath_id)
        self._switches[switch.identity] = switch

    def disconnect(self, switch: Switch) -> None:
        """Take in that a connection is lost."""
        LOG.warning("switch %016x disconnected%s", switch.datapath_id, switch.why_lost)
        self._lose(switch.identity)

    def serve(self, identity: Identity, reconciler: Reconciler, *others: Callable[[], None]) -> None:
        """Have a switch served, and these run meanwhile."""
        self.reconcilers[identity] = reconciler
        self._threads[identity] = [hub.spawn(fatal(each)) for each in (reconciler.run, *others)]

    def lead(self, switch: Switch, name: str) -> None:
        """Become the master of a switch. What makes that wrong may have happened while it was not connected.

        Raises Overtaken where another has been the master since we were it last.
        """
        self._generations[name] = switch.roles.lead(self._generations.get(name))

    def forget(self, name: str) -> None:
        """Take in that a bridge is not ours any more."""
        self.rest(name, at_once=True)
        self._generations.pop(name, None)

    def stop(self, identity: Identity) -> None:
        """End what is done on a switch. The next owner makes a slave of us, if that is why."""
        self._cleaned.discard(identity)
        self._following.add(identity)
        self.reconcilers.pop(identity, None)
        for thread in self._threads.pop(identity, ()):
            hub.kill(thread)
        pauses.let_go()

    def rest(self, name: str, at_once: bool) -> bool:
        """End the work on a bridge, at once or if all is done; return whether there is none any more."""
        working = [identity for identity, each in self.reconcilers.items() if each.vtep.name == name]
        if not at_once and not all(self.reconcilers[identity].is_idle for identity in working):
            return False
        for identity in working:
            self.stop(identity)
        return True

    def clean(self, identity: Identity, name: str) -> None:
        """Remove what is left on a bridge that was a VTEP, perhaps while the program was down."""
        if identity not in self._cleaned:
            self._cleaned.add(identity)
            hub.spawn(fatal(self._clean), self._switches[identity], name)

    def follow(self, identity: Identity, name: str, is_anothers: Callable[[], bool]) -> None:
        """Be a slave of a switch that another instance serves, if that is still so."""
        if identity not in self._following:
            self._following.add(identity)
            hub.spawn(fatal(self._follow), self._switches[identity], name, is_anothers)

    def has_followed(self, identity: Identity) -> bool:
        """Whether another instance has served it since it connected."""
        return identity in self._following

    def _lose(self, identity: Identity) -> None:
        self._switches.pop(identity).lose()
        self.stop(identity)
        self._following.discard(identity)

    @staticmethod
    def _clean(switch: Switch, name: str) -> None:
        try:
            with switch.turn:
                if switch.forget_everything():
                    LOG.info("%s: flows and groups of the VTEP that it was are removed", name)
        except SwitchLost as error:
            switch.close(str(error))  # It is cleaned when it connects again.
        except Refused as error:
            LOG.error("%s: the flows of the VTEP that it was cannot be removed: %s", name, error)

    @staticmethod
    def _follow(switch: Switch, name: str, is_anothers: Callable[[], bool]) -> None:
        try:
            with switch.turn:
                if is_anothers():
                    switch.roles.follow()
        except SwitchLost as error:
            switch.close(str(error))
        except Refused as error:
            LOG.warning("%s: the switch does not take this instance for a slave: %s", name, error)
