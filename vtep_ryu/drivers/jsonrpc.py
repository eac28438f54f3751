"""JSON-RPC connections that read by the standard library's JSON decoder, in place of the ovs package's own.

The package's parser takes a time that grows with the square of a string's length (ten seconds for 100,000 characters),
and its connection loses a character that two reads share. Either would let one long name in a database stop everything.
"""

from __future__ import annotations

import codecs
import errno
import json
import re
from collections import deque
from typing import Any

import ovs.jsonrpc

READ_BYTES = 1 << 16

_INSIDE = re.compile(r"(?:[^\"\\]++|\\.)*+", re.DOTALL)
"""What follows on a string's first quotation mark, without the last one, or a backslash whose character is to come."""

_STRING = re.compile(rf'"{_INSIDE.pattern}"', re.DOTALL)
_WHOLE = re.compile(rf'(?:[^"]++|{_STRING.pattern})*+', re.DOTALL)
_BETWEEN_MESSAGES = re.compile(r"\}\s*\{")
_DECODER = json.JSONDecoder()


class Messages:
    """Takes a stream of JSON objects apart. Nothing but how they nest tells where one ends.

    What has come is looked at once, and decoded once when at least one object in it is complete.
    """

    def __init__(self) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")()
        self._text: list[str] = []
        self._open = False  # Whether what has come ends within a string,
        self._escape = ""  # and in it with a backslash.
        self._depth = 0
        self._found: deque[Any] = deque()

    def __bool__(self) -> bool:
        return bool(self._found)

    def next(self) -> Any:
        """The next object, or None while there is none."""
        return self._found.popleft() if self._found else None

    def feed(self, data: bytes) -> None:
        """Take in what was received.

        Raises ValueError where it is no UTF-8 or no JSON.
        """
        new = self._bytes.decode(data)
        self._text.append(new)
        structure = _STRING.sub("", self._outside(new))
        self._depth += structure.count("{") - structure.count("}")
        if (not self._open and self._depth <= 0) or _BETWEEN_MESSAGES.search(structure):
            self._decode()

    def _outside(self, new: str) -> str:
        """What has come, without the strings that it does not begin or not end."""
        if self._open:
            new = self._after_string(self._escape + new)
        whole = _WHOLE.match(new)
        assert whole
        if whole.end() < len(new):
            self._open = True
            self._after_string(new[whole.end() + 1 :])
        return whole[0]

    def _after_string(self, inside: str) -> str:
        """What follows on the end of a string, and whether that has come."""
        found = _INSIDE.match(inside)
        assert found
        left = inside[found.end() :]
        self._open = not left.startswith('"')
        self._escape = left if self._open else ""
        return left[1:]

    def _decode(self) -> None:
        text = "".join(self._text).lstrip()
        while text:
            try:
                message, end = _DECODER.raw_decode(text)
            except json.JSONDecodeError:
                if self._depth <= 0:
                    raise
                break
            self._found.append(message)
            text = text[end:].lstrip()
        self._text = [text]


class Connection(ovs.jsonrpc.Connection):  # type: ignore[misc]
    """A connection whose messages are read by Messages."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._messages = Messages()

    def recv(self) -> tuple[int, Any]:
        """The next message, as (0, message), or (an errno, None)."""
        while not self.status:
            if self._messages:
                message = ovs.jsonrpc.Message.from_json(self._messages.next())
                if isinstance(message, ovs.jsonrpc.Message):
                    return 0, message
                self.error(errno.EPROTO)
                break
            error, data = self.stream.recv(READ_BYTES)
            if error == errno.EAGAIN:
                return error, None
            if error or not data:
                self.error(error or ovs.jsonrpc.EOF)
                break
            self.received_bytes += len(data)
            try:
                self._messages.feed(data)
            except ValueError:
                self.error(errno.EPROTO)
        return self.status, None

    def recv_wait(self, poller: Any) -> None:
        """Have the poller wake up when there is something to receive."""
        if self.status or self._messages:
            poller.immediate_wake()
        else:
            self.stream.recv_wait(poller)


def install() -> None:
    """Have the ovs package use such connections."""
    ovs.jsonrpc.Connection = Connection
