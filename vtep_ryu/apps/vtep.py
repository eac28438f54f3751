"""The Ryu application: ``ryu-manager vtep_ryu.apps.vtep``.

Events in, state changed, reconcile. What the database's rows mean is core/'s, how to talk is drivers/'.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Set
from typing import Any

from ryu import cfg
from ryu.base import app_manager
from ryu.controller import controller, ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3 as ofp

from vtep_ryu import __version__, listening, options
from vtep_ryu.apps.answers import Answers
from vtep_ryu.apps.fatal import fatal
from vtep_ryu.apps.logs import forget_origins, set_format
from vtep_ryu.apps.metrics import Metrics, writer
from vtep_ryu.apps.ownership import Owner
from vtep_ryu.apps.reconciler import Reconciler
from vtep_ryu.apps.soon import Soon
from vtep_ryu.apps.switches import Switches
from vtep_ryu.apps.wishes import Wishes
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.database import Database
from vtep_ryu.core.events import Events
from vtep_ryu.core.model import Bridge, Settings, Update
from vtep_ryu.core.statistics import BindingStats
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.core.words import rows_in_words
from vtep_ryu.drivers import pauses, wellformed
from vtep_ryu.drivers.companion import Companion
from vtep_ryu.drivers.control import Asked, Control, LogLevel, Status, Stop
from vtep_ryu.drivers.hwvtep import HardwareVtep, LockAnswer
from vtep_ryu.drivers.listener import Listener
from vtep_ryu.drivers.openvswitch import Bridges, Connected, OpenVSwitch
from vtep_ryu.drivers.ovsdb import AWAY, Link
from vtep_ryu.drivers.publish import Forget, LocalMac, PublishMacs, PublishStatistics, PublishTunnels
from vtep_ryu.drivers.replies import ANSWER_NAMES, Identity, port_of, station_of
from vtep_ryu.drivers.roles import Overtaken, is_demotion
from vtep_ryu.drivers.switch import Switch
from vtep_ryu.drivers.tls_stream import TlsStream
from vtep_ryu.drivers.watchdog import Pulse, Watchdog

LOG = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""How long a bound port has to be missing until that is a fault: it and its bindings go in two databases."""

COUNTED_SECONDS = 1.0
"""How old the status's counters may be: what they count can come in thousands a second."""

LISTENER_SECONDS = 2.0
"""Between two looks whether switches can still connect: Ryu would go on without."""

ANSWERS = [getattr(ofp_event, f"Event{name}") for name in ANSWER_NAMES]

options.ryu_defaults(cfg.CONF)
controller.StreamServer = Listener
controller.ofproto_parser = wellformed


class VtepApp(app_manager.RyuApp):  # type: ignore[misc]
    """Serves every connected bridge that has a Physical_Switch row of its name and is no other instance's."""

    OFP_VERSIONS = (ofp.OFP_VERSION,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = options.load(cfg.CONF)
        listening.check(cfg.CONF)
        if chosen.tls:
            TlsStream.use(chosen.tls)
        if set_format(logging.getLogger().handlers):
            forget_origins()
        logging.getLogger("vtep_ryu").setLevel(chosen.log_level.upper())
        logging.getLogger("ryu.base.app_manager").setLevel(logging.INFO)  # Else --verbose has a line for every message.
        self._settings = Settings(
            mac_ageing_time=chosen.mac_ageing_time,
            binding_mac_limit=chosen.binding_mac_limit,
            switch_mac_limit=chosen.switch_mac_limit,
            accept_any_source=chosen.accept_any_source,
            honour_vni_0=chosen.honour_vni_0,
            pin_remote=chosen.pin_remote,
            mac_move_limit=chosen.mac_move_limit,
            mac_move_window=chosen.mac_move_window,
            storm_control=chosen.storm_control,
        )
        self._statistics_interval = chosen.statistics_interval
        self._watchdog = chosen.watchdog
        self._pulse = Pulse("main")
        probe = chosen.database_probe_interval
        self._hwvtep = HardwareVtep(chosen.hardware_vtep_remotes, probe)
        self._openvswitch = OpenVSwitch(
            chosen.open_vswitch_remotes, probe, chosen.packet_in_rate, chosen.packet_in_burst
        )
        self._control = Control(options.run_directory(os.environ, os.path.exists))
        databases = {each.name: AWAY for each in (self._hwvtep, self._openvswitch)}
        self._status = Status((), chosen.hardware_vtep_remotes, chosen.open_vswitch_remotes, (), (), (), databases, {})
        self._told = self._status
        self._database = Database()
        self._events = Events(time.time, tell=writer(chosen.event_log))
        self._bridges: Bridges | None = None
        self._by_datapath: dict[int | None, list[Bridge]] = {}
        self._vteps: dict[str, Vtep] = {}
        self._published: set[str] = set()
        self._switches = Switches()
        self._refresh = Soon(self._refresh_now)
        self._post_status = Soon(self._post_status_now)
        is_probed = not all(each.startswith("unix:") for each in chosen.hardware_vtep_remotes)
        self._owner = Owner(self._hwvtep, chosen.rebalance, is_probed, self._switches.rest, self._forget, self._refresh)
        self._answers = Answers(
            *(self._control, self._database, self._vteps, self._switches.reconcilers, self._events),
            lambda: self._owner.standby,
        )
        clients = (self._hwvtep, self._openvswitch)
        Metrics(self._answers.site, lambda: self._status, self._events, clients).start(chosen.metrics_listen)
        self._settling = False
        self._counting = False
        self._wishes = Wishes(self._hwvtep, self._openvswitch)

    def start(self) -> Any:
        """Start following the databases; returns a green thread: without any, Ryu ends as if all were well."""
        super().start()
        LOG.info("vtep_ryu %s", __version__)
        pauses.shorten()
        pauses.hold(pauses.START)
        hub.spawn_after(pauses.START_SECONDS, pauses.go_on, pauses.START)
        self._control.post(self._status)
        companions: dict[Companion[Any, Any], Callable[[Any], None]] = {
            self._hwvtep: self._on_update,
            self._openvswitch: self._on_bridges,
            self._control: self._on_control,
        }
        for companion, receive in companions.items():
            companion.start()
            hub.spawn(self._follow, companion, receive)
        hub.spawn(fatal(self._answers.sample))
        if self._watchdog:
            hub.spawn(fatal(self._beat))
            Watchdog((self._pulse, *(each.pulse for each in companions)), self._watchdog).start()
        hub.spawn(fatal(self._owner.balance))
        return hub.spawn(fatal(self._await_listener))

    def _beat(self) -> None:
        while True:
            self._pulse.turns += 1
            hub.sleep(self._watchdog / 8)

    # Who else is there: the databases and the control socket.

    @fatal
    def _follow(self, companion: Companion[Any, Any], receive: Callable[[Any], None]) -> None:
        def take_in(value: Any) -> None:
            if isinstance(value, Link):
                before = self._status.databases[companion.name]
                self._events.linked(companion.name, before.remote, value.remote)
                self._tell(databases={**self._status.databases, companion.name: value})
            else:
                receive(value)

        companion.deliver(take_in)

    def _await_listener(self) -> None:
        """Say in the status where OpenFlow is listened for, as soon as it is; end when it is no more."""
        scheme, host, port = listening.place(cfg.CONF)
        while not listening.obstacle(host, port):
            hub.sleep(0.01)
        self._tell(listen=(f"{scheme}:[{host}]:{port}" if ":" in host else f"{scheme}:{host}:{port}",))
        while listening.obstacle(host, port):
            hub.sleep(LISTENER_SECONDS)
        raise RuntimeError(f"{host}:{port} is not listened on any more")

    def _on_control(self, value: Asked | LogLevel | Stop) -> None:
        if isinstance(value, Stop):
            hub.spawn(fatal(self._leave), value)
        else:
            self._answers.take(value)

    def _leave(self, stop: Stop) -> None:
        LOG.info("ending: what other instances can serve is handed over to them")
        self._owner.leave()
        self._control.end(stop.signal)

    def _tell(self, **changes: Any) -> None:
        """Have the status say so."""
        self._status = dataclasses.replace(self._status, **changes)
        self._post_status()

    def _post_status_now(self) -> None:
        counters = {name: vtep.counters.copy() for name, vtep in sorted(self._vteps.items())}
        ownership = {"owned": tuple(sorted(self._owner.owned)), "standby": self._owner.standby}
        self._status = dataclasses.replace(self._status, counters=counters, **ownership)
        if self._status != self._told:
            self._told = self._status
            self._control.post(self._status)

    def _on_served(self) -> None:
        served = tuple(sorted(each.vtep.name for each in self._switches.reconcilers.values() if each.served))
        if served:
            pauses.go_on(pauses.START)
        self._tell(bridges=served)

    def _on_reconciled(self, name: str) -> None:
        self._post_wishes({name})
        if not self._counting:
            self._counting = True
            hub.spawn_after(COUNTED_SECONDS, self._counted)

    @fatal
    def _counted(self) -> None:
        self._counting = False
        self._post_status()

    def _on_update(self, update: Update | LockAnswer) -> None:
        if isinstance(update, LockAnswer):
            self._owner.answered(update)
            self._post_status()
            return
        try:
            touched = self._database.apply(update)
            for vtep in self._vteps.values():
                vtep.touch(touched, update.received)
            self._refresh()
        except Exception as error:
            error.add_note(f"taking in {rows_in_words(update)}")
            raise

    def _on_bridges(self, bridges: Bridges) -> None:
        self._bridges = bridges
        self._by_datapath = {}
        for bridge in bridges.values():
            self._by_datapath.setdefault(bridge.datapath_id, []).append(bridge)
        self._refresh_now()  # A bridge that has gone is not to be looked for by anybody.

    def _refresh_now(self) -> None:
        """See to it that the bridges that are VTEPs, and no others, are served."""
        if self._bridges is None or not self._database.loaded:
            return
        rows = {row.name for row in self._database.physical_switches() if row.name in self._bridges}
        connected = {bridge.name for identity in self._switches if (bridge := self._bridge(identity))}
        self._look(rows, connected)
        wanted = rows & self._owner.owned
        for name in self._vteps.keys() - wanted:
            self._retire(name)
        # A bridge that nobody has told of a controller may be another program's, as ovs-vtep's.
        told = connected | {name for name in wanted if self._bridges[name].has_controller}
        for name in (wanted & told) - self._vteps.keys():
            note = self._events.of(name)
            self._vteps[name] = Vtep(name, self._database, self._settings, self._bridges[name], note)
        for name, vtep in self._vteps.items():
            vtep.set_bridge(self._bridges[name])
            if name in self._published:
                self._publish(name, vtep.news(), False)
        if not self._settling:
            self._settle()
        self._post_wishes(self._vteps.keys())
        for identity in self._switches:
            self._serve(identity)
        for reconciler in self._switches.reconcilers.values():
            reconciler.wake()

    def _look(self, rows: set[str], connected: set[str]) -> None:
        """Have it said which bridges there are to own: VTEPs, and those where something of one may be left."""
        assert self._bridges is not None
        known = {name for name, bridge in self._bridges.items() if name in rows | connected or bridge.has_tunnels}
        self._owner.look(known, connected, {name: each.controllers for name, each in self._bridges.items()})
        self._control.hands_over = self._owner.has_heirs()

    def _settle(self) -> None:
        """Let what has been amiss for a moment become a fault, and come back for what has been for less."""
        self._settling = any([vtep.settle() for vtep in self._vteps.values()])
        if self._settling:
            hub.spawn_after(SETTLE_SECONDS, self._settled)

    @fatal
    def _settled(self) -> None:
        self._settling = False
        self._refresh()

    def _post_wishes(self, names: Set[str]) -> None:
        """Have what these bridges need seen to."""
        assert self._bridges is not None
        wanted = [each for each in self._switches.reconcilers.values() if each.vtep.name in names]
        behind = {each.vtep.name for each in wanted if each.is_behind}
        for name in names:
            self._wishes.look(self._vteps[name], self._bridges[name].ports, name in behind)
        self._wishes.post(self._vteps.keys(), self._owner.owned)

    def _publish(self, name: str, macs: dict[LocalMac, str | None], complete: bool) -> None:
        if complete:
            self._published.add(name)
        if macs or complete:
            self._hwvtep.post(PublishMacs(name, macs, complete))

    def _report(self, name: str, statistics: dict[tuple[str, int], BindingStats]) -> None:
        if name in self._vteps:
            self._hwvtep.post(PublishStatistics(name, statistics))
            self._post_status()

    # The switches.

    def _bridge(self, identity: Identity) -> Bridge | None:
        """The bridge that a connected switch is, if it is one of this database."""
        return next(filter(identity.is_of, self._by_datapath.get(identity.datapath_id, ())), None)

    def _serve(self, identity: Identity) -> None:
        """Serve a connected switch if it is ours and a VTEP; if it is none, see to it that nothing of one is left."""
        bridge = self._bridge(identity)
        if bridge is None:
            return
        name, switch = bridge.name, self._switches[identity]
        switch.expect_answers(soon=self._owner.has_heir(name))
        if self._owner.is_anothers(name):
            self._switches.follow(identity, name, functools.partial(self._owner.is_anothers, name))
        elif name in self._owner.worked_on and name not in self._vteps:
            self._switches.clean(identity, name)
        elif name in self._owner.worked_on and identity not in self._switches.reconcilers:
            vtep, publish = self._vteps[name], functools.partial(self._publish, name)
            lead = functools.partial(self._lead, switch, name)
            reconciled = functools.partial(self._on_reconciled, name)
            reconciler = Reconciler(vtep, switch, lead, publish, self._on_served, reconciled)
            report = functools.partial(self._report, name)
            reporting = functools.partial(reconciler.report, self._statistics_interval, report)
            self._switches.serve(identity, reconciler, *((reporting,) if self._statistics_interval else ()))
            if not self._switches.has_followed(identity):
                self._openvswitch.post(Connected(name))

    def _lead(self, switch: Switch, name: str) -> None:
        try:
            self._switches.lead(switch, name)
        except Overtaken:
            hub.spawn(fatal(self._owner.demoted), name)
            raise

    def _forget(self, name: str) -> None:
        """Take in that a bridge is not ours any more: what is there is left to who has it now."""
        self._switches.forget(name)
        self._vteps.pop(name, None)
        self._published.discard(name)
        self._hwvtep.post(Forget(name))

    def _retire(self, name: str) -> None:
        LOG.info("%s: not a VTEP any more", name)
        del self._vteps[name]
        self._publish(name, {}, True)
        self._hwvtep.post(PublishTunnels(name, {}, True))
        self._published.discard(name)
        self._switches.rest(name, at_once=True)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])  # type: ignore[untyped-decorator]
    @fatal
    def _on_state_change(self, event: Any) -> None:
        if event.state == MAIN_DISPATCHER:
            self._switches.connect(event.datapath)
        elif (switch := self._switches.of(event.datapath)) is not None:
            self._switches.disconnect(switch)
        else:
            return
        self._refresh()
        self._post_status()

    @set_ev_cls(ANSWERS, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    @fatal
    def _on_reply(self, event: Any) -> None:
        switch = self._switches.of(event.msg.datapath)
        if switch is not None:
            if is_demotion(event.msg) and (bridge := self._bridge(switch.identity)):
                self._owner.demoted(bridge.name)
            switch.receive(event.msg)

    @set_ev_cls(ofp_event.EventOFPFlowRemoved, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    @fatal
    def _on_flow_removed(self, event: Any) -> None:
        message = event.msg
        reconciler = self._switches.reconciler_of(message.datapath)
        is_ours = message.table_id == p.LEARN.id and p.epoch_of(message.cookie) is not None
        if reconciler is not None and is_ours and message.reason == ofp.OFPRR_IDLE_TIMEOUT:
            reconciler.aged(*station_of(message.match))

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    @fatal
    def _on_port_status(self, event: Any) -> None:
        reconciler = self._switches.reconciler_of(event.msg.datapath)
        port = port_of(event.msg.desc)
        if reconciler is not None and port is not None:
            reconciler.set_port(port, event.msg.reason == ofp.OFPPR_DELETE)
