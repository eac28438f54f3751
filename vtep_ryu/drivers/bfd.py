"""BFD as two databases have it: a Tunnel row of vtep(5), and an Interface row of ovs-vswitchd.conf.db(5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

import netaddr

from vtep_ryu.core.model import Bfd

Wrong: TypeAlias = Callable[[str, str, str], None]
"""Takes a column and its key ("bfd_params:min_rx"), what is there, and what may be."""

MAX_INTERVAL = 0xFFFFFFFF // 1000
"""In milliseconds: BFD packets have intervals in microseconds and 32 bits (RFC 5880, section 4.1)."""

LOCAL = {"bfd_dst_mac": "local_mac", "bfd_dst_ip": "local_ip"}
REMOTE = {"bfd_dst_mac": "remote_mac", "bfd_dst_ip": "remote_ip"}
DEFAULTS = Bfd()
LOCAL_DEFAULTS = {key: getattr(DEFAULTS, name) for key, name in LOCAL.items()}
"""What bfd_config_local has where nobody says otherwise."""

_SWITCHES = ("forwarding_if_rx", "cpath_down", "check_tnl_key")


def session(row: Any, wrong: Wrong) -> Bfd | None:
    """The session that a Tunnel row wants, None where it does not enable BFD; what cannot be used is left out."""
    wanted: dict[str, Any] = {}
    params: Mapping[str, str] = row.bfd_params
    switches = {key: _is_true("bfd_params", params, key, wrong) for key in ("enable", *_SWITCHES) if key in params}
    for key, least in (("min_rx", 1), ("min_tx", 1), ("decay_min_rx", 0)):
        if key in params:
            wanted[key] = _interval(params, key, least, wrong)
    for column, names in (("bfd_config_local", LOCAL), ("bfd_config_remote", REMOTE)):
        for key, name in names.items():
            wanted[name] = _address(column, getattr(row, column), key, wrong)
    enable = switches.pop("enable", None)
    found = Bfd(**{name: value for name, value in (wanted | switches).items() if value is not None})
    if 0 < found.decay_min_rx < found.min_rx:
        allowed = f"0 or an integer of at least min_rx, {found.min_rx}"
        wrong("bfd_params:decay_min_rx", params["decay_min_rx"], allowed)
        found = Bfd(**asdict(found) | {"decay_min_rx": DEFAULTS.decay_min_rx})
    return found if enable else None


def interface(bfd: Bfd) -> dict[str, str]:
    """The column bfd of an Interface.

    Open vSwitch takes packets that are for its own source address, and with the default of that, packets for any. So
    vtep(5)'s default is left to it: of two VTEPs with nothing but defaults, each sends to the address of a hypervisor.
    """
    numbers = {key: str(getattr(bfd, key)) for key in ("min_rx", "min_tx", "decay_min_rx")}
    switches = {key: str(getattr(bfd, key)).lower() for key in _SWITCHES}
    source = {} if bfd.local_ip == DEFAULTS.local_ip else {"bfd_src_ip": bfd.local_ip}
    addresses = {
        "bfd_dst_ip": bfd.remote_ip,
        "bfd_local_dst_mac": bfd.remote_mac,
        "bfd_remote_dst_mac": bfd.local_mac,
    }
    return {"enable": "true", **numbers, **switches, **source, **addresses}


def _is_true(column: str, texts: Mapping[str, str], key: str, wrong: Wrong) -> bool | None:
    if texts[key] not in ("true", "false"):
        wrong(f"{column}:{key}", texts[key], "true or false")
        return None
    return texts[key] == "true"


def _interval(texts: Mapping[str, str], key: str, least: int, wrong: Wrong) -> int | None:
    text = texts[key]
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= MAX_INTERVAL):
        wrong(f"bfd_params:{key}", text, f"an integer from {least} to {MAX_INTERVAL}")
        return None
    return int(text)


def _address(column: str, texts: Mapping[str, str], key: str, wrong: Wrong) -> str | None:
    """A MAC or an IPv4 address, spelt as Open vSwitch reads it."""
    text = texts.get(key)
    if text is None:
        return None
    try:
        if key == "bfd_dst_ip":
            return str(netaddr.IPAddress(text, 4, netaddr.INET_PTON))
        return str(netaddr.EUI(text, version=48, dialect=netaddr.mac_unix_expanded))
    except (netaddr.AddrFormatError, ValueError, TypeError):
        wrong(f"{column}:{key}", text, "an IPv4 address" if key == "bfd_dst_ip" else "a MAC address")
        return None
