import pytest

from vtep_ryu.command.bridge import target
from vtep_ryu.command.daemon import as_getopt, levels, manual, parser
from vtep_ryu.command.databases import Databases
from vtep_ryu.command.log_lines import LogLines
from vtep_ryu.command.main import directories

TIME = b"2026-11-21T09:30:00.123Z"
DEBIAN = {"OVS_RUNDIR": "/run/openvswitch", "OVS_LOGDIR": "/var/log/openvswitch"}


@pytest.mark.parametrize(
    ("environ", "prefix", "there", "expected"),
    [
        ({}, "", "/run/openvswitch/db.sock", DEBIAN),
        ({}, "", "nothing", DEBIAN),
        (
            {},
            "",
            "/usr/local/var/run/openvswitch/db.sock",
            {"OVS_RUNDIR": "/usr/local/var/run/openvswitch", "OVS_LOGDIR": "/usr/local/var/log/openvswitch"},
        ),
        (
            {},
            "/tmp/root",
            "/tmp/root/var/run/openvswitch/db.sock",
            {"OVS_RUNDIR": "/tmp/root/var/run/openvswitch", "OVS_LOGDIR": "/tmp/root/var/log/openvswitch"},
        ),
        (
            {"OVS_RUNDIR": "/mine"},
            "/tmp/root",
            "nothing",
            {"OVS_RUNDIR": "/mine", "OVS_LOGDIR": "/tmp/root/var/log/openvswitch"},
        ),
        ({"OVS_RUNDIR": "/mine", "OVS_LOGDIR": "/ours"}, "", "nothing", {"OVS_RUNDIR": "/mine", "OVS_LOGDIR": "/ours"}),
    ],
)
def test_the_directories_are_those_of_the_environment_else_those_of_a_running_open_vswitch(
    environ, prefix, there, expected
):
    assert directories(environ, prefix, lambda path: path == there) == expected


def test_an_option_without_a_value_does_not_take_the_next_word():
    words = ["--log-file", "--pidfile", "-v", "br0", "--verbose", "--log-file=x", "-vfile:dbg", "--detach"]
    assert as_getopt(words, "/p") == [
        "--log-file=default",
        "--pidfile=/p",
        "--verbose=any:any:dbg",
        "br0",
        "--verbose=any:any:dbg",
        "--log-file=x",
        "-vfile:dbg",
        "--detach",
    ]


def test_the_manual_page_has_what_comes_after_an_option():
    shown = [action.option_strings for action in manual()._actions]
    assert ["-p, --private-key FILE"] in shown
    assert ["--pidfile[=FILE]"] in shown
    assert ["--cleanup"] in shown


def test_the_help_fits_a_screen_with_the_prompt_below_it_and_has_every_option():
    shown = parser().format_help()
    assert len(shown.splitlines()) <= 23
    assert max(map(len, shown.splitlines())) < 80
    assert all(each.option_strings[-1] in shown for each in parser()._actions if each.option_strings)
    assert "examples:\n  vtep-ryu --log-file --pidfile --detach br0" in shown


def test_every_v_counts():
    assert levels(["-vfile:dbg", "br0", "--verbose=console:off", "-v", "--version"]) == [
        "file:dbg",
        "console:off",
        "any:any:dbg",
    ]


def test_log_lines_become_records_with_open_vswitchs_levels():
    lines = LogLines()
    assert lines.feed(TIME + b" INFO br0: one\n" + TIME + b" CRITICAL two\nTraceback\n  File\nError\n") == [
        ("info", "br0: one"),
        ("emer", "two\nTraceback\n  File\nError"),
    ]
    assert lines.last == "Error"


def test_a_line_that_comes_in_pieces_is_one_and_one_without_a_level_is_an_error():
    lines = LogLines()
    assert lines.feed(TIME + b" WARN") == []
    assert lines.feed(b"ING br0: \xff\nusage: ") == [("warn", "br0: \N{REPLACEMENT CHARACTER}")]
    assert lines.feed(b"") == [("err", "usage: ")]
    assert lines.feed(b"") == []


@pytest.mark.parametrize(
    ("listens", "expected"),
    [
        ("tcp:127.0.0.1:6653", "tcp:127.0.0.1:6653"),
        ("tcp:0.0.0.0:6653", "tcp:127.0.0.1:6653"),
        ("tcp:[::]:6653", "tcp:[::1]:6653"),
        ("tcp:10.2.2.1:7000", "tcp:10.2.2.1:7000"),
    ],
)
def test_a_bridge_is_pointed_at_an_address_that_can_be_connected_to(listens, expected):
    assert target(listens) == expected


def test_databases_are_the_same_however_their_sockets_are_named(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "var-run").symlink_to(tmp_path / "run")
    mine = Databases({"hardware_vtep": (f"unix:{tmp_path}/run/db.sock",), "Open_vSwitch": ("tcp:10.0.0.1:6640",)})
    status = {"hardware_vtep": [f"unix:{tmp_path}/var-run/db.sock"], "open_vswitch": ["tcp:10.0.0.1:6640"]}
    assert mine.same(status)
    assert not mine.same(status | {"open_vswitch": ["tcp:10.0.0.2:6640"]})
