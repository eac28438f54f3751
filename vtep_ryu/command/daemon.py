"""``vtep-ryu`` as a daemon of Open vSwitch's kind: command line, log, pidfile and control socket by the ovs package."""

from __future__ import annotations

import argparse
import logging
import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import ovs.daemon
import ovs.dirs
import ovs.unixctl.server
import ovs.util
import ovs.vlog

from vtep_ryu import __version__
from vtep_ryu.command import databases
from vtep_ryu.command.bridge import Failure
from vtep_ryu.command.child import LOG as APPLICATION_LOG
from vtep_ryu.command.cleanup import clean_up
from vtep_ryu.command.supervisor import LOG, Supervisor
from vtep_ryu.drivers import unixctl

ALL_LEVELS = "any:any:dbg"
TLS_HELP = (
    ("-p", "Private key"),
    ("-c", "Certificate of that key"),
    ("-C", "CA certificates"),
)

EPILOG = """\
examples:
  vtep-ryu --log-file --pidfile --detach br0   back when the switch is served
  vtep-ryu br0 -- --vtep-mac-ageing-time=60    with options of vtep_ryu.conf(5)"""

COLUMN = 27
VALUES = {None: " FILE", "?": "[=FILE]", "*": "[=LEVELS]", 0: ""}
"""What comes after an option, by argparse's nargs."""


class Parser(argparse.ArgumentParser):
    """One whose help fits a screen: a line an option, of which the manual page says all."""

    def format_help(self) -> str:
        """Usage, the first sentence of each option's text, and examples."""
        actions = sorted(self._actions, key=lambda each: bool(each.option_strings))
        options = (f"  {_invocation(each):<{COLUMN}}{_first_sentence(each.help or '')}\n" for each in actions)
        return f"{self.format_usage()}{self.description}\n\n{''.join(options)}{self.epilog}\n"


def _invocation(action: argparse.Action) -> str:
    value = f" {action.metavar}" if action.metavar else VALUES[action.nargs]
    return ", ".join(action.option_strings) + value if action.option_strings else str(action.metavar)


def _first_sentence(text: str) -> str:
    return re.split(r"\.\s| \(", text)[0].rstrip(".")


def main(argv: Sequence[str]) -> NoReturn:
    """Parse the command line and do what it says."""
    os.umask(os.umask(0) | stat.S_IRWXO)  # The log says who is where; Open vSwitch's own are not for everybody either.
    options, arguments = parse(argv)
    try:
        where = databases.of_application(arguments)
        if options.cleanup:
            sys.exit(clean_up(options.ps_name, where, Path(ovs.dirs.RUNDIR)))
        _supervise(options, where, arguments)
    except Failure as failure:
        fail(str(failure))
    except Exception:  # noqa: BLE001 - logged; this status has --monitor start it again
        LOG.exception("traceback")
        sys.exit(ovs.daemon.RESTART_EXIT_CODE)
    sys.exit(0)


def fail(message: str) -> NoReturn:
    """End with one line on stderr and in the log, and exit status 1."""
    ovs.vlog.Vlog.set_level("any", "console", "off")  # That is stderr too.
    ovs.util.ovs_error(0, message, LOG)
    sys.exit(1)


def parser() -> argparse.ArgumentParser:
    """What there is to say on the command line; --help is made of it."""
    made = Parser(
        prog=ovs.util.PROGRAM_NAME,
        usage="%(prog)s [OPTIONS] PS-NAME [-- RYU-MANAGER-OPTIONS...]\n       %(prog)s --cleanup PS-NAME\n"
        "       %(prog)s doctor [PS-NAME]",
        description="Serve the bridge PS-NAME as the hardware VTEP of that name; see vtep-ryu(8).",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    made.add_argument("ps_name", metavar="PS-NAME", help="The bridge, and its Physical_Switch row.")
    made.add_argument("--cleanup", action="store_true", help="Remove what serving the bridge has left on it.")
    for name, (letter, what) in zip(databases.TLS_OPTIONS, TLS_HELP, strict=True):
        made.add_argument(letter, f"--{name}", metavar="FILE", help=f"{what}, for ssl: databases.")
    made.add_argument("--root-prefix", metavar="DIR", help="Use DIR as alternate root directory (for testing).")
    made.add_argument("--version", action="version", version=f"{ovs.util.PROGRAM_NAME} {__version__}")
    ovs.vlog.add_args(made)
    ovs.daemon.add_args(made)
    return made


def manual() -> argparse.ArgumentParser:
    """The same for the manual page, where what comes after an option is shown with its name."""
    made = parser()
    for action in made._actions:
        if action.option_strings:
            action.option_strings = [_invocation(action)]
    return made


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, in effect, and what follows ``--``."""
    end = argv.index("--") if "--" in argv else len(argv)
    words, arguments = argv[:end], argv[end + 1 :]
    options = parser().parse_args(as_getopt(words, ovs.daemon.make_pidfile_name(None)))
    options.verbose = levels(words) or None  # With none at all, ovs.vlog would take [] for a bare -v.
    if options.detach:
        # Until it is detached stderr is the terminal; what is not worth a word there is in the log file.
        ovs.vlog.Vlog.set_level("any", "console", "warn")
        ovs.vlog.Vlog.set_level(APPLICATION_LOG.name, "console", "off")
    if options.log_file:
        name = f"{ovs.dirs.LOGDIR}/{ovs.util.PROGRAM_NAME}.log" if options.log_file == "default" else options.log_file
        options.log_file = str(Path(name).absolute())  # vlog/reopen comes after chdir.
    # Without a log file Python would print what is meant for it.
    logging.getLogger("file").addHandler(logging.NullHandler())
    ovs.vlog.handle_args(options)
    if logging.getLogger("file").disabled:
        ovs.util.ovs_error(0, f"cannot write the log file {options.log_file}")
    ovs.daemon.handle_args(options)
    given = ((name, getattr(options, name.replace("-", "_"))) for name in databases.TLS_OPTIONS)
    # Absolute, for to detach is to change the directory.
    return options, [*(f"--vtep-{name}={Path(file).absolute()}" for name, file in given if file), *arguments]


def as_getopt(words: Sequence[str], pidfile: str) -> list[str]:
    """The command line with what options without a value stand for.

    To getopt_long(3) the value of one that may have one comes after "="; argparse would take the next word, PS-NAME.
    """
    meant = {"--log-file": "default", "--pidfile": pidfile, "--verbose": ALL_LEVELS}
    words = ["--verbose" if word == "-v" else word for word in words]
    return [f"{word}={meant[word]}" if word in meant else word for word in words]


def levels(words: Sequence[str]) -> list[str]:
    """The values of all -v and --verbose: each adds to those before, where argparse keeps the last alone."""
    found = (re.fullmatch(r"(?:-v|--verbose=?)(.*)", word) for word in words)
    return [match[1] or ALL_LEVELS for match in found if match]


def _supervise(options: argparse.Namespace, where: databases.Databases, arguments: Sequence[str]) -> None:
    ovs.daemon.daemonize_start()
    unixctl.register_format()
    error, server = ovs.unixctl.server.UnixctlServer.create(None, version=__version__)
    if error:
        sys.exit(1)  # It has said so.
    Supervisor(options.ps_name, where, Path(ovs.dirs.RUNDIR), arguments, server).run()
    server.close()
