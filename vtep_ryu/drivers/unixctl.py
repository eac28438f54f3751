"""The server's side of ovs-appctl(8) beyond what the ovs package has: answers that come later, and as JSON.

Both programs have it, the application and ``vtep-ryu``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import ovs.unixctl

from vtep_ryu.show.commands import COMMANDS, FORMAT_USAGE, Command, Question, Unanswerable, question, without_format

MANY = 99

Ask: TypeAlias = Callable[["Caller", Question], None]


class Caller:
    """Who waits for an answer."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._wants_json: bool = connection._fmt == ovs.unixctl.UnixctlOutputFormat.JSON

    @property
    def wants_json(self) -> bool:
        """Whether the client has said so by set-options, as newer ones do for ``--format json``."""
        return self._wants_json

    def answer(self, text: str) -> None:
        """Give the answer. Who has gone meanwhile gets none."""
        if self._connection._request_id is None:
            return
        if self._wants_json:
            self._connection.reply_json(json.loads(text))
        else:
            self._connection.reply(text)

    def refuse(self, why: str) -> None:
        """Say that there is none, and why, in one line."""
        if self._connection._request_id is not None:
            self._connection.reply_error(f"{why.rstrip()}\n")


def register(ask: Ask) -> None:
    """Have the commands of show/ asked in this way; list-commands lists them, and all others."""
    for command in COMMANDS:
        ovs.unixctl.command_register(command.name, command.usage, 0, MANY, _asking(command, ask), None)
    ovs.unixctl.command_register("list-commands", "", 0, 0, _list_commands, None)


def register_format() -> None:
    """Take set-options as the ovs package does, which would end the program where it is not used rightly."""
    ovs.unixctl.command_register("set-options", "[--format text|json]", 1, 2, _set_options, None)


def take_format() -> None:
    """Have all other commands that are there by now, the ovs package's own too, take --format as well."""
    own = {"set-options", *(command.name for command in COMMANDS)}
    for name, each in ovs.unixctl.commands.items():
        if name not in own:
            each.callback = _with_format(name, each.callback, each.min_args, each.max_args)
            each.usage = f"{each.usage} {FORMAT_USAGE}".strip()
            each.min_args, each.max_args = 0, MANY


def _with_format(name: str, callback: Callable[..., None], least: int, most: int) -> Callable[..., None]:
    def wrapper(connection: Any, words: Sequence[str], aux: Any) -> None:
        caller = Caller(connection)
        try:
            arguments, as_json = without_format(words)
            if not least <= len(arguments) <= most:
                raise Unanswerable(f"usage: {name} {ovs.unixctl.commands[name].usage}")
        except Unanswerable as error:
            caller.refuse(str(error))
            return
        if as_json or caller.wants_json:
            connection.reply = functools.partial(_reply_in_json, connection, caller)
        callback(connection, arguments, aux)

    return wrapper


def _reply_in_json(connection: Any, caller: Caller, body: str | None) -> None:
    """Reply once with what is JSON already, or with text as Open vSwitch has it within JSON."""
    del connection.reply
    try:
        text = json.dumps(json.loads(body or ""))
    except ValueError:
        text = json.dumps({"reply-format": "plain", "reply": body or ""})
    caller.answer(f"{text}\n")


def wait(server: Any, poller: Any) -> None:
    """As the server's wait(), but for those that wait for an answer: they are not listened to until they have it."""
    server._listener.wait(poller)
    for connection in server._conns:
        if connection._request_id is None:
            connection._wait(poller)
        else:
            connection._rpc.wait(poller)


def _asking(command: Command, ask: Ask) -> Callable[[Any, Sequence[str], None], None]:
    def callback(connection: Any, words: Sequence[str], _: None) -> None:
        caller = Caller(connection)
        try:
            ask(caller, question(command, words, caller.wants_json))
        except Unanswerable as error:
            caller.refuse(str(error))

    return callback


def _list_commands(connection: Any, *_: Any) -> None:
    """As Open vSwitch's daemons in C have it; the ovs package calls it help."""
    lines = (f"  {name:<23} {each.usage}".rstrip() for name, each in sorted(ovs.unixctl.commands.items()))
    connection.reply("".join(f"{line}\n" for line in ("The available commands are:", *lines)))


def _set_options(connection: Any, words: Sequence[str], _: None) -> None:
    caller = Caller(connection)
    try:
        chosen = question(Command("set-options"), words)
    except Unanswerable as error:
        caller.refuse(str(error))
        return
    formats = ovs.unixctl.UnixctlOutputFormat
    connection.reply(None)
    connection._fmt = formats.JSON if chosen.as_json else formats.TEXT
