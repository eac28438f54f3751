import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg

from vtep_ryu import checks, options

ROOT = Path(__file__).parents[2]
RYU_MANAGER = Path(sys.executable).with_name("ryu-manager")


def load(*arguments, environ=None, exists=lambda path: False):
    conf = cfg.ConfigOpts()
    conf.register_cli_opt(cfg.BoolOpt("verbose", default=False))
    options.register(conf)
    conf(args=arguments, project="ryu", default_config_files=[], default_config_dirs=[])
    return options.load(conf, environ or {}, exists)


@pytest.fixture
def config_file(tmp_path):
    def write(text, name="vtep.conf"):
        path = tmp_path / name
        path.write_text(text)
        return f"--config-file={path}"

    return write


def ryu_manager(*arguments, **environ):
    """Exit status, and lines of standard error, of the real program; its application is never loaded in these tests."""
    command = [RYU_MANAGER, "vtep_ryu.apps.vtep", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environ})
    return done.returncode, done.stderr.splitlines()


def test_without_a_configuration_every_option_has_its_documented_default():
    assert load() == options.Options(
        hardware_vtep_remotes=("unix:/run/openvswitch/db.sock",),
        open_vswitch_remotes=("unix:/run/openvswitch/db.sock",),
        database_probe_interval=5,
        mac_ageing_time=300,
        binding_mac_limit=16384,
        switch_mac_limit=131072,
        packet_in_rate=6000,
        packet_in_burst=10000,
        statistics_interval=5,
        accept_any_source=False,
        honour_vni_0=False,
        pin_remote=False,
        mac_move_limit=5,
        mac_move_window=180,
        storm_control=0,
        rebalance=True,
        watchdog=300,
        metrics_listen=None,
        event_log="",
        log_level="info",
        tls=None,
    )


def test_a_config_file_sets_every_option(config_file):
    assert load(
        config_file(
            """[vtep]
            hardware_vtep_remotes = tcp:10.0.0.1:6640, tcp:[fd00::1]:6641 ,unix:/a b/db.sock
            open_vswitch_remotes = unix:/other.sock
            database_probe_interval = 0
            mac_ageing_time = 0
            binding_mac_limit = 10
            switch_mac_limit = 20
            packet_in_rate = 100
            packet_in_burst = 25
            statistics_interval = 0
            accept_any_source = True
            honour_vni_0 = true
            pin_remote = true
            mac_move_limit = 0
            mac_move_window = 60
            storm_control = 50
            rebalance = false
            watchdog = 0
            metrics_listen = 127.0.0.1:9279
            event_log = /var/log/events.jsonl
            log_level = WARNING
            """.replace("\n            ", "\n")
        )
    ) == options.Options(
        hardware_vtep_remotes=("tcp:10.0.0.1:6640", "tcp:[fd00::1]:6641", "unix:/a b/db.sock"),
        open_vswitch_remotes=("unix:/other.sock",),
        database_probe_interval=0,
        mac_ageing_time=0,
        binding_mac_limit=10,
        switch_mac_limit=20,
        packet_in_rate=100,
        packet_in_burst=25,
        statistics_interval=0,
        accept_any_source=True,
        honour_vni_0=True,
        pin_remote=True,
        mac_move_limit=0,
        mac_move_window=60,
        storm_control=50,
        rebalance=False,
        watchdog=0,
        metrics_listen=("127.0.0.1", 9279),
        event_log="/var/log/events.jsonl",
        log_level="warning",
        tls=None,
    )


def test_the_command_line_wins_over_a_config_file(config_file):
    file = config_file("[vtep]\nmac_ageing_time = 10\naccept_any_source = true\n")
    loaded = load(file, "--vtep-mac-ageing-time", "20", "--vtep-noaccept-any-source")
    assert (loaded.mac_ageing_time, loaded.accept_any_source) == (20, False)


def test_verbose_is_log_level_debug():
    assert load("--verbose", "--vtep-log-level=error").log_level == "debug"


def test_options_registered_after_the_command_line_was_parsed_come_from_the_config_file(config_file):
    conf = cfg.ConfigOpts()
    conf(args=[config_file("[vtep]\nmac_ageing_time = 10\n")], project="ryu")
    options.register(conf)
    options.register(conf)
    assert options.load(conf).mac_ageing_time == 10


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("mac_ageing_time = 65536", "[vtep] mac_ageing_time is '65536', must be an integer from 0 to 65535"),
        ("mac_ageing_time = -1", "[vtep] mac_ageing_time is '-1', must be an integer from 0 to 65535"),
        ("mac_ageing_time = 5m", "[vtep] mac_ageing_time is '5m', must be an integer from 0 to 65535"),
        ("mac_ageing_time =", "[vtep] mac_ageing_time is '', must be an integer from 0 to 65535"),
        ("binding_mac_limit = 0", "[vtep] binding_mac_limit is '0', must be an integer from 1 to 1000000"),
        ("packet_in_rate = 99", "[vtep] packet_in_rate is '99', must be an integer from 100 to 1000000"),
        ("packet_in_burst = 24", "[vtep] packet_in_burst is '24', must be an integer from 25 to 1000000"),
        ("accept_any_source = maybe", "[vtep] accept_any_source is 'maybe', must be one of false, true"),
        ("pin_remote = 2", "[vtep] pin_remote is '2', must be one of false, true"),
        ("metrics_listen = 9279", "[vtep] metrics_listen is '9279', must be IP:PORT, an IPv6 address as [IP]"),
        ("log_level = loud", "[vtep] log_level is 'loud', must be one of debug, info, warning, error"),
        (
            "open_vswitch_remotes = unix:/db.sock, http:1.2.3.4:80",
            "[vtep] open_vswitch_remotes is 'http:1.2.3.4:80', must be unix:PATH, tcp:IP:PORT or ssl:IP:PORT",
        ),
        ("mac_aging_time = 10", "[vtep] mac_aging_time in "),
        ("mac-ageing-time = 10", "[vtep] mac-ageing-time in "),
        ("mac_ageing_time = $nothing", "no such option nothing"),
        ("mac_ageing_time", "Failed to parse"),
    ],
)
def test_a_wrong_line_in_a_config_file_is_one_line_on_stderr_and_exit_status_1(config_file, capsys, line, complaint):
    conf = cfg.ConfigOpts()
    options.attach(conf)
    with pytest.raises(SystemExit) as stop:
        conf(args=[config_file(f"[vtep]\n{line}\n")], project="ryu")
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"ryu-manager: error: {complaint}")
    assert printed.err.count("\n") == 1


def test_load_reports_a_wrong_value_of_options_that_were_registered_late(config_file, capsys):
    conf = cfg.ConfigOpts()
    conf(args=[config_file("[vtep]\nlog_level = loud\n")], project="ryu")
    options.register(conf)
    with pytest.raises(SystemExit, match="1"):
        options.load(conf)
    assert capsys.readouterr().err.startswith("ryu-manager: error: [vtep] log_level is 'loud'")


def test_an_unknown_option_is_found_in_a_config_directory_too(tmp_path, config_file, capsys):
    config_file("[vtep]\nageing = 1\n")
    with pytest.raises(SystemExit, match="1"):
        load(f"--config-dir={tmp_path}")
    assert "[vtep] ageing in " in capsys.readouterr().err


def test_sections_of_other_applications_are_left_alone(config_file):
    assert load(config_file("[DEFAULT]\nanything = 1\n[other]\nmac_aging_time = 1\n")).mac_ageing_time == 300


@pytest.mark.parametrize(
    ("remote", "good"),
    [
        ("unix:/run/openvswitch/db.sock", True),
        ("tcp:127.0.0.1:6640", True),
        ("tcp:[::1]:6640", True),
        ("ssl:[::1]:6640", True),
        ("unix:", False),
        ("tcp:127.0.0.1", False),
        ("tcp:127.0.0.1:", False),
        ("tcp:127.0.0.1:0", False),
        ("tcp:127.0.0.1:65536", False),
        ("tcp:localhost:6640", False),
        ("tcp:::1:6640", False),
        ("tcp:[::1:6640", False),
        ("ptcp:6640", False),
        ("127.0.0.1:6640", False),
    ],
)
def test_a_remote_is_an_active_ovsdb_connection_method(remote, good):
    assert checks.is_remote(remote) == good


@given(st.text())
def test_any_text_is_a_remote_or_is_not(text):
    assert checks.is_remote(text) in (True, False)


def test_the_default_remote_is_in_ovs_rundir_whether_its_socket_is_there_or_not():
    assert options.default_remote({"OVS_RUNDIR": "/x"}, lambda path: path != "/x/db.sock") == "unix:/x/db.sock"


@pytest.mark.parametrize("directory", options.RUN_DIRECTORIES)
def test_the_default_remote_is_in_the_first_usual_directory_that_has_a_socket(directory):
    sockets = [f"{name}/db.sock" for name in options.RUN_DIRECTORIES[options.RUN_DIRECTORIES.index(directory) :]]
    assert options.default_remote({"OVS_RUNDIR": ""}, sockets.__contains__) == f"unix:{directory}/db.sock"


def test_the_default_remote_is_in_the_first_usual_directory_when_there_is_no_socket():
    assert options.default_remote({}, lambda path: False) == "unix:/run/openvswitch/db.sock"


def test_openflow_is_awaited_on_the_loopback_address_unless_the_operator_says_otherwise():
    conf = cfg.ConfigOpts()
    conf.register_cli_opts([cfg.StrOpt("ofp-listen-host", default="0.0.0.0"), cfg.IntOpt("ofp-tcp-listen-port")])
    conf.register_cli_opt(cfg.IntOpt("ofp-ssl-listen-port"))
    conf.register_cli_opt(cfg.FloatOpt("echo-request-interval"))
    conf.register_cli_opt(cfg.IntOpt("maximum-unreplied-echo-requests"))
    conf(args=["--ofp-tcp-listen-port=6700"], project="ryu")
    options.ryu_defaults(conf)
    assert (conf.ofp_listen_host, conf.ofp_tcp_listen_port, conf.ofp_ssl_listen_port) == ("127.0.0.1", 6700, 6653)


def test_the_sample_configuration_documents_exactly_the_options_with_their_defaults():
    text = (ROOT / "etc/vtep_ryu.conf").read_text()
    default_section, vtep_section = text.split("[DEFAULT]")[1].split("[vtep]")
    documented = dict(re.findall(r"^#(\w+) = ?(.*)$", vtep_section, re.MULTILINE))
    expected = {opt.dest: "" if opt.default == () else str(opt.default) for opt in options.OPTIONS}
    expected |= {opt.dest: str(opt.default).lower() for opt in options.OPTIONS if isinstance(opt.default, bool)}
    assert documented == expected
    assert dict(re.findall(r"^#(\w+) = (.*)$", default_section, re.MULTILINE)) == {
        name: str(value) for name, value in options.RYU_DEFAULTS.items()
    }


def test_the_sample_configuration_with_nothing_commented_out_is_the_default(tmp_path, config_file):
    text = re.sub(r"^#(\w+ =)", r"\1", (ROOT / "etc/vtep_ryu.conf").read_text(), flags=re.MULTILINE)
    assert load(config_file(text)) == load()


def test_help_names_unit_or_form_and_default_of_every_option():
    for option in options.OPTIONS:
        assert re.search(r"Default: \S+", option.help), option.name


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--vtep-nonsense", "ryu-manager: error: unrecognized arguments: --vtep-nonsense"),
        ("--vtep-mac-ageing-time", "ryu-manager: error: argument --vtep-mac-ageing-time: expected one argument"),
        (
            "--vtep-mac-ageing-time=x",
            "ryu-manager: error: [vtep] mac_ageing_time is 'x', must be an integer from 0 to 65535",
        ),
        (
            "--vtep-hardware-vtep-remotes=/db.sock",
            (
                "ryu-manager: error: [vtep] hardware_vtep_remotes is '/db.sock', must be unix:PATH, tcp:IP:PORT "
                "or ssl:IP:PORT, an IPv6 address as [IP]"
            ),
        ),
        (
            "--ofp-tcp-listen-port=x",
            "ryu-manager: error: argument --ofp_tcp_listen_port: Invalid Integer value: x",
        ),
        (
            "--config-file=/nowhere/x.conf",
            "ryu-manager: error: Failed to find some config files: /nowhere/x.conf",
        ),
    ],
)
def test_a_wrong_option_of_ryu_manager_is_one_line_and_exit_status_1(argument, complaint):
    assert ryu_manager(argument) == (1, [complaint])


def test_a_wrong_value_in_the_environment_is_one_line_and_exit_status_1():
    assert ryu_manager(OS_VTEP__LOG_LEVEL="loud") == (
        1,
        ["ryu-manager: error: [vtep] log_level is 'loud', must be one of debug, info, warning, error"],
    )


def test_a_wrong_value_in_a_config_file_stops_ryu_manager_before_it_loads_an_application(config_file):
    assert ryu_manager(config_file("[vtep]\nlog_level = loud\n")) == (
        1,
        ["ryu-manager: error: [vtep] log_level is 'loud', must be one of debug, info, warning, error"],
    )
