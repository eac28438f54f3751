"""The pure parts of the differential test: sequences from a seed, shorter ones, and what becomes of a frame."""

import pytest

from tests.differential.faults import Fault
from tests.differential.predict import Memory, explain, outcomes
from tests.differential.probes import LOCAL, Copy, Probe, draw
from tests.differential.shrink import shrink
from tests.differential.steps import CHECK, KINDS, WORDS, Case, State, generate, possible

BROADCAST = "ff:ff:ff:ff:ff:ff"
SEEDS = range(200)
BEGINNING = """
seed 1
vtep-ctl add-switch ls0 5001 source_node
ovsdbapp bind ls0 p0 0
ovsdbapp bind ls0 p1 5
vtep-ctl add-unknown ls0 10.2.2.8
vtep-ctl add-mac ls0 02:99:00:00:00:01 10.2.2.7
both check
"""
LEAVES = "vtep-ctl del-unknown ls0 10.2.2.7\nboth check\n"
REBOUND = "vtep-ctl add-switch ls1 5002 -\nvtep-ctl rebind ls1 p0 0\n"


def led(text: str) -> tuple[State, Memory]:
    """The state that the steps of a text lead to, and what ovs-vtep remembers then."""
    state, memory = State(), Memory()
    for step, state in possible(Case.read(text).steps):
        if step == CHECK:
            memory.look(state)
    return state, memory


def arrivals(*texts: str) -> tuple[Copy, ...]:
    """Copies: "p1 5" is p1 with VLAN 5, "10.2.2.7:5001" a VTEP with a VNI."""
    found = []
    for text in texts:
        at, *tags = text.split()
        ip, _, vni = at.partition(":")
        found.append(Copy(ip, int(vni or LOCAL), tuple(map(int, tags))))
    return tuple(sorted(found))


def test_a_seed_leads_to_one_sequence_of_steps_that_are_all_possible():
    for seed in SEEDS:
        case = generate(seed)
        assert case == generate(seed)
        assert tuple(step for step, _ in possible(case.steps)) == case.steps
    assert len({generate(seed).steps for seed in SEEDS}) == len(SEEDS)


def test_the_seeds_lead_to_every_kind_of_step_by_both_tools():
    drawn = {(step.word, step.by) for seed in SEEDS for step in generate(seed).steps if step != CHECK}
    assert drawn == {(kind.word, by) for kind in KINDS for by in ("vtep-ctl", "ovsdbapp")}


def test_a_case_is_read_as_it_is_written():
    for seed in SEEDS:
        assert Case.read(str(generate(seed))) == generate(seed)
    assert str(Case.read(BEGINNING)) == BEGINNING.lstrip()
    assert all(word == kind.word for word, kind in WORDS.items())


def test_steps_that_others_were_needed_for_are_left_out():
    case = Case.read(BEGINNING)
    assert [str(step) for step, _ in possible(case.steps[1:])] == ["both check"]
    assert [step for step, _ in possible((*case.steps, *case.steps))] == [*case.steps, CHECK]


def test_the_frames_of_a_state_follow_from_the_seed_and_enter_by_every_port_and_vtep():
    state, _ = led(BEGINNING)
    frames = draw(state, 1)
    assert frames == draw(state, 1) != draw(state, 2)
    assert {probe.at for probe in frames} == {"p0", "p1", "p2", "10.2.2.7", "10.2.2.8", "10.2.2.9", "10.2.2.66"}


@pytest.mark.parametrize("needed", [set(), {0}, {7}, {0, 99}, {3, 4, 50, 98}, set(range(100))], ids=len)
def test_what_is_shrunk_has_what_it_needs_to_fail_and_no_more(needed: set[int]):
    assert set(shrink(range(100), lambda items: needed <= set(items))) == needed


def test_shrinking_ends_with_what_it_has_when_time_is_up():
    tries = iter(range(3))
    left = shrink(range(64), lambda items: 40 in items, lambda: next(tries, None) is not None)
    assert 40 in left
    assert len(left) < 64


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (Probe("p0", LOCAL, (), "02:50:00:00:00:00", BROADCAST), arrivals("p1 5", "10.2.2.8:5001")),
        (Probe("p1", LOCAL, (5,), "02:50:00:00:01:05", BROADCAST), arrivals("p0", "10.2.2.8:5001")),
        (Probe("p0", LOCAL, (), "02:50:00:00:00:00", "02:50:00:00:01:05"), arrivals("p1 5")),
        (Probe("p0", LOCAL, (), "02:50:00:00:00:00", "02:50:00:00:00:00"), ()),
        (Probe("p0", LOCAL, (), "02:50:00:00:00:00", "02:99:00:00:00:01"), arrivals("10.2.2.7:5001")),
        (Probe("p0", LOCAL, (0,), "02:50:00:00:00:00", "02:50:00:00:01:05"), arrivals("p1 5")),
        (Probe("p1", LOCAL, (5, 7), "02:50:00:00:01:05", "02:50:00:00:00:00"), arrivals("p0 7")),
        (Probe("p0", LOCAL, (9,), "02:77:00:00:00:00", BROADCAST), ()),
        (Probe("p2", LOCAL, (), "02:77:00:00:00:00", BROADCAST), ()),
        (Probe("10.2.2.8", 5001, (), "02:77:00:00:00:00", BROADCAST), arrivals("p0", "p1 5")),
        (Probe("10.2.2.7", 5001, (), "02:77:00:00:00:00", BROADCAST), arrivals("p0", "p1 5")),
        (Probe("10.2.2.9", 5001, (), "02:77:00:00:00:00", BROADCAST), ()),
        (Probe("10.2.2.8", 5002, (), "02:77:00:00:00:00", BROADCAST), ()),
        (Probe("10.2.2.8", 0, (), "02:77:00:00:00:00", BROADCAST), ()),
    ],
    ids=str,
)
def test_without_a_fault_a_frame_goes_where_vtep5_has_it_go(probe: Probe, expected: tuple[Copy, ...]):
    state, memory = led(BEGINNING)
    assert outcomes(state, memory, probe) == {expected}
    assert explain(state, memory, probe, expected) == frozenset()


@pytest.mark.parametrize(
    ("text", "probe", "theirs", "fault"),
    [
        ("", Probe("p0", LOCAL, (9,), "", BROADCAST), arrivals("p1 5", "10.2.2.8:5001 9"), None),
        ("", Probe("p0", LOCAL, (9,), "", "02:99:00:00:00:01"), arrivals("10.2.2.7:5001 9"), "UNTAGGED_TAKES_ALL"),
        ("", Probe("10.2.2.8", 5001, (7,), "", BROADCAST), arrivals("p0 7", "p1 5"), "TAG_IS_OVERWRITTEN"),
        ("", Probe("10.2.2.8", 5001, (), "", "02:99:00:00:00:01"), arrivals("10.2.2.7:5001"), "TUNNEL_TO_TUNNEL"),
        ("", Probe("10.2.2.7", 5001, (), "", BROADCAST), arrivals("p0", "p1 5", "10.2.2.8:5001"), "TUNNEL_TO_TUNNEL"),
        ("", Probe("10.2.2.7", 0, (), "", BROADCAST), arrivals("10.2.2.8:0"), "KEY_ZERO"),
        (
            "vtep-ctl set-mode ls0 -\nvtep-ctl add-unknown ls0 10.2.2.7\nboth check",
            Probe("p0", LOCAL, (), "", BROADCAST),
            arrivals("p1 5", "10.2.2.8:5001"),
            "ARBITRARY_SERVICE_NODE",
        ),
        (
            "vtep-ctl set-key ls0 6000\nboth check",
            Probe("10.2.2.8", 5001, (), "", BROADCAST),
            arrivals("p0", "p1 5"),
            "OLD_KEY",
        ),
        (
            "vtep-ctl add-unknown ls0 10.2.2.7\nboth check\n" + LEAVES + "vtep-ctl bind ls0 p2 0\nboth check",
            Probe("10.2.2.7", 5001, (), "", BROADCAST),
            arrivals("p0", "p1 5"),
            "FORMER_UNKNOWN_DST",
        ),
        (
            "vtep-ctl unbind p1 5\nboth check",
            Probe("p0", LOCAL, (), "", "02:50:00:00:01:05"),
            (),
            "LEARNED_AT_NO_BINDING",
        ),
        (
            "vtep-ctl add-mac ls0 02:50:00:00:01:05 10.2.2.7\nboth check\nvtep-ctl unbind p1 5\nboth check",
            Probe("p0", LOCAL, (), "", "02:50:00:00:01:05"),
            (),
            "REMOTE_NOT_RESTORED",
        ),
    ],
    ids=str,
)
def test_a_fault_explains_what_it_does_and_nothing_else(text: str, probe: Probe, theirs: tuple, fault: str | None):
    state, memory = led(BEGINNING + text)
    both = {Fault.UNTAGGED_TAKES_ALL, Fault.TAG_IS_OVERWRITTEN}
    assert explain(state, memory, probe, theirs) == (both if fault is None else {Fault[fault]})
    assert explain(state, memory, probe, (*theirs, Copy("p9", LOCAL, ()))) is None


def test_a_logical_switch_whose_last_binding_is_given_to_another_stays_with_ovs_vtep():
    _, memory = led(BEGINNING + REBOUND + "vtep-ctl unbind p1 5\nboth check")
    assert memory.empty() == frozenset(), "the last one was deleted"
    state, memory = led(BEGINNING + REBOUND + "vtep-ctl rebind ls1 p1 5\nboth check")
    assert memory.empty() == {"ls0"}
    frame = Probe("10.2.2.7", 5001, (), "", BROADCAST)
    assert outcomes(state, memory, frame) == {()}
    faults = {Fault.LAST_BINDING_MOVES, Fault.TUNNEL_TO_TUNNEL}
    assert explain(state, memory, frame, arrivals("10.2.2.8:5001")) == faults
