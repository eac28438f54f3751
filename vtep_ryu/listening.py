"""Where switches connect, and whether they can: Ryu's options, checked before Ryu goes by them."""

from __future__ import annotations

import errno
import os
import socket

from oslo_config import cfg

from vtep_ryu.checks import WrongOption
from vtep_ryu.options import fail, tls_files

FILES = ("ctl_privkey", "ctl_cert", "ca_certs")
"""Ryu's options for TLS, in the order of tls.Files."""


def place(conf: cfg.ConfigOpts) -> tuple[str, str, int]:
    """Where switches connect: "ssl" or "tcp", as Open vSwitch calls it, host and port."""
    if conf.ctl_privkey:
        return "ssl", conf.ofp_listen_host, conf.ofp_ssl_listen_port
    return "tcp", conf.ofp_listen_host, conf.ofp_tcp_listen_port


def check(conf: cfg.ConfigOpts) -> None:
    """See whether the OpenFlow port can be listened on; if not, one line on stderr and SystemExit(1).

    Ryu would log a traceback and go on without switches, and without CA certificates let anybody connect.
    """
    try:
        given = {name: conf[name] for name in FILES}
        if tls_files(given) is None:
            for name in given:
                conf.set_override(name, None)  # To Ryu an empty one is one.
    except WrongOption as error:
        fail(str(error))
    _, host, port = place(conf)
    if number := obstacle(host, port):
        fail(f"cannot listen on {host}:{port} for OpenFlow: {os.strerror(number)}")


def obstacle(host: str, port: int) -> int:
    """The errno of why a TCP port cannot be listened on; 0 where it can. EADDRINUSE: somebody does already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0
