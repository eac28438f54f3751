"""The tunnels of one physical switch, and how the BFD in them goes (vtep(5), table Tunnel)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.database import Database
from vtep_ryu.core.events import Kind, Note
from vtep_ryu.core.model import UNKNOWN_DST, Bfd, Bridge, TunnelPort

LOG = logging.getLogger(__name__)

STATUS_KEYS = ("state", "forwarding", "diagnostic", "remote_state", "remote_diagnostic")
"""What vtep(5) has in bfd_status, of what Open vSwitch says there."""

Statuses = Mapping[tuple[str, str], Mapping[str, str] | None]
"""What bfd_status has to say, by the addresses of a tunnel; None where there is none."""


class Sessions:
    """A tunnel leads from the first of tunnel_ips to each address that a logical switch which is bound here uses.

    One BFD session a tunnel, whatever the number of logical switches, is at a port of its own. Where a session ends,
    the switch may still watch its port: that is ending, and stays until release(). title says what a logical switch is
    called; touch is called with an address and its users when a session with it begins or ends, without any when a
    tunnel does; note with what goes up and down.
    """

    def __init__(
        self,
        physical_switch: str,
        database: Database,
        title: Callable[[str], str],
        touch: Callable[[str, Collection[str]], None],
        note: Note,
    ) -> None:
        self._note = note
        self._physical_switch = physical_switch
        self._database = database
        self._title = title
        self._touch = touch
        self._own: tuple[str, ...] = ()
        self._bound: set[str] = set()
        self._users: dict[str, set[str]] = defaultdict(set)
        self._sessions: dict[str, Bfd] = {}
        self._ending: dict[str, Bfd] = {}
        self._bridge: Bridge | None = None
        self._healthy: dict[str, bool] = {}
        self._news: set[str] = set()
        self._all_new = True
        self._ports: Mapping[str, TunnelPort] | None = None
        self._suspects: set[str] = set()
        self._cut_off: set[str] = set()
        self._carriers: dict[str, str] = {}

    # What the rest of the program asks.

    def ports(self) -> Mapping[str, TunnelPort]:
        """The VXLAN ports that the bridge needs, by name; the same object for as long as nothing changes."""
        if self._ports is None:
            sessions = self._ending | self._sessions
            self._ports = {p.tunnel_port_name(ip): TunnelPort(ip) for ip in self._own} | {
                self._name(remote): TunnelPort(self._own[0], remote, bfd) for remote, bfd in sessions.items()
            }
        return self._ports

    def port_with(self, remote: str) -> str | None:
        """The name of the port whose BFD says whether frames reach this address, if it has a session."""
        return self._name(remote) if remote in self._sessions else None

    def users(self, remote: str) -> Collection[str]:
        """The logical switches whose rows name this address."""
        return self._users.get(remote, ())

    def remotes(self) -> set[str]:
        """The other ends of all tunnels."""
        return {remote for remote in self._users if self.leads_to(remote)}

    def leads_to(self, remote: str) -> bool:
        """Whether there is a tunnel to this address."""
        return bool(self._own) and remote in self._users and remote not in self._own

    def news(self) -> tuple[Statuses, bool]:
        """The tunnels that may have changed since last asked; and whether these are all there are."""
        complete, remotes = self._all_new, self.remotes() if self._all_new else self._news
        self._all_new, self._news = False, set()
        return {(self._own[0], remote): self.status(remote) for remote in remotes if self._own}, complete

    def status(self, remote: str) -> Mapping[str, str] | None:
        """What bfd_status has to say of a tunnel: nothing where BFD is not enabled, or not heard of yet."""
        if not self.leads_to(remote):
            return None
        if remote not in self._sessions:
            return {}
        error, said = _said(self._bridge, self._name(remote))
        if error is not None:
            return {"enabled": "false", "info": error}
        if not said:
            return {}
        status = {key: said[key] for key in STATUS_KEYS if key in said}
        return {"enabled": "true", **status, "info": _in_words(said)}

    def is_alive(self, remote: str) -> bool:
        """Whether frames reach this address, as far as is known: without BFD it is not."""
        return remote not in self._sessions or self._healthy.get(remote, False)

    # What happens.

    def set_addresses(self, tunnel_ips: tuple[str, ...]) -> None:
        """Take in the physical switch's tunnel addresses."""
        before, self._own = self._own, tunnel_ips
        changed = {*before, *tunnel_ips}
        if before[:1] != tunnel_ips[:1]:
            # Other tunnels altogether, with other rows and ports.
            for those in (self._sessions, self._ending, self._healthy):
                those.clear()
            self._all_new = True
            self._suspects.update(self._bound)
            changed.update(self._users)
        self._ports = None
        self._news.update(changed)
        for remote in changed:
            self._look(remote)

    def bind(self, logical_switch: str, is_bound: bool) -> None:
        """Take in whether a logical switch is bound here."""
        self._suspects.add(logical_switch)
        if is_bound == (logical_switch in self._bound):
            return
        (self._bound.add if is_bound else self._bound.discard)(logical_switch)
        for remote in self._database.sources(logical_switch):
            self._use(logical_switch, remote, is_bound)

    def follow_source(self, logical_switch: str, remote: str) -> None:
        """Take in that a row of a bound logical switch names an address, or none does any more."""
        if logical_switch in self._bound:
            self._use(logical_switch, remote, bool(self._database.locators(logical_switch, remote)))

    def follow_row(self, local: str, remote: str) -> None:
        """Take in that a Tunnel row has come, changed or gone."""
        if (local,) == self._own[:1]:
            self._news.add(remote)
            self._look(remote)

    def suspect(self, logical_switch: str) -> None:
        """Take in that the members of a logical switch changed, or how it uses them."""
        self._suspects.add(logical_switch)

    def set_bridge(self, bridge: Bridge) -> None:
        """Take in how the sessions are."""
        before, self._bridge = self._bridge, bridge
        if before is not None and (before.bfd, before.tunnel_errors) == (bridge.bfd, bridge.tunnel_errors):
            return
        for name in self.ports():
            remote = p.remote_of_bfd_port(name)
            if remote in self._sessions and _said(before, name) != _said(bridge, name):
                self._news.add(remote)
                self._hear(remote)

    def look_at_members(self) -> None:
        """Say where no member of unknown-dst can get frames any more, and where one can again."""
        suspects, self._suspects = self._suspects, set()
        for switch in suspects:
            self._follow_carrier(switch)
            is_cut_off = switch in self._bound and self._is_cut_off(switch)
            if is_cut_off and switch not in self._cut_off:
                text = "all members of unknown-dst are down: frames for them are dropped"
                LOG.warning("%s: Logical_Switch %s: %s", self._physical_switch, self._title(switch), text)
                self._cut_off.add(switch)
            elif not is_cut_off and switch in self._cut_off:
                if switch in self._bound:
                    text = "not all members of unknown-dst are down any more"
                    LOG.info("%s: Logical_Switch %s: %s", self._physical_switch, self._title(switch), text)
                self._cut_off.discard(switch)

    def release(self) -> None:
        """Take in that the switch watches nothing any more that is ending."""
        if self._ending:
            self._ending.clear()
            self._ports = None

    # What follows from it.

    def _name(self, remote: str) -> str:
        return p.bfd_port_name(self._own[0], remote)

    def _use(self, logical_switch: str, remote: str, uses: bool) -> None:
        users = self._users[remote]
        was_used = bool(users)
        (users.add if uses else users.discard)(logical_switch)
        if not users:
            del self._users[remote]
        if was_used != bool(users) and remote not in self._own:
            self._news.add(remote)
            self._touch(remote, ())
            self._look(remote)

    def _look(self, remote: str) -> None:
        """Begin, change or end the session with an address, as its row says."""
        row = self._database.tunnel(self._own[0], remote) if self.leads_to(remote) else None
        before, now = self._sessions.get(remote), None if row is None else row.bfd
        if before == now:
            return
        self._ports = None
        self._news.add(remote)
        self._ending.pop(remote, None)
        if now is not None:
            self._sessions[remote] = now
            self._hear(remote)
        elif before is not None:
            del self._sessions[remote]
            self._healthy.pop(remote, None)
            self._ending[remote] = before
        if before is None or now is None:
            self._touch(remote, self.users(remote))
            self._suspects.update(self.users(remote))

    def _hear(self, remote: str) -> None:
        """Say where a session goes up or down."""
        _, said = _said(self._bridge, self._name(remote))
        if not said:
            self._healthy.pop(remote, None)
            return
        before, healthy = self._healthy.get(remote, False), said.get("forwarding") == "true"
        self._healthy[remote] = healthy
        self._suspects.update(self.users(remote))
        if healthy != before:
            level = logging.INFO if healthy else logging.WARNING
            LOG.log(level, "%s: tunnel to %s: %s", self._physical_switch, remote, _in_words(said))
            self._note(Kind.TUNNEL_UP if healthy else Kind.TUNNEL_DOWN, remote=remote, info=_in_words(said))

    def _follow_carrier(self, logical_switch: str) -> None:
        """Note where another service node carries what is flooded, since one went down or is back."""
        members = self._service_nodes(logical_switch) if logical_switch in self._bound else []
        carrier = next((ip for ip in members if self._healthy.get(ip, True)), None)
        before = self._carriers.pop(logical_switch, None)
        if carrier is not None:
            self._carriers[logical_switch] = carrier
        if carrier is not None and before in members and before != carrier:
            name = self._title(logical_switch)
            self._note(Kind.FAILED_OVER, logical_switch=name, before=before, now=carrier)

    def _is_cut_off(self, logical_switch: str) -> bool:
        members = self._service_nodes(logical_switch)
        return bool(members) and not any(self._healthy.get(ip, True) for ip in members)

    def _service_nodes(self, logical_switch: str) -> list[str]:
        """The addresses of which one at a time gets what is flooded, in order."""
        row = self._database.logical_switch(logical_switch)
        if row is None or row.replication_mode != "service_node":
            return []
        members = (locator.ip for locator in self._database.members(logical_switch, UNKNOWN_DST))
        return [ip for ip in members if ip not in self._own]


def _said(bridge: Bridge | None, name: str) -> tuple[str | None, Mapping[str, str] | None]:
    """The error of a port, and what its BFD says."""
    return (None, None) if bridge is None else (bridge.tunnel_errors.get(name), bridge.bfd.get(name))


def _in_words(said: Mapping[str, str]) -> str:
    """A session's state: up, or why not."""
    if said.get("forwarding") == "true":
        return "BFD is up"
    none = "No Diagnostic"
    here, there = said.get("diagnostic", none), said.get("remote_diagnostic", none)
    if said.get("state") == "up":
        return f"BFD is up, but not forwarding: {here} here, {there} there"
    why = f": {here}" if here != none else ""
    return f"BFD is {said.get('state', 'down')}{why}"
