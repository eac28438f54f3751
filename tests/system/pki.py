"""A public key infrastructure made by ovs-pki(8), certificates that it would not make, and a machine that uses it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from apps.lab import Host, Lab, Node
from apps.lab.namespace import run

PASSIVE = "pssl:6640:127.0.0.1"
REMOTE = "ssl:127.0.0.1:6640"
"""Where both databases are."""

LONG_AGO = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")


@dataclass(frozen=True)
class Identity:
    """Somebody's private key and certificate, and the CA certificate by which others know them."""

    private_key: Path
    certificate: Path
    ca_cert: Path

    def copy(self) -> "Identity":
        """The same in files of its own."""
        pairs = ((file, file.with_suffix(".copy")) for file in (self.private_key, self.certificate))
        key, certificate = (Path(shutil.copy(*pair)) for pair in pairs)
        return Identity(key, certificate, self.ca_cert)

    def replace_by(self, other: "Identity") -> None:
        """Put another's certificate and key into our files.

        Open vSwitch looks at the key first: when that is new and the certificate is not yet, it never reads either.
        """
        for old, new in ((self.certificate, other.certificate), (self.private_key, other.private_key)):
            Path(shutil.copy(new, old.with_suffix(".new"))).replace(old)


class Pki:
    """One with CAs of its own, for switches and for controllers."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._ovs_pki("init")

    def identity(self, name: str, kind: str, expired: bool = False) -> Identity:
        """A key and a certificate; kind is "switch" or "controller"."""
        key, request, certificate = (self._directory / f"{name}-{what}.pem" for what in ("privkey", "req", "cert"))
        self._ovs_pki("req", name)
        if expired:
            ca = f"cd {self._directory}/pki/{kind}ca && exec openssl ca -config ca.cnf -extensions usr_cert -batch"
            run("sh", "-c", f"{ca} {' '.join(LONG_AGO)} -in {request} -out {certificate}")
        else:
            self._ovs_pki("--batch", "sign", name, kind)
        return Identity(key, certificate, self.ca_cert(kind))

    def ca_cert(self, kind: str) -> Path:
        """By what those of this kind are known."""
        return self._directory / f"pki/{kind}ca/cacert.pem"

    def _ovs_pki(self, *argv: str) -> None:
        directory = self._directory
        run("sh", "-c", f"cd {directory} && exec ovs-pki --dir={directory}/pki --unique {' '.join(argv)}")


class Machine:
    """A machine whose daemons and program talk by TLS alone, each with files that a test can replace."""

    def __init__(self, lab: Lab, node: Node, pki: Pki) -> None:
        self.node = node
        self.lab = lab
        self.hosts: list[Host] = []
        self.began = 0
        self.peer = lab.peer("peer", "10.2.2.9/24")
        self.server, self.switch = (pki.identity(name, "switch") for name in ("server", "switch"))
        self.program, self.controller = (pki.identity(name, "controller") for name in ("program", "controller"))
        self.switch_ca, self.controller_ca = pki.ca_cert("switch"), pki.ca_cert("controller")

    def start(self) -> None:
        """Start Open vSwitch with a br0 whose Physical_Switch row is there."""
        node = self.node
        node.create_databases()
        self.start_ovsdb()
        node.start_vswitchd()
        node.add_bridge()
        self.lab.join(node, "10.2.2.1/24")
        node.vsctl("set-ssl", *map(str, (self.switch.private_key, self.switch.certificate, self.controller_ca)))
        node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", f"tunnel_ips={node.underlay_ip}")

    def start_ovsdb(self) -> None:
        """Start ovsdb-server alone."""
        self.node.start_ovsdb(remotes=(PASSIVE,), options=tls_options(self.server, self.controller_ca))

    def log(self) -> str:
        """What the program has said since the test began."""
        return self.node.app.log()[self.began :]

    def said(self, who: str) -> list[str]:
        """What it has said of somebody with whom there is no TLS."""
        return [line.removeprefix(f"{who} ") for line in self.log().splitlines() if line.startswith(f"{who} ")]

    def wait_said(self, text: str) -> None:
        """Wait until it has said this."""
        self.node.wait_until(lambda: text in self.log(), 20, f"{text!r} in the log")

    def options(self) -> tuple[str, ...]:
        """The program's command line."""
        return (
            *(f"--vtep-{name}-remotes={REMOTE}" for name in ("hardware-vtep", "open-vswitch")),
            *(option.replace("--", "--vtep-") for option in tls_options(self.program, self.switch_ca)),
            *(f"--ctl-privkey={self.controller.private_key}", f"--ctl-cert={self.controller.certificate}"),
            f"--ca-certs={self.switch_ca}",
        )


def tls_options(identity: Identity, ca_cert: Path) -> tuple[str, ...]:
    """The options of Open vSwitch's programs: who somebody is, and whom they trust."""
    files = (f"--private-key={identity.private_key}", f"--certificate={identity.certificate}")
    return (*files, f"--ca-cert={ca_cert}")
