"""Asks this machine's ovs-vswitchd, as ovs-appctl(8) does. In green threads: nobody waits but who asks."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from vtep_ryu.drivers.jsonrpc import Messages
from vtep_ryu.options import RUN_DIRECTORIES, run_directory

PIECE = 1 << 16
ANSWER_SECONDS = 10.0


class NoAnswer(Exception):
    """It cannot be asked, or does not know; the text is one line that says why."""


def is_here(address: str) -> bool:
    """Whether an IP address is one of this machine's: others cannot be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def ask(command: str, *arguments: str) -> str:
    """What it answers.

    Raises NoAnswer.
    """
    directory, name = _control_socket()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            # By this way to its directory a path may be longer than the 107 bytes of an address.
            place = os.open(directory, os.O_PATH | os.O_DIRECTORY)
            try:
                connection.connect(f"/proc/self/fd/{place}/{name}")
            finally:
                os.close(place)
            connection.sendall(json.dumps({"id": 0, "method": command, "params": arguments}).encode())
            return _answer(connection)
    except OSError as error:
        raise NoAnswer(f"ovs-vswitchd ({directory}/{name}) does not answer: {error.strerror or error}") from error
    except ValueError as error:
        raise NoAnswer(f"ovs-vswitchd ({directory}/{name}) gives an answer that is none: {error}") from error


def _control_socket() -> tuple[Path, str]:
    """Its directory and its name, which has the process id of its pidfile."""
    directories = (run_directory(os.environ, os.path.exists), *RUN_DIRECTORIES)
    for each in directories:
        try:
            return Path(each), f"ovs-vswitchd.{int(Path(each, 'ovs-vswitchd.pid').read_text())}.ctl"
        except (OSError, ValueError):
            continue
    raise NoAnswer(f"there is no ovs-vswitchd.pid in {', '.join(dict.fromkeys(directories))}")


def _answer(connection: socket.socket) -> str:
    messages = Messages()
    while not messages:
        piece = connection.recv(PIECE)
        if not piece:
            raise NoAnswer("ovs-vswitchd has hung up")
        messages.feed(piece)
    answer = messages.next()
    if answer.get("error") is not None:
        raise NoAnswer(f"ovs-vswitchd says: {' '.join(str(answer['error']).split())}")
    return str(answer["result"])
