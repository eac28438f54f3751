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
from collections.abc import Callable
from typing import Any, TypeAlias

import ovs.jsonrpc

READ_BYTES = WRITE_BYTES = 1 << 16
PART = 1 << 18
"""Characters of a long update after which its rows are taken out: some milliseconds' work, and memory for no more."""

TableUpdates: TypeAlias = dict[str, dict[str, Any]]
"""What an update says: the changes of rows by their UUIDs, by table (RFC 7047, 4.1.6)."""

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_BETWEEN_MESSAGES = re.compile(r"\}\s*\{")
_ROW = r'"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}":\s*\{'
_UPDATE = re.compile(rf'\{{[^{{]*\{{\s*"(\w+)":\s*\{{\s*(?={_ROW})')
"""How an update, and nothing else, begins: up to its first row. Outside of strings only, as quotation marks show."""

_NEXT_ROW = re.compile(rf"\}},\s*(?={_ROW})")
"""What is between two rows of a table. In a string it cannot be: what follows on a string's end is no digit."""

_DECODER = json.JSONDecoder()


class Messages:
    """Takes a stream of JSON objects apart. Nothing but how they nest tells where one ends.

    What has come is looked at once, and decoded once when at least one object in it is complete. With shorten, the rows
    of a long update are decoded as they come: what shorten() makes of them is in the message in their place.
    """

    def __init__(self) -> None:
        self.shorten: Callable[[TableUpdates], TableUpdates] | None = None
        self._bytes = codecs.getincrementaldecoder("utf-8")()
        self._text: list[str] = []
        self._length = 0
        self._enough = PART
        self._in_string = False  # Whether what has come ends within a string,
        self._escape = ""  # and in it with a backslash.
        self._depth = 0
        self._rows: TableUpdates = {}
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
        self._length += len(new)
        structure = self._outside(new)
        self._depth += structure.count("{") - structure.count("}")
        if (not self._in_string and self._depth <= 0) or _BETWEEN_MESSAGES.search(structure):
            self._decode()
        elif self.shorten and self._length >= self._enough:
            self._take_rows(self.shorten)

    def _outside(self, new: str) -> str:
        """What has come, without strings."""
        new = self._escape + new
        if "\\" in new:
            new = _ESCAPED.sub("", new)
        self._escape = "\\" if new.endswith("\\") else ""
        pieces = new.split('"')
        outside = "".join(pieces[self._in_string :: 2])
        self._in_string ^= len(pieces) % 2 == 0
        return outside

    def _take_rows(self, shorten: Callable[[TableUpdates], TableUpdates]) -> None:
        """Take the rows that are complete out of an update, so that what is left is the beginning of a shorter one."""
        text = "".join(self._text)
        begin, end = _UPDATE.match(text), _end_of_rows(text)
        if begin and end > begin.end():
            updates = json.loads(f'{{"{begin[1]}":{{{text[begin.end() : end]}}}}}')
            *_, table = updates  # The one that the next row is in.
            self._add(shorten(updates))
            text = text[: begin.start(1)] + table + text[begin.end(1) : begin.end()] + text[end + 1 :]
        self._keep(text)

    def _add(self, updates: TableUpdates) -> None:
        for table, rows in updates.items():
            self._rows.setdefault(table, {}).update(rows)

    def _decode(self) -> None:
        text = "".join(self._text).lstrip()
        while text:
            try:
                message, end = _DECODER.raw_decode(text)
            except json.JSONDecodeError:
                if self._depth <= 0:
                    raise
                break
            if self._rows:
                content = message.get("params") or message.get("result")
                updates: TableUpdates = content[-1] if isinstance(content, list) else content
                self._add(updates)
                updates.update(self._rows)
                self._rows = {}
            self._found.append(message)
            text = text[end:].lstrip()
        self._keep(text)

    def _keep(self, text: str) -> None:
        """Keep what is not decoded. It is looked at again when it is much longer: it may be no update."""
        self._text, self._length = [text], len(text)
        self._enough = max(PART, 2 * len(text))


def _end_of_rows(text: str) -> int:
    """Where the last row that another one of its table follows ends, or 0."""
    place = text.rfind("},")
    while place > 0 and not _NEXT_ROW.match(text, place):
        place = text.rfind("},", 0, place)
    return max(0, place + 1)


class Connection(ovs.jsonrpc.Connection):  # type: ignore[misc]
    """A connection whose messages are read by Messages."""

    output: str

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._messages = Messages()
        self._unsent = memoryview(b"")

    def run(self) -> None:
        """Send what can be. The package's own copies all that is left for each piece: minutes, for a long answer."""
        while not self.status and self.get_backlog():
            if not self._unsent:
                self._unsent, self.output = memoryview(self.output.encode()), ""
            sent = self.stream.send(bytes(self._unsent[:WRITE_BYTES]))
            if sent < 0:
                if sent != -errno.EAGAIN:
                    self.error(-sent)
                return
            self._unsent = self._unsent[sent:]

    def get_backlog(self) -> int:
        """How many bytes are still to be sent, at least."""
        return 0 if self.status else len(self._unsent) + len(self.output)

    def wait(self, poller: Any) -> None:
        """Have the poller wake up when more can be sent."""
        if not self.status:
            self.stream.run_wait(poller)
            if self.get_backlog():
                self.stream.send_wait(poller)

    def read_in_parts(self, shorten: Callable[[TableUpdates], TableUpdates]) -> None:
        """See Messages. Who reads such a connection knows what to make of short rows."""
        self._messages.shorten = shorten

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
