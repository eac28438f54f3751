"""What values of the options may be: each check takes what the operator wrote and gives what the program uses."""

import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from oslo_config import cfg

GROUP = "vtep"


class WrongOption(cfg.Error):
    """An option or a value that is not allowed; the text is one line that says what is."""


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Say that a value is not allowed, and what is."""
    raise WrongOption(f"[{GROUP}] {name} is '{value}', must be {allowed}")


@dataclass(frozen=True, slots=True)
class Number:
    """An integer within bounds."""

    type_name: ClassVar[str] = "integer"
    name: str
    min: int
    max: int

    def __call__(self, value: object) -> int:
        with contextlib.suppress(ValueError):
            number = int(str(value))
            if self.min <= number <= self.max:
                return number
        refuse(self.name, value, f"an integer from {self.min} to {self.max}")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words, each of which stands for a value."""

    type_name: ClassVar[str] = "string"
    name: str
    values: Mapping[str, Any]

    def __call__(self, value: object) -> Any:
        try:
            return self.values[str(value).lower()]
        except KeyError:
            refuse(self.name, value, "one of " + ", ".join(self.values))


@dataclass(frozen=True, slots=True)
class Remotes:
    """OVSDB servers, separated by commas."""

    type_name: ClassVar[str] = "list of remotes"
    name: str

    def __call__(self, value: str | tuple[str, ...]) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        remotes = tuple(item.strip() for item in items if item.strip())
        for remote in remotes:
            if not is_remote(remote):
                refuse(self.name, remote, "unix:PATH, tcp:IP:PORT or ssl:IP:PORT, an IPv6 address as [IP]")
        return remotes


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and a TCP port to listen on, or nothing."""

    type_name: ClassVar[str] = "address and port"
    name: str

    def __call__(self, value: str | tuple[str, int] | None) -> tuple[str, int] | None:
        if not value or isinstance(value, tuple):
            return value or None
        host, _, port = value.rpartition(":")
        if not is_remote(f"tcp:{value}"):
            refuse(self.name, value, "IP:PORT, an IPv6 address as [IP]")
        return host.strip("[]"), int(port)


def is_remote(remote: str) -> bool:
    """Whether this is an active OVSDB connection method of ovsdb(7), address and port spelled out."""
    scheme, _, rest = remote.partition(":")
    if scheme == "unix":
        return bool(rest)
    host, _, port = rest.rpartition(":")
    if scheme not in ("tcp", "ssl") or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return False
    try:
        if host.startswith("[") and host.endswith("]"):
            ipaddress.IPv6Address(host[1:-1])
        else:
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
