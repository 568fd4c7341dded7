"""An authority that issues certificates, and a node that is given them; openssl is the real one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.node.certificates import changes
from corpus.node.context import Node
from unit.node import nodes

KEY_OF_API = "s3cr3t-of-the-api"


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, and the chain above it."""

    certificate: Path
    key: Path
    chain: str


class Authority:
    """A root, and an intermediate that signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run = Local().run
        folder.mkdir()
        self._request("root", "/CN=root", "-x509", "-days", "30")
        self._sign("middle", "/CN=middle", "root", "basicConstraints=critical,CA:TRUE")

    def _request(self, name: str, subject: str, *more: str) -> None:
        out = self.folder / f"{name}.{'crt' if '-x509' in more else 'csr'}"
        self._run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                   "-nodes", "-keyout", str(self.folder / f"{name}.key"), "-subj", subject,
                   "-out", str(out), *more])  # fmt: skip

    def _sign(self, name: str, subject: str, by: str, extension: str, days: int = 30) -> None:
        self._request(name, subject)
        (self.folder / "ext").write_text(extension + "\n")
        self._run(["openssl", "x509", "-req", "-in", str(self.folder / f"{name}.csr"),
                   "-CA", str(self.folder / f"{by}.crt"), "-CAkey", str(self.folder / f"{by}.key"),
                   "-CAcreateserial", "-days", str(days), "-extfile", str(self.folder / "ext"),
                   "-out", str(self.folder / f"{name}.crt")])  # fmt: skip

    def issue(self, *hosts: str, days: int = 30) -> Issued:
        stem = hosts[0].replace("*", "_")
        names = ",".join(f"DNS:{host}" for host in hosts)
        self._sign(stem, "/CN=server", "middle", f"subjectAltName={names}", days)
        leaf = (self.folder / f"{stem}.crt").read_text()
        middle = (self.folder / "middle.crt").read_text()
        chain = self.folder / f"{stem}.chain"
        chain.write_text(leaf + middle)
        return Issued(chain, self.folder / f"{stem}.key", leaf + middle)


class Machine(Fake):
    """Commands are pretended but for openssl; lego issues what the authority signs."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self.authority = authority
        self.days = 90
        self.lego: list[Command] = []

    def execute(self, command: Command) -> Result:
        if command.argv[0] == "openssl":
            return Local().execute(command)
        if command.argv[0] == "lego":
            self.lego.append(command)
            words = command.argv
            failed = super().execute(command)
            if failed.code:
                return failed
            hosts = [words[n + 1] for n, word in enumerate(words) if word == "--domains"]
            made = self.authority.issue(*hosts, days=self.days)
            folder = Path(words[words.index("--path") + 1]) / "certificates"
            folder.mkdir(exist_ok=True)
            stem = hosts[0].replace("*", "_")
            (folder / f"{stem}.crt").write_text(made.chain)
            (folder / f"{stem}.key").write_bytes(made.key.read_bytes())
        return super().execute(command)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority of its own."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def machine(authority: Authority) -> Machine:
    """Return the machine of the node."""
    return Machine(authority)


@pytest.fixture
def node(tmp_path: Path, machine: Machine) -> Node:
    """Return a node that has a domain, and the key of an API to change its zone with."""
    settings = {"acme_email": "a@example.org", "pdns_url": "http://192.0.2.1:8081"}
    node, _ = nodes.make(tmp_path, machine, **settings, domain="n.example")
    node.settings.pdns_key.write_text(KEY_OF_API)
    node.settings.pdns_key.chmod(0o600)
    return node


def add(node: Node, host: str, issued: Issued) -> dict[str, object]:
    """Bring a certificate by hand."""
    return changes.add(node, host, str(issued.certificate), str(issued.key))
