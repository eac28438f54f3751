"""When a learned address goes again, and how many there can be."""

import re
import time

import pytest

from apps.lab import Frame, Lab, Node
from apps.lab.frames import BROADCAST
from tests.system.support import (
    ThreePorts,
    add_logical_switch,
    bind,
    identities,
    new_frame,
    set_up,
    switch_faults,
    teach,
    wait_gone,
)

pytestmark = pytest.mark.timeout(120)

AGEING_TIME = 2
AGED = AGEING_TIME + 6
"""Seconds until a silent station is gone at the latest: Open vSwitch looks for idle flows now and then only."""
BINDING_LIMIT = 4
SWITCH_LIMIT = 6
LIMITS = (f"--vtep-binding-mac-limit={BINDING_LIMIT}", f"--vtep-switch-mac-limit={SWITCH_LIMIT}")


class Site(ThreePorts):
    """p0, p1 and p2 are in ls0, untagged, and p0 with VLAN 10 too."""

    def warnings(self, what: str) -> int:
        """How many lines of the log say that something is full."""
        return len(re.findall(rf"^br0: {what} .*no more are learned", self.node.app.log(), re.MULTILINE))


def make_site(lab: Lab, name: str, address: str, *options: str) -> Site:
    node = lab.node(name, address)
    hosts = [node.add_port(f"p{number}") for number in range(3)]
    set_up(node, "--verbose", *LIMITS, *options)
    add_logical_switch(node, "ls0", 5000)
    bind(node, "ls0", "p0", "p1", "p2")
    bind(node, "ls0", "p0", vlan=10)
    return Site(node, *hosts, lab)


@pytest.fixture(scope="module")
def brief(lab: Lab) -> Site:
    """Stations age here within a test."""
    return make_site(lab, "brief", "10.2.2.2/24", f"--vtep-mac-ageing-time={AGEING_TIME}")


@pytest.fixture(scope="module")
def lasting_site(lab: Lab) -> Site:
    return make_site(lab, "lasting", "10.2.2.1/24")


@pytest.fixture
def lasting(lasting_site: Site) -> Site:
    """Stations do not age here while a test runs; there are none at its start."""
    node, ports = lasting_site.node, ("p0", "p1", "p2")
    for port in ports:
        node.port_down(port)
    node.wait_until(lambda: not node.macs(), what="all stations to go")
    for port in ports:
        node.port_up(port)
        node.wait_until(lambda port=port: "LIVE" in node.ofctl("dump-ports-desc", "br0", port), what=f"{port} to be up")
    return lasting_site


def test_a_silent_station_is_withdrawn_and_an_active_one_stays(brief: Site) -> None:
    node, (active, silent) = brief.node, brief.stations(2)
    frame, started = Frame(BROADCAST, active), time.monotonic()
    teach(node, brief.p0, active, silent)
    row = row_of(node, active)

    def outlived() -> bool:
        brief.p0.send(frame)
        return ("ls0", silent) not in node.macs() and time.monotonic() > started + 3 * AGEING_TIME

    node.wait_until(outlived, 2 * AGED, "the silent station to be withdrawn")
    assert row_of(node, active) == row, "not touched for three times the ageing time"
    assert node.app.log().count(f"{active} learned") == 1
    wait_gone(node, silent)
    wait_gone(node, active, timeout=AGED)


def row_of(node: Node, mac: str) -> set[tuple[str, str]]:
    """The _uuid and _version of the rows of an address."""
    uuids = {row["_uuid"] for row in node.rows("Ucast_Macs_Local") if row["MAC"] == mac}
    return {(uuid, version) for uuid, version in identities(node, "Ucast_Macs_Local").items() if uuid in uuids}


def test_frames_to_a_station_do_not_keep_it_and_are_flooded_again_when_it_has_aged(brief: Site) -> None:
    node, (silent,) = brief.node, brief.stations(1)
    teach(node, brief.p0, silent)

    def aged() -> bool:
        brief.p1.send(new_frame(brief.p1.mac, silent))
        return ("ls0", silent) not in node.macs()

    node.wait_until(aged, AGED, "the station to age")
    wait_gone(node, silent)
    with brief.p2.capture() as flooded:
        brief.p1.send(frame := new_frame(brief.p1.mac, silent))
        flooded.wait(lambda each: each == frame)


def test_stations_that_have_aged_make_room_for_others_and_are_learned_again(brief: Site) -> None:
    first, second = brief.stations(BINDING_LIMIT), brief.stations(BINDING_LIMIT)
    for stations in (first, second, first):
        teach(brief.node, brief.p2, *stations)
        wait_gone(brief.node, *stations, timeout=AGED)


def test_beyond_a_binding_s_limit_nothing_is_learned_there_but_everything_else_works(lasting: Site) -> None:
    (speaker,), within, beyond = (lasting.stations(count) for count in (1, BINDING_LIMIT, 3))
    teach(lasting.node, lasting.p1, speaker)
    a_limit_is_kept(lasting, "p0", within, beyond, "p0 untagged", speaker)


def test_a_binding_at_its_limit_leaves_the_other_vlans_of_its_port_theirs(lasting: Site) -> None:
    untagged, beyond, tagged = (lasting.stations(count) for count in (BINDING_LIMIT, 1, 1))
    teach(lasting.node, lasting.p0, *untagged)
    lasting.p0.send(new_frame(*beyond))
    teach(lasting.node, lasting.p0, *tagged, vlan=10)
    assert lasting.node.macs().keys() == {("ls0", mac) for mac in untagged + tagged}


def test_beyond_a_logical_switch_s_limit_nothing_is_learned_there_but_everything_else_works(lasting: Site) -> None:
    others, within, beyond = (lasting.stations(count) for count in (BINDING_LIMIT, SWITCH_LIMIT - BINDING_LIMIT, 2))
    teach(lasting.node, lasting.p1, *others)
    a_limit_is_kept(lasting, "p2", within, beyond, "ls0", others[0])


def a_limit_is_kept(site: Site, port: str, within: list[str], beyond: list[str], what: str, speaker: str) -> None:
    """Stations within the limit are learned, those beyond it are flooded to; one warning says so, until there is room.

    speaker is a station behind p1.
    """
    node, host, before = site.node, getattr(site, port), site.warnings(what)
    teach(node, host, *within)
    known = node.macs().keys()
    with host.capture() as here, site.p1.capture() as there:
        for mac in (*beyond, *within):
            host.send(frame := new_frame(mac))
            there.wait(lambda each, frame=frame: each == frame)
            site.p1.send(answer := new_frame(speaker, mac))
            here.wait(lambda each, answer=answer: each == answer)
    assert site.warnings(what) == before + 1
    assert node.macs().keys() == known
    node.wait_until(lambda: switch_faults(node) == ["mac_table_exhaustion"], what="the fault")
    node.port_down(port)
    wait_gone(node, *within)
    node.wait_until(lambda: switch_faults(node) == [], what="no fault")
    node.port_up(port)
    node.wait_until(lambda: "LIVE" in node.ofctl("dump-ports-desc", "br0", port), what="the port to be up")
    teach(node, host, *beyond)


def test_a_station_that_moves_to_a_binding_at_its_limit_is_flooded_to_and_not_published(lasting: Site) -> None:
    node, (station, *within) = lasting.node, lasting.stations(1 + BINDING_LIMIT)
    teach(node, lasting.p0, station)
    teach(node, lasting.p2, *within)
    lasting.p2.send(Frame(BROADCAST, station))
    wait_gone(node, station)
    with lasting.p0.capture() as old, lasting.p2.capture() as new:
        lasting.p1.send(frame := new_frame(lasting.p1.mac, station))
        for place in (old, new):
            place.wait(lambda each: each == frame)
    assert {mac for _, mac in node.macs()} >= set(within)


def go_down(site: Site) -> None:
    site.node.port_down("p0")


def come_up(site: Site) -> None:
    site.node.port_up("p0")


def unplug(site: Site) -> None:
    site.p0.unplug()


def plug(site: Site) -> None:
    site.p0.plug()


def remove(site: Site) -> None:
    site.node.del_port("p0")


def add(site: Site) -> None:
    site.node.vsctl("add-port", "br0", "p0")


def unbind(site: Site) -> None:
    site.node.vtep_ctl("unbind-ls", "br0", "p0", "0")


def rebind(site: Site) -> None:
    site.node.vtep_ctl("bind-ls", "br0", "p0", "0", "ls0")


@pytest.mark.parametrize(
    ("away", "back"),
    [(go_down, come_up), (unplug, plug), (remove, add), (unbind, rebind)],
    ids=lambda each: each.__name__,
)
def test_an_address_is_withdrawn_at_once_when_its_port_goes_and_learned_again_when_it_comes_back(
    lasting: Site, away: object, back: object
) -> None:
    node, stations, (stays,) = lasting.node, lasting.stations(3), lasting.stations(1)
    teach(node, lasting.p0, *stations)
    teach(node, lasting.p1, stays)
    away(lasting)
    wait_gone(node, *stations)
    assert ("ls0", stays) in node.macs()
    back(lasting)

    def learned() -> bool:
        lasting.p0.send(*(Frame(BROADCAST, mac) for mac in stations))
        return {("ls0", mac) for mac in stations} <= node.macs().keys()

    node.wait_until(learned, what="the stations to be learned again")
    with lasting.p0.capture() as arriving:
        lasting.p1.send(frame := new_frame(lasting.p1.mac, stations[0]))
        arriving.wait(lambda each: each == frame)


def test_an_address_does_not_follow_its_port_to_another_logical_switch(lasting: Site) -> None:
    node, (station,) = lasting.node, lasting.stations(1)
    teach(node, lasting.p2, station)
    node.vtep_ctl("add-ls", "ls1", "--", "unbind-ls", "br0", "p2", "0", "--", "bind-ls", "br0", "p2", "0", "ls1")
    wait_gone(node, station)
    teach(node, lasting.p2, station, logical_switch="ls1")
    assert [key for key in node.macs() if key[1] == station] == [("ls1", station)]
    node.vtep_ctl("unbind-ls", "br0", "p2", "0", "--", "bind-ls", "br0", "p2", "0", "ls0")
    wait_gone(node, station)
