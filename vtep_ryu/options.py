"""The ``[vtep]`` options: declared once, checked once, and seen by the rest of the program as one frozen value.

They come from the command line (``--vtep-mac-ageing-time 60``), from ``--config-file`` (``mac_ageing_time = 60`` in
``[vtep]``) or from oslo.config's environment variables (``OS_VTEP__MAC_AGEING_TIME=60``). Whatever is wrong with them
is one line on stderr and exit status 1.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from oslo_config import cfg

from vtep_ryu.checks import GROUP, Choice, Listen, Number, Remotes, WrongOption
from vtep_ryu.tls import Files, Unusable

RUN_DIRECTORIES = ("/run/openvswitch", "/var/run/openvswitch", "/usr/local/var/run/openvswitch")
LOG_LEVELS = ("debug", "info", "warning", "error")
RYU_DEFAULTS = {
    "ofp_listen_host": "127.0.0.1",
    "ofp_tcp_listen_port": 6653,
    "ofp_ssl_listen_port": 6653,
    "echo_request_interval": 5.0,
    "maximum_unreplied_echo_requests": 2,
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options after all checks; see :data:`OPTIONS` for what each means."""

    hardware_vtep_remotes: tuple[str, ...]
    open_vswitch_remotes: tuple[str, ...]
    database_probe_interval: int
    mac_ageing_time: int
    binding_mac_limit: int
    switch_mac_limit: int
    packet_in_rate: int
    packet_in_burst: int
    statistics_interval: int
    accept_any_source: bool
    honour_vni_0: bool
    pin_remote: bool
    mac_move_limit: int
    mac_move_window: int
    storm_control: int
    rebalance: bool
    watchdog: int
    metrics_listen: tuple[str, int] | None
    event_log: str
    log_level: str
    tls: Files | None
    """For the databases."""


def _option(
    name: str, default: object, check: Callable[[Any], object], text: str, kind: type[cfg.Opt] = cfg.Opt
) -> cfg.Opt:
    option = kind(name.replace("_", "-"), default=default, help=text)
    option.type = check  # type: ignore[assignment]
    return option


def _number(name: str, default: int, low: int, high: int, text: str) -> cfg.Opt:
    return _option(name, default, Number(name, low, high), f"{text} Default: {default}.")


def _remotes(name: str, database: str) -> cfg.Opt:
    text = (
        f"Where the {database} database is: unix:PATH, tcp:IP:PORT or ssl:IP:PORT; more than one, separated by commas, "
        "are the members of a cluster. Default: db.sock in $OVS_RUNDIR, else in the first of "
        f"{', '.join(RUN_DIRECTORIES)} that has one."
    )
    return _option(name, (), Remotes(name), text)


def _file(name: str, text: str) -> cfg.Opt:
    return _option(
        name, "", str, f"{text}, a PEM file; for ssl: remotes, with the other two. Default: none.", cfg.StrOpt
    )


OPTIONS = (
    _remotes("hardware_vtep_remotes", "hardware_vtep"),
    _remotes("open_vswitch_remotes", "Open_vSwitch"),
    _number(
        "database_probe_interval",
        5,
        0,
        86400,
        "Seconds after which the server of a database that says nothing is asked for an echo, and as many more after "
        "which it is given up, to be connected to anew; 0 is never.",
    ),
    _file("private_key", "Private key"),
    _file("certificate", "Certificate of that key"),
    _file("ca_cert", "Certificates of the CAs of which the databases' servers need one"),
    _number(
        "mac_ageing_time",
        300,
        0,
        65535,
        "Seconds without a frame after which a learned address is forgotten; 0 is never, 65535 the most.",
    ),
    _number("binding_mac_limit", 16384, 1, 1_000_000, "Addresses learned on one binding, a VLAN of a port."),
    _number("switch_mac_limit", 131072, 1, 1_000_000, "Addresses learned on one logical switch."),
    _number(
        "packet_in_rate",
        6000,
        100,
        1_000_000,
        "Frames per second and port that Open vSwitch may send here to learn from; controller_rate_limit of the "
        "bridge's Controller row, 100 or more.",
    ),
    _number(
        "packet_in_burst",
        10000,
        25,
        1_000_000,
        "Frames per port that may exceed packet_in_rate at once; controller_burst_limit of the bridge's Controller "
        "row, 25 or more.",
    ),
    _number("statistics_interval", 5, 0, 86400, "Seconds between two readings of the switch's counters; 0 is never."),
    _option(
        "accept_any_source",
        False,
        Choice("accept_any_source", {"false": False, "true": True}),
        "Accept VXLAN frames with a logical switch's VNI from any source address, not only from the locators its rows "
        "name; true or false. Default: false.",
        cfg.BoolOpt,
    ),
    _option(
        "honour_vni_0",
        False,
        Choice("honour_vni_0", {"false": False, "true": True}),
        "Take a tunnel_key of 0 for VNI 0; true or false. Default: false, 0 says that a key is not ready.",
        cfg.BoolOpt,
    ),
    _option(
        "pin_remote",
        False,
        Choice("pin_remote", {"false": False, "true": True}),
        "Drop frames from a local port whose source the database has behind another VTEP, so that no station can draw "
        "the address to itself; true or false. Default: false, the address moves here.",
        cfg.BoolOpt,
    ),
    _number(
        "mac_move_limit",
        5,
        0,
        1000,
        "Moves of an address within mac_move_window that are followed; at one more it is frozen where it is. 0 is all.",
    ),
    _number(
        "mac_move_window",
        180,
        1,
        65535,
        "Seconds in which an address's moves are counted, and without a frame from elsewhere until one that is frozen "
        "may move again.",
    ),
    _number(
        "storm_control",
        0,
        0,
        1_000_000,
        "Frames per second that each physical port may have replicated: broadcast, multicast and those for unknown "
        "addresses, together; as many may come at once. 0 is any number.",
    ),
    _option(
        "rebalance",
        True,
        Choice("rebalance", {"false": False, "true": True}),
        "Share the switches evenly with other instances that are connected to them, one after another, when one joins "
        "or leaves; true or false. Default: true.",
        cfg.BoolOpt,
    ),
    _number(
        "watchdog",
        300,
        0,
        86400,
        "Seconds after which a thread of this program that shows no sign of life ends it; 0 is never.",
    ),
    _option(
        "metrics_listen",
        "",
        Listen("metrics_listen"),
        "Where Prometheus reads metrics by HTTP: IP:PORT, an IPv6 address as [IP]. Default: nowhere.",
    ),
    _option("event_log", "", str, "File to which what happens is appended, as JSON lines. Default: none."),
    _option(
        "log_level",
        "info",
        Choice("log_level", {level: level for level in LOG_LEVELS}),
        f"Least severe messages logged by this program: {', '.join(LOG_LEVELS)}; --verbose is debug. Default: info.",
    ),
)


def list_opts() -> list[tuple[str, tuple[cfg.Opt, ...]]]:
    """The options by section, as oslo.config's tools ask for them; vtep_ryu.conf(5) is made of it."""
    return [(GROUP, OPTIONS)]


def register(conf: cfg.ConfigOpts) -> None:
    """Make the options known to ``conf``; on the command line too if that has not been parsed yet."""
    try:
        conf.register_cli_opts(OPTIONS, group=GROUP)
    except cfg.ArgsAlreadyParsedError:
        conf.register_opts(OPTIONS, group=GROUP)


def ryu_defaults(conf: cfg.ConfigOpts) -> None:
    """Listen for OpenFlow on 127.0.0.1:6653 alone unless the operator chose otherwise, and ask switches for an echo.

    Ryu's own default adds port 6633, takes every address, and never asks. ``ryu.controller.controller`` has to be
    imported before.
    """
    for name, value in RYU_DEFAULTS.items():
        conf.set_default(name, value)


def run_directory(environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    """Where Open vSwitch has its sockets: $OVS_RUNDIR, else the first usual directory that has a ``db.sock``.

    Where none has one yet it is the first of them, so that the program can wait there.
    """
    if directory := environ.get("OVS_RUNDIR"):
        return directory
    return next((each for each in RUN_DIRECTORIES if exists(f"{each}/db.sock")), RUN_DIRECTORIES[0])


def default_remote(environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    """The remote of a local ovsdb-server."""
    return f"unix:{run_directory(environ, exists)}/db.sock"


def load(
    conf: cfg.ConfigOpts, environ: Mapping[str, str] = os.environ, exists: Callable[[str], bool] = os.path.exists
) -> Options:
    """The options of a parsed ``conf``; if any is wrong, one line on stderr and SystemExit(1)."""
    try:
        return _load(conf, environ, exists)
    except cfg.Error as error:
        fail(str(error))


def _load(conf: cfg.ConfigOpts, environ: Mapping[str, str], exists: Callable[[str], bool]) -> Options:
    for path in _config_files(conf):
        _refuse_unknown(path)
    values = {option.dest: conf[GROUP][option.dest] for option in OPTIONS}
    for name in ("hardware_vtep_remotes", "open_vswitch_remotes"):
        values[name] = values[name] or (default_remote(environ, exists),)
    if getattr(conf, "verbose", False):
        values["log_level"] = "debug"
    tls = tls_files({f"[{GROUP}] {name}": values.pop(name) for name in ("private_key", "certificate", "ca_cert")})
    if tls is None:
        for name in ("hardware_vtep_remotes", "open_vswitch_remotes"):
            if any(remote.startswith("ssl:") for remote in values[name]):
                raise WrongOption(f"[{GROUP}] {name} has ssl:, which needs private_key, certificate and ca_cert")
    return Options(**values, tls=tls)


def tls_files(named: Mapping[str, str | None]) -> Files | None:
    """The three files in these options, if they are given.

    Raises WrongOption where they cannot be used.
    """
    if not any(named.values()):
        return None
    if missing := [name for name, path in named.items() if not path]:
        given = [name for name, path in named.items() if path]
        raise WrongOption(f"{' and '.join(given)} without {' and '.join(missing)}: TLS needs all three")
    files = Files(*(str(Path(str(path)).absolute()) for path in named.values()))
    try:
        files.context(server_side=False)
    except Unusable as error:
        raise WrongOption(str(error)) from error
    return files


def _config_files(conf: cfg.ConfigOpts) -> Iterator[str]:
    yield from filter(os.path.exists, conf.config_file or ())
    for directory in conf.config_dir or ():
        yield from sorted(map(str, Path(directory).glob("*.conf")))


def _refuse_unknown(path: str) -> None:
    """oslo.config ignores what it does not know: a misspelt option would silently keep its default."""
    sections: dict[str, dict[str, Any]] = {}
    cfg.ConfigParser(path, sections).parse()
    known = {option.dest for option in OPTIONS}
    for section, assignments in sections.items():
        for name in assignments.keys() - known if section.lower() == GROUP else ():
            raise WrongOption(f"[{GROUP}] {name} in {path} is no option, must be one of {', '.join(sorted(known))}")


def attach(conf: cfg.ConfigOpts) -> None:
    """Register the options and have ``conf(...)``, which parses the command line, report any mistake in one line."""
    register(conf)
    conf.__class__ = _OneLineErrors


class _OneLineErrors(cfg.ConfigOpts):
    def __call__(self, *args: Any, **kwargs: Any) -> None:
        written = io.StringIO()
        try:
            with contextlib.redirect_stderr(written):
                super().__call__(*args, **kwargs)
        except cfg.ConfigFilesNotFoundError as error:
            if set(error.config_files) <= set(kwargs.get("default_config_files") or ()):
                raise  # ryu-manager tries again without its own default file
            fail(str(error))
        except (cfg.Error, OSError, UnicodeDecodeError) as error:
            fail(str(error))
        except SystemExit as stop:
            if not stop.code:
                raise
            fail(written.getvalue().rstrip().rpartition("\n")[2])
        sys.stderr.write(written.getvalue())
        load(self)


def fail(message: str) -> NoReturn:
    """End with one line on stderr and exit status 1."""
    prefix = "ryu-manager: error: "
    print(prefix + " ".join(message.removeprefix(prefix).split()), file=sys.stderr)
    raise SystemExit(1)
