"""Taking ofproto/trace apart where it is more than what system tests of trace see."""

import pytest

from tests.unit.world import World
from vtep_ryu.apps.answers import traced
from vtep_ryu.drivers.vswitchd import is_here
from vtep_ryu.show.commands import Unanswerable
from vtep_ryu.show.ofproto import parse
from vtep_ryu.show.site import Installed, Served

NESTED = """\
Flow: in_port=1,dl_dst=ff:ff:ff:ff:ff:ff

bridge("br0")
-------------
 0. in_port=1,vlan_tci=0x0000/0x1fff, priority 100, cookie 0x7674000100000000
    goto_table:6
 6. metadata=0x1388/0x1ffffffff, priority 100, cookie 0x76740001153c399b
    group:1
    bucket 0
            output:3
             -> tunneling to 10.2.2.2 via br-phy

        bridge("br-phy")
        ----------------
         0. priority 0
            NORMAL
             -> no learned MAC for destination, flooding

    bucket 1
            resubmit(,7)
         7. priority 0, cookie 0x7674000100000000
            drop
    group:2

Final flow: unchanged
Megaflow: recirc_id=0,eth
Datapath actions: 3,5
"""


def test_steps_are_within_others_and_those_of_other_bridges_are_left_out():
    trace = parse(NESTED, "br0")
    assert [(step.depth, step.table, step.bucket, step.group) for step in trace.steps] == [
        (0, 0, None, None),
        (0, 6, None, None),
        (1, None, 0, 1),
        (1, None, 1, 1),
        (2, 7, None, None),
    ]
    assert trace.steps[1].actions == ["group:1", "group:2"]
    assert trace.steps[2].actions == ["output:3", "-> tunneling to 10.2.2.2 via br-phy"]
    assert trace.datapath_actions == "3,5"


def test_a_switch_on_another_machine_is_not_looked_for_on_this_one():
    elsewhere = Installed()
    elsewhere.address = "192.0.2.9"
    world = World("physical_switch br0 tunnel_ips=10.2.2.1")
    with pytest.raises(Unanswerable, match=r"^br0 is on another machine \(192.0.2.9\), whose ovs-vswitchd cannot be"):
        traced(Served(world.vtep, 1, served=True, installed=elsewhere), "")
    with pytest.raises(Unanswerable, match=r"^br0 is not connected$"):
        traced(Served(world.vtep), "")


def test_this_machines_addresses_are_known():
    assert is_here("127.0.0.1")
    assert not is_here("192.0.2.9")
