"""Which VNI leads a logical switch to a locator and is taken from there; never one VNI for two at the same address."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from vtep_ryu.core.claims import Claims
from vtep_ryu.core.database import Database
from vtep_ryu.core.faults import UNSPECIFIED_FAULT, SwitchFaults
from vtep_ryu.core.identity import Identities, usable_key
from vtep_ryu.core.model import Locator, Settings

LOG = logging.getLogger(__name__)

Pair: TypeAlias = tuple[int, str]
"""A VNI and the address of another VTEP: what belongs to one logical switch at most."""


class Tunnels:
    """The pairs that the logical switches which are bound here use.

    A locator's own tunnel_key comes before the VNI of the logical switch whose row names it. A pair that two logical
    switches would use is one's alone (see Claims); it is a fault of the physical switch, and the other sends nothing
    there and takes nothing from there until the pair is free.

    tunnel_ips tells our own addresses, which no tunnel leads to; title the name of a logical switch.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        identities: Identities,
        faults: SwitchFaults,
        settings: Settings,
        tunnel_ips: Callable[[], tuple[str, ...]],
        title: Callable[[str], str],
    ) -> None:
        self._name = name
        self._database = database
        self._identities = identities
        self._faults = faults
        self._settings = settings
        self._tunnel_ips = tunnel_ips
        self._title = title
        self._claims = Claims[Pair]()
        self._claimed: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
        self._waiting: dict[Pair, frozenset[str]] = {}
        self._unready: set[tuple[str, Locator]] = set()
        self._touched: set[tuple[str, str]] = set()

    # What the rest of the program asks.

    def vni(self, logical_switch: str, locator: Locator) -> int | None:
        """The VNI with which a logical switch sends to a locator; None where it cannot."""
        vni = self._vni(logical_switch, locator)
        return vni if vni is not None and self._claims.owner((vni, locator.ip)) == logical_switch else None

    def accepted(self, logical_switch: str, ip: str) -> list[int]:
        """The VNIs with which a logical switch takes frames from an address because of its locators.

        With accept_any_source, its own VNI is taken from anywhere, and needs no locator.
        """
        locators = self._database.locators(logical_switch, ip)
        if self._settings.accept_any_source:
            locators = [locator for locator in locators if locator.tunnel_key is not None]
        return sorted({vni for locator in locators if (vni := self.vni(logical_switch, locator)) is not None})

    def is_contested(self) -> bool:
        """Whether any logical switch waits for a pair that another one has."""
        return self._claims.any_waiting()

    # What happens. Rows and identities are looked at when all that changed together is known.

    def touch(self, logical_switch: str, ip: str) -> None:
        """Take in that a logical switch names other locators of this address."""
        self._touched.add((logical_switch, ip))

    def touch_all(self, logical_switch: str) -> None:
        """Take in that a logical switch has another identity, or that our own addresses changed."""
        self._touched.update((logical_switch, ip) for ip in self._database.sources(logical_switch))

    def settle(self) -> Mapping[str, set[str]]:
        """Decide who has what; return addresses, by logical switch, that began or ended to be another's for it."""
        touched, self._touched = self._touched, set()
        gone, new = [], []
        for switch, ip in touched:
            before, now = self._claimed[switch].pop(ip, ()), self._wanted(switch, ip)
            gone += [((vni, ip), switch) for vni in before if vni not in now]
            new += [((vni, ip), switch) for vni in now if vni not in before]
            if now:
                self._claimed[switch][ip] = now
            if not self._claimed[switch]:
                del self._claimed[switch]
        return self._decided(self._claims.update(gone, new))

    def keep(self, taking: Iterable[tuple[int, str | None, int]]) -> Mapping[str, set[str]]:
        """Take in for which logical switches a switch takes frames: VNI, source, p.note_on() the UUID.

        They keep their pairs if they still claim them. No source stands for any that no other entry has. Returns what
        settle() does.
        """
        exact: dict[Pair, int] = {}
        anywhere: dict[int, int] = {}
        for vni, source, note in taking:
            if source is None:
                anywhere[vni] = note
            else:
                exact[vni, source] = note
        notes = {pair: exact.get(pair, anywhere.get(pair[0])) for pair in self._waiting}
        return self._decided(
            {pair for pair, note in notes.items() if note is not None and self._claims.keep(pair, note)}
        )

    def _vni(self, logical_switch: str, locator: Locator) -> int | None:
        """The VNI that leads to a locator, whoever may use it."""
        if locator.tunnel_key is not None:
            return usable_key(locator.tunnel_key, self._settings.honour_vni_0)
        identity = self._identities.of(logical_switch)
        return None if identity is None else identity.vni

    def _wanted(self, switch: str, ip: str) -> tuple[int, ...]:
        is_used = self._identities.of(switch) is not None and ip not in self._tunnel_ips()
        locators = self._database.locators(switch, ip) if is_used else []
        self._look_at_unready(switch, ip, [each for each in locators if each.tunnel_key == 0])
        return tuple({vni for locator in locators if (vni := self._vni(switch, locator)) is not None})

    def _look_at_unready(self, switch: str, ip: str, found: list[Locator]) -> None:
        """Say that a locator's tunnel_key is 0, once for as long as it is."""
        known = (switch, Locator(ip, 0))
        if not found:
            self._unready.discard(known)
        elif known not in self._unready and not self._settings.honour_vni_0:
            self._unready.add(known)
            text = f"locator {ip} has tunnel_key 0, which says that it is not ready: not used"
            LOG.info("%s: Logical_Switch %s: %s", self._name, self._title(switch), text)

    def _decided(self, pairs: Iterable[Pair]) -> Mapping[str, set[str]]:
        changed: dict[str, set[str]] = defaultdict(set)
        for pair in pairs:
            before, now = self._waiting.pop(pair, frozenset()), frozenset(self._claims.waiting(pair))
            for switch in before ^ now:
                changed[switch].add(pair[1])
            for switch in before - now:
                self._faults.clear((switch, pair))
            if now:
                self._waiting[pair] = now
                self._say(pair, now)
        return changed

    def _say(self, pair: Pair, waiting: Iterable[str]) -> None:
        vni, ip = pair
        owner = self._title(self._claims.owner(pair) or "")
        for switch in sorted(waiting):
            text = f"VNI {vni} at {ip} is {owner}'s already: nothing is sent there or taken from there with it"
            self._faults.find((switch, pair), UNSPECIFIED_FAULT, f"Logical_Switch {self._title(switch)}: {text}")
