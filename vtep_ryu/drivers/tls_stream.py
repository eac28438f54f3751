"""``ssl:`` remotes of the databases, as a stream of the ovs package."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, ClassVar

import ovs.poller
import ovs.stream

from vtep_ryu.tls import HUNG_UP, PIECE, Channel, Files, Refused, Unusable


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Why one attempt to connect failed, as in "REMOTE is refused: ..."; the next has one of its own."""

    text: str


class TlsStream(ovs.stream.TCPStream):  # type: ignore[misc]
    """Takes the place of the package's own, in threads as without, and remembers why a connection was not made.

    Each connects with the files of use(); problems has the last one of each remote that had any.
    """

    files: ClassVar[Files | None] = None
    problems: ClassVar[dict[str, Problem]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.problem: Problem | None = None
        self._channel: Channel | None = None
        self._ready = False
        self._failed = 0
        self._unsent = b""
        self._accepted = 0

    @classmethod
    def use(cls, files: Files) -> None:
        """Have ``ssl:`` remotes be connected to with these files."""
        cls.files = files
        ovs.stream.Stream.register_method("ssl", cls)

    def connect(self) -> int:
        """0 once the handshake is over, an errno when it failed, EAGAIN before."""
        error: int = self._failed or super().connect()
        if error or self._ready:
            return error
        try:
            self._shake_hands()
        except BlockingIOError:
            return errno.EAGAIN
        except Refused as refused:
            return self._fail(refused)
        except OSError:
            return self._fail(Refused(HUNG_UP))
        self._ready = True
        return 0

    def _shake_hands(self) -> None:
        assert self.files is not None
        try:
            if self._channel is None:
                self._channel = Channel(self.files.context(server_side=False), server_side=False)
            while not self._channel.shake_hands():
                self._flush()
                self._channel.put(self.socket.recv(PIECE))
        except Unusable as error:
            raise Refused(f"is not connected to: {error}") from error
        self._flush()

    def recv(self, n: int) -> tuple[int, bytes | str]:
        """An errno, or 0 and what was received; nothing at the end."""
        error = self.connect()
        if error or not n:
            return error, ""
        assert self._channel is not None
        try:
            while (data := self._channel.read(n)) is None:
                self._channel.put(self.socket.recv(PIECE))
        except BlockingIOError:
            return errno.EAGAIN, ""
        except OSError as problem:
            return self._fail(problem), ""
        return 0, data

    def send(self, buf: str | bytes) -> int:
        """How much was sent, or a negative errno. After -EAGAIN it is to be called with the same bytes, and more."""
        error = self.connect()
        if error or not buf:
            return -error
        assert self._channel is not None
        piece = buf[:PIECE]
        data = piece.encode() if isinstance(piece, str) else piece
        try:
            if not self._accepted:
                self._accepted = len(data)
                self._channel.write(data)
            self._flush()
        except BlockingIOError:
            return -errno.EAGAIN
        except OSError as problem:
            # What the peer had to say before it hung up tells more than that it did.
            self.recv(1)
            return -(self._failed or self._fail(problem))
        sent, self._accepted = self._accepted, 0
        return sent

    def wait(self, poller: Any, wait: int) -> None:
        """Have the poller wake up when there is something to be done for what is waited for."""
        if self._channel is None or self._failed:
            super().wait(poller, wait)
        elif self._unsent or (wait == self.W_SEND and self._ready):
            poller.fd_wait(self.socket, ovs.poller.POLLOUT)
        elif wait == self.W_RECV and self._channel.has_read:
            poller.immediate_wake()
        else:
            poller.fd_wait(self.socket, ovs.poller.POLLIN)

    def close(self) -> None:
        """Hang up, and say so."""
        if self._ready and not self._failed and self._channel is not None:
            self._channel.close()
            try:
                self._flush()
            except OSError:
                pass  # It has gone, or does not read.
        super().close()

    def _flush(self) -> None:
        """Send what there is to send.

        Raises BlockingIOError where not all could be.
        """
        assert self._channel is not None
        self._unsent += self._channel.take()
        while self._unsent:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]

    def _fail(self, problem: OSError) -> int:
        """Take in that the connection failed, and return the errno to say so."""
        self._failed = problem.errno or errno.EPROTO
        if isinstance(problem, Refused):
            self.problem = self.problems[self.name] = Problem(str(problem))
            try:
                if self._channel is not None:
                    self._flush()  # The alert: the peer is told why.
            except OSError:
                pass
        return self._failed
