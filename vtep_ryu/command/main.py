"""The entry point: finds Open vSwitch's directories, then lets the ovs package be loaded, which wants to know them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from vtep_ryu import compat


def main() -> None:
    """``vtep-ryu``, as a console script; ``ovs-vtep``, where a link has that name."""
    compat.put_pythonpath_last()
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--root-prefix", default="")
    prefix = early.parse_known_args(sys.argv[1:])[0].root_prefix
    os.environ.update(directories(os.environ, prefix, os.path.exists))

    if sys.argv[1:2] == ["doctor"]:
        from vtep_ryu.command.doctor.report import main as doctor

        doctor(sys.argv[2:], Path(os.environ["OVS_RUNDIR"]))

    from vtep_ryu.command.daemon import main as daemon

    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # Who started it may have left some open: a lock, or a pipe it reads.
    daemon(sys.argv[1:])


def directories(environ: Mapping[str, str], prefix: str, exists: Callable[[str], bool]) -> dict[str, str]:
    """OVS_RUNDIR and OVS_LOGDIR, which Open vSwitch's tools and the ovs package go by.

    What is set already stays. The ovs package of PyPI has defaults of its own in /usr/local, right for an Open vSwitch
    that is installed there; so one is looked for. The prefix is put in front of what is not set.
    """
    from vtep_ryu import options

    run = options.run_directory(environ, lambda path: exists(prefix + path))
    root = "/usr/local" if run.startswith("/usr/local/") else ""
    return {
        "OVS_RUNDIR": environ.get("OVS_RUNDIR") or prefix + run,
        "OVS_LOGDIR": environ.get("OVS_LOGDIR") or f"{prefix}{root}/var/log/openvswitch",
    }
