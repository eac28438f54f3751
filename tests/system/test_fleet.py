"""The switches of the benchmark that are not there have the flows and groups that those of Open vSwitch have."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from apps.lab import Lab
from bench.crowd import Crowd, real, simulated
from bench.watch import Lines
from tests.system import support

pytestmark = pytest.mark.timeout(200)

Made = Callable[[Lab, int, int], AbstractContextManager[tuple[Crowd, Lines]]]


def history(make: Made) -> list[list[str]]:
    """What a switch has of whoever serves it: at first, after changes, and after another has taken over.

    Before that all questions of the program about counters are answered.
    """
    seen = []
    with Lab("fleet-") as lab, make(lab, 1, 2) as (crowd, lines):
        seen.append(support.flows(crowd.node))
        address, _ = crowd.add_one()
        lines.wait(f"ADDED.*dl_dst={address}")
        seen.append(support.flows(crowd.node))
        rows = crowd.node.rows
        crowd.node.wait_until(lambda: all(row["vlan_stats"] for row in rows("Physical_Port")), 20, "all counters")
        (owner,) = (each for each in crowd.instances if each.served())
        assert "disconnected" not in owner.app.log()
        owner.app.kill()
        crowd.delete(address)
        lines.wait(f"DELETED.*dl_dst={address}")
        crowd.wait_shared()
        seen.append(support.flows(crowd.node))
    return seen


def test_a_switch_that_is_not_there_has_what_one_of_open_vswitch_has() -> None:
    there, simulated_ones = history(real), history(simulated)
    assert len(there[0]) > 200
    assert simulated_ones == there
