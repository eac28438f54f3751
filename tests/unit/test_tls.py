import contextlib
import errno
import socket
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from vtep_ryu.drivers.tls_stream import TlsStream
from vtep_ryu.tls import Channel, Files, Refused, Unusable

FOREVER = ("-startdate", "20200101000000Z", "-enddate", "20991231000000Z")
PAST = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
FUTURE = ("-startdate", "20980101000000Z", "-enddate", "20991231000000Z")
CONFIGURATION = """
[ca]
default_ca = it
[it]
database = {0}/index
new_certs_dir = {0}
rand_serial = yes
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
[extensions]
basicConstraints = CA:false
"""


def openssl(*argv):
    subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True, timeout=60)


class Authority:
    """A CA, and whom it has signed."""

    def __init__(self, directory):
        directory.mkdir()
        self.directory = directory
        (directory / "index").touch()
        (directory / "ca.cnf").write_text(CONFIGURATION.format(directory))
        self._certify("ca", "-x509", "-days", "3650", "-out", directory / "ca-cert.pem")

    def sign(self, name, when=FOREVER):
        """Files of somebody who trusts this CA alone."""
        key, request, certificate = (self.directory / f"{name}-{what}.pem" for what in ("key", "req", "cert"))
        ca = self.directory / "ca-cert.pem"
        self._certify(name, "-new", "-out", request)
        openssl(
            *("ca", "-config", self.directory / "ca.cnf", "-batch", "-extensions", "extensions", "-notext", *when),
            *("-cert", ca, "-keyfile", self.directory / "ca-key.pem", "-in", request, "-out", certificate),
        )
        return Files(str(key), str(certificate), str(ca))

    def _certify(self, name, *argv):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        key = self.directory / f"{name}-key.pem"
        openssl("req", *curve, "-nodes", "-subj", f"/CN={name}", "-keyout", key, *argv)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture(scope="module")
def server(ours):
    return ours.sign("server")


@pytest.fixture(scope="module")
def client(ours):
    return ours.sign("client")


def connect(server, client, turns=10):
    """Both ends after the handshake, and after what each had to say of it: nothing, or why it refuses."""
    ends = [Channel(server.context(True), True), Channel(client.context(False), False)]
    said = ["", ""]
    for _ in range(turns):
        for me, end in enumerate(ends):
            try:
                if not said[me] and end.shake_hands():
                    end.read(1)
            except Refused as refused:
                said[me] = str(refused)
            if data := end.take():
                ends[1 - me].put(data)
    return ends, said


def test_two_ends_that_trust_each_other_exchange_any_amount_of_data(server, client):
    (one, other), said = connect(server, client)
    assert said == ["", ""]
    sent = bytes(range(256)) * 4000
    for source, target in ((one, other), (other, one)):
        source.write(sent)
        target.put(source.take())
        received = b""
        while target.has_read:
            received += target.read(70000)
        assert received == sent
        assert target.read(1) is None


def test_a_stream_of_the_ovs_package_sends_and_receives_what_does_not_fit_into_the_socket_at_once(
    server, client, monkeypatch
):
    monkeypatch.setattr(TlsStream, "files", client)
    near, far = socket.socketpair()
    far.setblocking(False)
    near.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    stream, peer = TlsStream(near, "ssl:here", 0), Channel(server.context(True), True)
    text = "".join(f"{number} " for number in range(100_000))
    to_send, came, shaken, refusals = text, b"", False, 0

    def turn():
        nonlocal came, shaken
        with contextlib.suppress(BlockingIOError):
            peer.put(far.recv(1000))
        shaken = shaken or peer.shake_hands()
        while shaken and (data := peer.read(5000)):
            came += data
        far.sendall(peer.take())

    while to_send:
        sent = stream.send(to_send)
        if sent == -errno.EAGAIN:
            refusals += 1
            turn()
        else:
            assert sent > 0
            to_send = to_send[sent:]
    while len(came) < len(text):
        turn()
    assert came.decode() == text
    assert refusals > 10

    peer.write(b"x" * 50_000)
    sealed, received = peer.take(), b""
    for start in range(0, len(sealed), 700):
        far.sendall(sealed[start : start + 700])
        while (answer := stream.recv(4096))[0] == 0:
            received += answer[1]
        assert answer[0] == errno.EAGAIN
    assert received == b"x" * 50_000
    stream.close()
    peer.put(far.recv(1000))
    assert peer.read(1) == b""
    far.close()


def test_a_stream_that_was_refused_has_an_errno_and_says_why(server, theirs, monkeypatch):
    monkeypatch.setattr(TlsStream, "files", theirs.sign("other"))
    monkeypatch.setattr(TlsStream, "problems", {})
    near, far = socket.socketpair()
    near.setblocking(False)
    stream, peer = TlsStream(near, "ssl:here", 0), Channel(server.context(True), True)
    assert stream.connect() == errno.EAGAIN
    peer.put(far.recv(10000))
    assert not peer.shake_hands()
    far.sendall(peer.take())
    assert stream.connect() == errno.EPROTO
    assert stream.recv(1) == (errno.EPROTO, "")
    assert stream.send("x") == -errno.EPROTO
    assert stream.problem.text == "is refused: its certificate was signed by no CA that we trust"
    assert TlsStream.problems == {"ssl:here": stream.problem}
    peer.put(far.recv(10000))
    with pytest.raises(Refused, match=r"^does not accept our certificate: unknown ca$"):
        peer.shake_hands()
    stream.close()
    far.close()


@pytest.mark.parametrize("polite", [True, False])
def test_the_end_is_an_empty_read_with_or_without_a_goodbye(server, client, polite):
    (one, other), _ = connect(server, client)
    if polite:
        one.close()
        other.put(one.take())
    else:
        other.put(b"")
    assert other.read(1) == b""


def test_after_the_goodbye_what_the_peer_still_sends_is_decrypted(server, client):
    (one, other), _ = connect(server, client)
    other.write(b"on its way")
    one.close()
    one.put(other.take())
    assert one.read(100) == b"on its way"


def test_a_certificate_of_another_ca_is_refused_and_the_peer_is_told(server, theirs, ours):
    stranger = replace(theirs.sign("stranger"), ca_cert=server.ca_cert)
    _, said = connect(server, stranger)
    assert said == [
        "is refused: its certificate was signed by no CA that we trust",
        "does not accept our certificate: unknown ca",
    ]
    _, said = connect(stranger, ours.sign("anybody"))
    assert said == [
        "does not accept our certificate: unknown ca",
        "is refused: its certificate was signed by no CA that we trust",
    ]


@pytest.mark.parametrize(
    ("when", "text", "alert"),
    [
        (PAST, "has expired, or that of its CA", "certificate expired"),
        (FUTURE, "is not valid yet", "bad certificate"),
    ],
)
def test_a_certificate_is_refused_outside_of_its_time(ours, server, client, when, text, alert):
    untimely = ours.sign("untimely", when)
    _, said = connect(server, untimely)
    assert said == [f"is refused: its certificate {text}", f"does not accept our certificate: {alert}"]
    _, said = connect(untimely, client)
    assert said == [f"does not accept our certificate: {alert}", f"is refused: its certificate {text}"]


def test_a_client_without_a_certificate_is_refused(server, client):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(client.ca_cert)
    anonymous = type("Anonymous", (), {"context": staticmethod(lambda server_side: context)})
    _, said = connect(server, anonymous)
    assert said == ["is refused: it has no certificate", "does not accept our certificate: certificate required"]


@pytest.mark.parametrize("data", [b"\x04\x00\x00\x08\x00\x00\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b'{"method":"echo"}'])
def test_what_is_no_tls_is_refused(server, data):
    end = Channel(server.context(True), True)
    end.put(data)
    with pytest.raises(Refused, match=r"^is refused: it does not speak TLS$"):
        end.shake_hands()


def test_a_peer_may_hang_up(server):
    end = Channel(server.context(True), True)
    assert not end.shake_hands()
    end.put(b"")
    with pytest.raises(Refused, match=r"^has hung up during the TLS handshake$"):
        end.shake_hands()


def test_each_wrong_file_is_named_with_what_is_wrong(server, client, tmp_path):
    encrypted, text = tmp_path / "encrypted.pem", tmp_path / "text.pem"
    openssl("ec", "-in", server.private_key, "-aes256", "-passout", "pass:x", "-out", encrypted)
    text.write_text("nothing")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    for files, complaint in [
        (replace(server, private_key="/none"), "private key /none cannot be read: No such file or directory"),
        (replace(server, ca_cert=str(tmp_path)), f"CA certificate {tmp_path} cannot be read: Is a directory"),
        (replace(server, certificate=str(text)), f"certificate {text} is none: there is no such thing in the file"),
        (
            replace(server, private_key=client.private_key),
            f"private key {client.private_key} and certificate {server.certificate} do not belong together",
        ),
        (replace(server, private_key=str(encrypted)), f"private key {encrypted} is encrypted"),
        (replace(server, ca_cert=str(broken)), f"CA certificate {broken} cannot be used: "),
        (
            replace(server, certificate=str(broken)),
            f"private key {server.private_key} and certificate {broken} cannot be used: ",
        ),
    ]:
        with pytest.raises(Unusable) as error:
            files.context(True)
        assert str(error.value).startswith(complaint)


@pytest.mark.parametrize("mode", [0o644, 0o602])
def test_a_private_key_that_is_open_to_everybody_is_none(server, tmp_path, mode):
    key = tmp_path / "key.pem"
    key.write_bytes(Path(server.private_key).read_bytes())
    key.chmod(mode)
    files = replace(server, private_key=str(key))
    with pytest.raises(Unusable, match=rf"^private key {key} is open to everybody, with mode 0{mode:o}: "):
        files.context(True)
    key.chmod(0o640)
    files.context(True)
