"""The event log: what happens, as lines of JSON in a file that may be moved away."""

import json
from pathlib import Path
from typing import Any

import pytest

from apps.lab import Frame, Lab, Node
from apps.lab.frames import BROADCAST
from tests.system import support
from tests.system.support import ThreePorts, ask, bind, teach


def log(node: Node) -> Path:
    """The file."""
    return node.directory / "events.jsonl"


@pytest.fixture(scope="module")
def site(lab: Lab) -> ThreePorts:
    """A VTEP with ls0 at p0 and p1, and an event log."""
    node = lab.node("a", "10.2.2.1/24")
    hosts = [node.add_port(f"p{number}") for number in range(3)]
    support.set_up(node, f"--vtep-event-log={log(node)}")
    support.add_logical_switch(node, "ls0", 5000)
    bind(node, "ls0", "p0", "p1")
    return ThreePorts(node, *hosts, lab)


def written(path: Path) -> list[dict[str, Any]]:
    """The lines of the file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def kinds(path: Path, mac: str) -> list[str]:
    """What has happened to an address."""
    return [each["event"] for each in written(path) if each["fields"].get("mac") == mac]


def test_every_event_is_a_line_that_says_what_event_show_says(site: ThreePorts) -> None:
    node, (mac,) = site.node, site.stations(1)
    teach(node, site.p0, mac)
    site.p1.send(Frame(BROADCAST, mac))
    node.wait_until(lambda: kinds(log(node), mac) == ["learned", "moved"], what="both events")
    shown = json.loads(ask(node, "event/show", "--format", "json"))["events"]
    assert written(log(node)) == shown
    assert [each["number"] for each in shown] == list(range(1, len(shown) + 1))
    moved = next(each for each in shown if each["event"] == "moved")
    assert moved["fields"] == {"mac": mac, "logical_switch": "ls0", "before": "p0 untagged", "at": "p1 untagged"}
    assert log(node).stat().st_mode & 0o007 == 0, "it is not open to everybody"


def test_a_file_that_is_moved_away_is_followed_by_another_without_a_signal_and_without_loss(site: ThreePorts) -> None:
    node, (mac, other) = site.node, site.stations(2)
    teach(node, site.p0, mac)
    before, rotated = written(log(node)), log(node).with_suffix(".1")
    log(node).rename(rotated)
    teach(node, site.p0, other)
    node.wait_until(lambda: log(node).exists() and kinds(log(node), other), what="the event in another file")
    assert written(rotated) == before
    assert written(log(node))[0]["number"] == before[-1]["number"] + 1


def test_a_log_that_cannot_be_written_is_said_once_and_holds_up_nothing(site: ThreePorts) -> None:
    node, macs = site.node, site.stations(3)
    log(node).unlink()
    log(node).mkdir()
    for mac in macs:
        teach(node, site.p0, mac)
    wrong = f"event_log {log(node)} cannot be written: Is a directory"
    assert node.app.log().count(wrong) == 1
    log(node).rmdir()
    teach(node, site.p0, *site.stations(1))
    assert len(written(log(node))) == 1


def test_one_that_cannot_be_made_is_one_clear_line_and_exit_status_1(site: ThreePorts) -> None:
    node = site.node
    node.app.stop()
    node.app.start("--vtep-event-log=/nowhere/events.jsonl", port=None)
    assert node.app.wait() == 1
    wrong = "[vtep] event_log /nowhere/events.jsonl cannot be written: No such file or directory"
    assert node.app.log().splitlines()[-1] == f"ryu-manager: error: {wrong}"
