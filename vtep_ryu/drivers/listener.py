"""Where switches connect: Ryu's listener, with a TLS of our own.

Ryu 4.34 serves the first connection by TLS and no other, for it takes what it needs out of its own arguments. One that
fails it shows as a traceback, and after its own shutdown() it would take what is still encrypted for OpenFlow. Who
sends what is no OpenFlow is a traceback too.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from typing import Any

from ryu.controller.controller import Datapath
from ryu.controller.handler import MAIN_DISPATCHER
from ryu.lib import hub

from vtep_ryu.drivers import wellformed
from vtep_ryu.drivers.intake import Intake
from vtep_ryu.tls import HUNG_UP, PIECE, Channel, Files, Refused, Unusable

LOG = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
FIRST_BYTE_SECONDS = 1.0
HELLO = re.compile(rb"[\x01-\x06](?:\x00.*)?", re.DOTALL)
"""How OpenFlow begins, in whichever version: with that, and OFPT_HELLO."""

TLS_HANDSHAKE = b"\x16"
"""The first byte of a TLS connection."""

MOST_REMEMBERED = 1000

WAITING = 4096
"""Connections that the kernel takes before we have looked at them. More of them are dropped, and both sides wait ever
longer: with eventlet's 50, of 100 switches that came at once the last was there after half a minute.
"""


class Listener(hub.StreamServer):  # type: ignore[misc]
    """Takes the arguments of Ryu's; with a key, a certificate and CA certificates it speaks TLS.

    Of these it does not need Ryu's function that serves a connection.
    """

    def __init__(
        self,
        address: tuple[str, int],
        _: Any,
        keyfile: str = "",
        certfile: str = "",
        ca_certs: str = "",
        **__: Any,
    ) -> None:
        super().__init__(address, self._take_secure if keyfile else self._take_plain)
        self.server.listen(WAITING)
        self._files = Files(keyfile, certfile, ca_certs)
        self._said: dict[str, str] = {}

    def serve_forever(self) -> None:
        """Take connections; when that fails, as it does without file descriptors, the port is seen to be closed."""
        try:
            super().serve_forever()
        finally:
            self.server.close()

    def _take_plain(self, plain: Any, address: Any) -> None:
        first = b""
        # Both sides begin at once (OpenFlow 1.3, section 6.3.1).
        with contextlib.suppress(OSError), hub.Timeout(FIRST_BYTE_SECONDS, False):
            first = plain.recv(2, socket.MSG_PEEK)
        if first and not HELLO.fullmatch(first):
            plain.close()
            is_tls = first.startswith(TLS_HANDSHAKE)
            speaks = "speaks TLS, which ctl_privkey, ctl_cert and ca_certs are for" if is_tls else "speaks no OpenFlow"
            self._say(address[0], f"is refused: it {speaks}")
            return
        self._serve(plain, address)

    def _take_secure(self, plain: Any, address: Any) -> None:
        host = address[0]
        try:
            connection = _Connection(plain, self._files)
        except OSError as error:
            plain.close()
            self._say(host, str(error) if isinstance(error, Refused) else HUNG_UP)
            return
        self._serve(connection, address)

    def _serve(self, connection: Any, address: Any) -> None:
        """Serve a connection until it ends. That a switch is gone which was there is not said here."""
        intake = Intake(connection)
        with contextlib.closing(Datapath(intake, address)) as datapath:
            try:
                datapath.serve()
            except Exception as error:
                LOG.debug("OpenFlow: %s", address[0], exc_info=True)
                what = error if isinstance(error, wellformed.Malformed) else f"what cannot be taken in ({error})"
                intake.why_ended = f"{address[0]} sends {what}"
                if datapath.state != MAIN_DISPATCHER:
                    self._say(address[0], f"is hung up on: it sends {what}")
                return
        self._said.pop(address[0], None)

    def _say(self, host: str, problem: str) -> None:
        """Log why a host is not connected, once for as long as it is so."""
        if self._said.get(host) != problem:
            if len(self._said) >= MOST_REMEMBERED:
                self._said.clear()
            self._said[host] = problem
            LOG.warning("OpenFlow: %s %s", host, problem)


class _Connection:
    """What an Intake uses of a socket, over TLS. One green thread receives, another sends."""

    def __init__(self, plain: Any, files: Files) -> None:
        """Shake hands.

        Raises OSError.
        """
        self._plain = plain
        self._turn = hub.Semaphore()
        self.setsockopt, self.settimeout, self.close = plain.setsockopt, plain.settimeout, plain.close
        try:
            with hub.Timeout(HANDSHAKE_SECONDS, Refused("is refused: it does not go on with the TLS handshake")):
                self._channel = Channel(files.context(server_side=True), server_side=True)
                while not self._channel.shake_hands():
                    self._flush()
                    self._channel.put(plain.recv(PIECE))
        except Unusable as error:
            raise Refused(f"cannot be served: {error}") from error
        except Refused:
            with contextlib.suppress(OSError):
                self._flush()  # The peer is told why.
            raise
        self._flush()

    def recv(self, size: int) -> bytes:
        """As a socket's."""
        while (data := self._channel.read(size)) is None:
            self._flush()
            self._channel.put(self._plain.recv(PIECE))
        return data

    def sendall(self, data: bytes) -> None:
        """As a socket's."""
        self._channel.write(data)
        self._flush()

    def shutdown(self, how: int) -> None:
        """As a socket's; what comes after it is still decrypted."""
        if not self._turn.locked():  # A switch that does not read would not hear the goodbye, and is not waited for.
            self._channel.close()
            self._flush()
        self._plain.shutdown(how)

    def _flush(self) -> None:
        """Send what is encrypted, in order: one thread at a time."""
        with self._turn:
            if data := self._channel.take():
                self._plain.sendall(data)
