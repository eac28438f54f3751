"""Running commands, waiting for conditions, and network namespaces."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from apps.lab.wire import Capture, packet_socket

T = TypeVar("T")

_SETUP = """
ip link set lo up
for scope in all default; do
    file=/proc/sys/net/ipv6/conf/$scope/disable_ipv6
    [ ! -e $file ] || echo 1 >$file
done
# The kernel too sees what arrives at a port of the switch, and would answer ARP there for the addresses of all others.
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
"""


class LabError(Exception):
    """Something the lab was told to do did not work; the message says what and what it printed."""


def run(
    *argv: str, check: bool = True, stdin: str = "", timeout: float = 60, env: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end and return its standard output.

    `timeout` is in seconds. Raises LabError with the command, its exit status and what it printed to
    standard error when it takes longer, cannot be started or, with `check`, fails.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=env,
            start_new_session=True,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise LabError(f"$ {shlex.join(argv)}\n{error}") from error
    if check and done.returncode:
        raise LabError(f"$ {shlex.join(argv)}\nexit status {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def wait_until(predicate: Callable[[], T], timeout: float = 10, what: str = "", evidence: Callable[[], str] = str) -> T:
    """Call `predicate` until what it returns is true, and return that.

    Raises LabError after `timeout` seconds; the message names `what`, what the predicate returned or
    raised last, and what `evidence` has to say. A LabError from the predicate counts as not yet.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: Any
        try:
            last = predicate()
        except LabError as error:
            last = error
        else:
            if last:
                return last  # type: ignore[no-any-return]
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:g} s for {what or predicate}; last seen: {last!s}\n{evidence()}")
        time.sleep(0.02)


class Namespace:
    """A network namespace, without IPv6 so that nothing is sent in it unasked."""

    def __init__(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Create namespace `name`; `env` is added to the environment of what runs in it."""
        self.name = name
        self.env = dict(env or {})
        self._processes: list[subprocess.Popen[str]] = []
        run("ip", "netns", "add", name)
        self.run("sh", "-c", _SETUP)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def path(self) -> str:
        """The file that stands for the namespace."""
        return f"/run/netns/{self.name}"

    def run(self, *argv: str, check: bool = True, stdin: str = "", timeout: float = 60) -> str:
        """As `run`, in this namespace."""
        return run(*self._inside(argv), check=check, stdin=stdin, timeout=timeout, env=os.environ | self.env)

    def shell(self, line: str, check: bool = True, timeout: float = 60) -> str:
        """Run a line of shell in this namespace and return its standard output."""
        return self.run("sh", "-c", line, check=check, timeout=timeout)

    def popen(self, *argv: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in this namespace, in a session of its own; it is ended with the namespace."""
        options = {"stdin": subprocess.DEVNULL, "text": True, "start_new_session": True} | options
        process = subprocess.Popen(self._inside(argv), env=os.environ | self.env, **options)
        self._processes.append(process)
        return process

    def ip(self, *argv: str) -> str:
        """`ip` with these arguments, in this namespace."""
        return run("ip", "-n", self.name, *argv)

    def counters(self, interface: str = "eth0") -> dict[str, int]:
        """The kernel's counters of an interface: rx_packets, rx_bytes, tx_packets, tx_dropped and so on."""
        (link,) = json.loads(self.ip("-s", "-j", "link", "show", interface))
        return {f"{way}_{name}": value for way in ("rx", "tx") for name, value in link["stats64"][way].items()}

    def capture(self, interface: str = "eth0") -> Capture:
        """Record the frames that arrive at `interface` from here on; use it in a with statement."""
        return Capture(self.path, interface)

    def send_raw(self, *frames: bytes, interface: str = "eth0") -> None:
        """Put frames on the wire at `interface`, byte for byte."""
        with packet_socket(self.path, interface, receive=False) as wire:
            for frame in frames:
                wire.send(frame)

    def offload_off(self, interface: str) -> None:
        """Have `interface` send whole frames with their checksums filled in: Open vSwitch needs both."""
        self.run("ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off")

    def delete(self) -> None:
        """End what was started in the namespace, and the namespace with the interfaces in it."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        self._processes.clear()
        run("ip", "netns", "delete", self.name, check=False)

    def _inside(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        return ("nsenter", f"--net={self.path}", "--", *argv)
