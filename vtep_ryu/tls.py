"""TLS: the files that say who we are and whom we trust, and one end of a connection, without its socket.

Every connection reads the files anew. So those that are replaced are used from the next connection on, and no session
that an earlier one began can be resumed without a look at the peer's certificate.
"""

import os
import re
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

PIECE = 65536
"""The most bytes that are taken from a socket, or encrypted, in one go."""

_CERTIFICATE = re.compile(rb"-----BEGIN [A-Z0-9 ]*CERTIFICATE-----")
PRIVATE_KEY = "private key"
_CONTENTS = {PRIVATE_KEY: re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")}
_OUR_FAULT = re.compile(r"_ALERT_((?:\w+_)?CERTIFICATE(?:_\w+)?|UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR)$")
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNEXPECTED_MESSAGE")
HUNG_UP = "has hung up during the TLS handshake"
_SIGNED_BY_NOBODY = "was signed by no CA that we trust"
_NOT_ACCEPTED = {
    9: "is not valid yet",
    10: "has expired, or that of its CA",
    18: _SIGNED_BY_NOBODY,
    19: _SIGNED_BY_NOBODY,
    20: _SIGNED_BY_NOBODY,
    21: _SIGNED_BY_NOBODY,
}
"""What is wrong with a peer's certificate, by the numbers of openssl-verification-options(1)."""


class Unusable(Exception):
    """A file cannot be used; the text is one line that says which and why."""


class Refused(ConnectionError):
    """The two ends did not agree to talk; the text says what the peer did or lacks, as in "PEER is refused: ..."."""


@dataclass(frozen=True, slots=True)
class Files:
    """Our private key and certificate, and the CA certificates of which peers need one; all PEM."""

    private_key: str
    certificate: str
    ca_cert: str

    def context(self, server_side: bool) -> ssl.SSLContext:
        """What the files say now. The names in certificates do not matter: Open vSwitch has none of its hosts there.

        Raises Unusable.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for what, path in (
            (PRIVATE_KEY, self.private_key),
            ("certificate", self.certificate),
            ("CA certificate", self.ca_cert),
        ):
            _check(what, path)
        try:
            context.load_cert_chain(self.certificate, self.private_key, self._no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                why = "do not belong together"
            else:
                why = f"cannot be used: {_words(error.reason)}"
            raise Unusable(f"private key {self.private_key} and certificate {self.certificate} {why}") from error
        try:
            context.load_verify_locations(self.ca_cert)
        except ssl.SSLError as error:
            raise Unusable(f"CA certificate {self.ca_cert} cannot be used: {_words(error.reason)}") from error
        return context

    def _no_password(self) -> NoReturn:
        """There is nobody to type one."""
        raise Unusable(f"private key {self.private_key} is encrypted")


def _check(what: str, path: str) -> None:
    """See that the file can be read and has what it should have, which OpenSSL does not say in so many words.

    A key that everybody can read is none: whoever has it is let in by every switch and database. So it is not used, as
    by sshd, and not only said: the switches forward meanwhile, and the next connection finds it right.
    """
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
    except OSError as error:
        raise Unusable(f"{what} {path} cannot be read: {error.strerror}") from error
    if what == PRIVATE_KEY and mode & stat.S_IRWXO:
        raise Unusable(f"{what} {path} is open to everybody, with mode {mode:04o}: it needs chmod o=")
    if not _CONTENTS.get(what, _CERTIFICATE).search(content):
        raise Unusable(f"{what} {path} is none: there is no such thing in the file")


def _words(reason: str | None) -> str:
    return (reason or "no reason given").lower().replace("_", " ")


class Channel:
    """One end of a TLS connection: what came from the peer is put in, what is for the peer is taken out.

    It knows no socket, since neither at hand would do. eventlet changes the ssl module for the moment in which it makes
    one, which other threads see; the ovs package's takes readable for writable while it shakes hands.
    """

    def __init__(self, context: ssl.SSLContext, server_side: bool) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_side)

    def put(self, data: bytes) -> None:
        """Take in what came; b"" says that nothing more will."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def take(self) -> bytes:
        """What is to be sent now, if anything; also after an exception, for the peer is told why."""
        return self._out.read()

    def shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is over.

        Raises Refused.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise Refused(_explain(error)) from error
        return True

    def read(self, size: int) -> bytes | None:
        """At most so many bytes of what the peer has written, b"" at its end, None where more has to come first.

        Raises Refused: in TLS 1.3 a server says only here that it does not accept our certificate.
        """
        try:
            return self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise Refused(_explain(error)) from error

    def write(self, data: bytes) -> None:
        """Encrypt all of it.

        Raises Refused.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            raise Refused(_explain(error)) from error

    @property
    def has_read(self) -> bool:
        """Whether there is something to read that no socket tells of any more."""
        return bool(self._tls.pending() or self._in.pending)

    def close(self) -> None:
        """Say goodbye, which is then to be sent."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # It does not wait for the peer's.


def _explain(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _NOT_ACCEPTED.get(error.verify_code, f"is not accepted: {error.verify_message}")
        return f"is refused: its certificate {why}"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "is refused: it has no certificate"
    if reason in _NO_TLS:
        return "is refused: it does not speak TLS"
    if alert := _OUR_FAULT.search(reason):
        return f"does not accept our certificate: {_words(alert[1])}"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return HUNG_UP
    return f"is refused: {_words(error.reason)}"
