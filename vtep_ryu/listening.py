"""Where switches connect, and whether they may and can: Ryu's options, checked before Ryu goes by them."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket

from oslo_config import cfg

from vtep_ryu.options import GROUP, WrongOption, fail, tls_files

FILES = ("ctl_privkey", "ctl_cert", "ca_certs")
"""Ryu's options for TLS, in the order of tls.Files."""


def place(conf: cfg.ConfigOpts) -> tuple[str, str, int]:
    """Where switches connect: "ssl" or "tcp", as Open vSwitch calls it, host and port."""
    if conf.ctl_privkey:
        return "ssl", conf.ofp_listen_host, conf.ofp_ssl_listen_port
    return "tcp", conf.ofp_listen_host, conf.ofp_tcp_listen_port


def check(conf: cfg.ConfigOpts, without_tls: bool) -> None:
    """See whether the OpenFlow port may and can be listened on; if not, one line on stderr and SystemExit(1).

    Ryu would log a traceback and go on without switches, and without CA certificates let anybody connect.
    """
    try:
        given = {name: conf[name] for name in FILES}
        if tls_files(given) is None:
            for name in given:
                conf.set_override(name, None)  # To Ryu an empty one is one.
        scheme, host, port = place(conf)
        if scheme != "ssl" and not without_tls:
            _check_loopback("ofp_listen_host", host)
        for address in () if without_tls else conf.ofp_switch_address_list:
            _check_loopback("ofp_switch_address_list", address.rpartition(":")[0].strip("[]"))
    except WrongOption as error:
        fail(str(error))
    if number := obstacle(host, port):
        fail(f"cannot listen on {host}:{port} for OpenFlow: {os.strerror(number)}")


def _check_loopback(name: str, host: str) -> None:
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host != "localhost":
        raise WrongOption(
            f"{name} has {host}: without TLS OpenFlow is for loopback addresses alone, unless openflow_without_tls in "
            f"[{GROUP}] is true"
        )


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
