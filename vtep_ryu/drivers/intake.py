"""What a switch sends: messages for Ryu, and packet-ins, which wait for their turn.

Where a port floods, Open vSwitch hands over thousands of frames a second to learn from, and the buffers between it and
this program hold tens of thousands. Taken in one after the other, they would delay what comes behind them for seconds:
the frames of other ports, answers, and echoes, so that one side hangs up on the other. So all that there is to read is
read at once. Packet-ins are put aside, and one of each port is taken in turn when there is time for them.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3 as ofp

from vtep_ryu.core.turns import Turns
from vtep_ryu.drivers.packet_in import IN_PORT
from vtep_ryu.drivers.wellformed import Malformed, check_header

PIECE = 1 << 18
"""Bytes read at once."""

PACKET_INS = 10_000
"""How many packet-ins wait at most: the default of packet_in_burst. The frames of those that are lost come again."""

_HEADER = struct.Struct("!BBH")


class Intake:
    """A connection, as Ryu's Datapath uses it, which receives whole messages.

    on_packet_in is called when there are packet-ins. As long as it is None they are nobody's, and dropped.
    why_ended says what of the switch's made us hang up, if anything did.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.setsockopt, self.sendall, self.shutdown = connection.setsockopt, connection.sendall, connection.shutdown
        self._timeout: float | None = None
        self.on_packet_in: Callable[[], None] | None = None
        self.packet_ins: Turns[bytes] = Turns(PACKET_INS)
        self._messages: deque[bytes] = deque()
        self._malformed: Malformed | None = None
        self._ended = False
        self.why_ended = ""
        self._wake = hub.Event()
        self._reader = hub.spawn(self._read)

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's."""
        self._timeout = seconds
        self._connection.settimeout(seconds)

    def close(self) -> None:
        """As a socket's."""
        hub.kill(self._reader)
        self._connection.close()

    def recv(self, _: int) -> bytes:
        """The next message, whatever its size; nothing when the switch has hung up.

        Raises TimeoutError, Malformed.
        """
        while not self._messages:
            if self._malformed:
                raise self._malformed
            if self._ended:
                return b""
            if not self._wake.wait(self._timeout):
                raise TimeoutError
            self._wake.clear()
        return self._messages.popleft()

    def _read(self) -> None:
        left = b""
        while not self._ended:
            try:
                piece = self._connection.recv(PIECE)
            except TimeoutError:
                continue
            except (EOFError, OSError):
                piece = b""
            try:
                left = self._sort(left + piece)
            except Malformed as error:
                self._malformed, piece = error, b""
            self._ended = not piece
            if self._messages or self._ended:
                self._wake.set()
            if self.packet_ins and self.on_packet_in:
                self.on_packet_in()
            hub.sleep(0)

    def _sort(self, data: bytes) -> bytes:
        """Put all messages that are there into their queues; return what is left, the beginning of another.

        Raises Malformed.
        """
        start, end = 0, len(data)
        while end - start >= ofp.OFP_HEADER_SIZE:
            version, kind, length = _HEADER.unpack_from(data, start)
            check_header(version, kind, length)
            after = start + length
            if after > end:
                break
            message = data[start:after]
            if kind != ofp.OFPT_PACKET_IN:
                self._messages.append(message)
            elif self.on_packet_in:
                self.packet_ins.put(message[IN_PORT], message)
            start = after
        return data[start:]
