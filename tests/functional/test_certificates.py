"""Certificates brought by hand or left by lego, checked by the real openssl."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from corpus.commands import openssl
from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed, InvalidInput, NotFound
from corpus.node.certificates import acme, changes, store
from corpus.node.context import Node
from corpus.node.doctor import proxy
from corpus.node.environments import making
from corpus.node.proxy import routes, service
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
    return Authority(tmp_path / "authority")


@pytest.fixture
def machine(authority: Authority) -> Machine:
    return Machine(authority)


@pytest.fixture
def node(tmp_path: Path, machine: Machine) -> Node:
    settings = {"acme_email": "a@example.org", "pdns_url": "http://192.0.2.1:8081"}
    node, _ = nodes.make(tmp_path, machine, **settings, domain="n.example")
    node.settings.pdns_key.write_text(KEY_OF_API)
    node.settings.pdns_key.chmod(0o600)
    return node


def add(node: Node, host: str, issued: Issued) -> dict[str, object]:
    return changes.add(node, host, str(issued.certificate), str(issued.key))


def test_the_nodes_own_certificate_is_there_and_only_root_reads_it(node: Node) -> None:
    path = node.settings.certificates / "default.pem"
    assert len(openssl.blocks(path.read_text(), "PRIVATE KEY")) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert node.settings.certificates.stat().st_mode & 0o777 == 0o700


def test_one_brought_by_hand_is_served_and_listed(node: Node, authority: Authority) -> None:
    told = add(node, "A.example", authority.issue("a.example", "b.example"))
    assert (told["host"], told["names"]) == ("a.example", ["a.example", "b.example"])
    assert (told["from"], told["issuer"], told["days_left"]) == ("hand", "CN=middle", 29)
    assert changes.listed(node) == [told]
    assert isinstance(node.host, Fake)
    path = str(node.settings.proxy / "certificates/a.example.pem")
    assert node.host.modes[path] == 0o600
    assert nodes.front(node, "certificates.list").splitlines() == [
        str(node.settings.proxy / "certificates/_default.pem"), path
    ]  # fmt: skip
    assert changes.remove(node, "a.example") is True
    assert changes.remove(node, "a.example") is False
    assert changes.listed(node) == []
    assert "a.example" not in nodes.front(node, "certificates.list")


def test_a_renewed_one_takes_no_reload(node: Node, authority: Authority) -> None:
    add(node, "a.example", authority.issue("a.example"))
    assert isinstance(node.host, Fake)
    node.host.calls.clear()
    again = authority.issue("a.example", days=60)
    add(node, "a.example", again)
    assert nodes.ran(node.host, "systemctl") == []
    told = nodes.told(node.host)
    assert [one.split()[0] for one in told] == ["set", "commit"]
    assert openssl.blocks(told[0], "CERTIFICATE") == openssl.blocks(again.chain, "CERTIFICATE")


def test_what_does_not_fit_is_refused_and_named(node: Node, authority: Authority) -> None:
    good = authority.issue("a.example")
    folder = authority.folder
    other = authority.issue("other.example")
    reversed_chain = folder / "reversed"
    leaf, middle = openssl.blocks(good.chain, "CERTIFICATE")
    root = (folder / "root.crt").read_text()
    reversed_chain.write_text("\n".join([leaf, root, middle]))
    locked = folder / "locked.key"
    Local().run(["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", str(good.key),
                 "-out", str(locked)])  # fmt: skip
    for host, issued, message in (
        ("a.example", replace(good, key=other.key), "the key is not the certificate's"),
        ("b.example", good, "is for a.example, not for b.example"),
        ("a.example", replace(good, certificate=reversed_chain), "out of order"),
        ("a.example", replace(good, key=locked), "not a private key"),
        ("a.example", replace(good, certificate=good.key), "no certificate"),
    ):
        with pytest.raises(InvalidInput, match=message):
            add(node, host, issued)
    with pytest.raises(NotFound):
        changes.add(node, "a.example", "relative.pem", str(good.key))
    assert changes.listed(node) == []


def test_an_expired_one_is_refused(node: Node, authority: Authority) -> None:
    with pytest.raises(InvalidInput, match=r"is valid from .* to"):
        add(node, "a.example", authority.issue("a.example", days=0))


def test_a_wildcard_covers_one_label(node: Node, authority: Authority) -> None:
    wild = authority.issue("*.w.example")
    add(node, "www.w.example", wild)
    add(node, "*.w.example", wild)
    with pytest.raises(InvalidInput, match=r"not for a\.b\.w\.example"):
        add(node, "a.b.w.example", wild)


def test_one_is_obtained_over_http_once(node: Node, machine: Machine) -> None:
    told = acme.obtain(node, "a.example")
    assert (told["from"], told["days_left"]) == ("acme (http)", 89)
    assert nodes.front(node, "challenges.map") == "a.example acme|both|0\n"
    words = machine.lego[0].argv
    assert words[-4:] == ("--http", "--http.port", "10.88.0.1:8402", "run")
    acme.obtain(node, "a.example")
    assert len(machine.lego) == 1
    assert acme.renew(node, 30) == {"n.example": "renewed"}
    assert acme.renew(node, 100)["a.example"] == "renewed"


def test_the_nodes_wildcard_is_obtained_over_dns_and_the_key_is_no_argument(
    node: Node, machine: Machine
) -> None:
    assert acme.renew(node, test=True) == {"test": True, "changes": ["n.example is renewed"]}
    assert machine.lego == []
    assert acme.renew(node) == {"n.example": "renewed"}
    told = changes.listed(node)[0]
    assert (told["names"], told["from"]) == (["n.example", "*.n.example"], "acme (dns)")
    command = machine.lego[0]
    assert KEY_OF_API not in " ".join(command.argv)
    assert command.env["PDNS_API_KEY"] == KEY_OF_API
    assert "--dns" in command.argv
    assert acme.renew(node) == {}


def test_a_failure_leaves_everything_as_before(
    node: Node, machine: Machine, authority: Authority
) -> None:
    machine.prepare_failure("lego", err="the authority says no")
    with pytest.raises(CommandFailed, match="says no"):
        acme.obtain(node, "a.example")
    assert changes.listed(node) == []
    assert nodes.front(node, "challenges.map") == ""
    by_hand = add(node, "a.example", authority.issue("a.example"))
    machine.prepare_failure("lego")
    with pytest.raises(CommandFailed):
        acme.obtain(node, "a.example")
    assert changes.listed(node) == [by_hand]


def test_what_lego_left_before_a_kill_is_used(node: Node, machine: Machine) -> None:
    acme.obtain(node, "a.example")
    source = store.find(node.settings, "a.example")
    assert source is not None
    store.pem_path(node.settings, source).unlink()  # killed before it was put in place
    assert acme.obtain(node, "a.example")["days_left"] == 89
    assert len(machine.lego) == 1


def test_one_that_fails_does_not_keep_the_others(node: Node, machine: Machine) -> None:
    for host in ("a.example", "b.example"):
        acme.obtain(node, host)
    machine.prepare_failure("a.example")
    outcome = acme.renew(node, 100)
    assert outcome["a.example"].startswith("failed")
    assert outcome["b.example"] == outcome["n.example"] == "renewed"


def test_what_settings_lack_is_named(node: Node) -> None:
    with pytest.raises(InvalidInput, match="no wildcard"):
        acme.obtain(node, "*.a.example")
    node.settings.pdns_key.chmod(0o644)
    with pytest.raises(InvalidInput, match="others may read"):
        acme.obtain(node, "a.example", "dns")
    node.settings.pdns_key.unlink()
    with pytest.raises(NotFound, match="no key"):
        acme.obtain(node, "a.example", "dns")
    without = Node(replace(node.settings, acme_email=""), node.host)
    with pytest.raises(InvalidInput, match="acme_email"):
        acme.obtain(without, "a.example")


def test_one_that_the_front_refuses_leaves_everything_as_before(
    node: Node, machine: Machine, authority: Authority
) -> None:
    by_hand = add(node, "a.example", authority.issue("a.example"))
    machine.prepare_failure("haproxy", err="ee key too small")
    with pytest.raises(CommandFailed, match="too small"):
        add(node, "b.example", authority.issue("b.example"))
    assert changes.listed(node) == [by_hand]
    machine.prepare_failure("haproxy", err="ee key too small")
    with pytest.raises(CommandFailed, match="too small"):
        acme.obtain(node, "b.example")
    assert changes.listed(node) == [by_hand]
    assert "b.example" not in nodes.front(node, "certificates.list")


def test_one_whose_removal_was_killed_can_be_added_again(node: Node, authority: Authority) -> None:
    issued = authority.issue("a.example")
    add(node, "a.example", issued)
    source = store.find(node.settings, "a.example")
    assert source is not None
    store.pem_path(node.settings, source).unlink()  # killed there
    assert add(node, "a.example", issued)["days_left"] is not None


def test_one_for_the_nodes_own_name_that_was_brought_by_hand_stays(
    node: Node, machine: Machine, authority: Authority
) -> None:
    by_hand = add(node, "n.example", authority.issue("n.example"))
    assert acme.renew(node, test=True) == {"test": True, "changes": []}
    assert acme.renew(node) == {}
    assert changes.listed(node) == [by_hand]
    assert machine.lego == []


def test_the_nodes_own_name_may_be_written_in_capitals(node: Node, machine: Machine) -> None:
    loud = Node(replace(node.settings, domain="N.Example"), node.host)
    assert acme.renew(loud) == {"n.example": "renewed"}
    assert acme.renew(loud) == {}
    assert len(machine.lego) == 1


def spoil(node: Node, host: str, name: str, text: str) -> Path:
    path = node.settings.certificates / host / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", "", '{"host": "b.example", "names": ["b.example"], "challenge": ""}',
     '{"host": "a.example", "names": ["a.example"], "challenge": "b\\nc"}',
     '{"host": "a.example", "names": [3], "challenge": ""}'],
)  # fmt: skip
def test_a_damaged_record_is_its_own_sites_misfortune(
    node: Node, machine: Machine, authority: Authority, text: str
) -> None:
    making.create(node, id=nodes.ID, wait=0)
    add(node, "a.example", authority.issue("a.example"))
    path = spoil(node, "a.example", "source.json", text)
    routes.route(node, nodes.ID, routes.parse_route("c.example"))
    told = add(node, "b.example", authority.issue("b.example"))
    assert changes.listed(node) == [told]
    assert nodes.front(node, "certificates.list").count("example.pem") == 2  # it is served
    found = [one for one in proxy.certificates(node) if one.where == str(path)]
    assert [one.state for one in found] == ["bad"]
    assert "corpus_node.certificate_add" in found[0].mend
    outcome = acme.renew(node)
    assert outcome["n.example"] == "renewed"
    assert outcome["a.example"].startswith("failed: a certificate's record is damaged")
    assert add(node, "a.example", authority.issue("a.example"))["names"] == ["a.example"]
    assert path not in store.damaged(node.settings)
    path.write_text(text)
    assert changes.remove(node, "a.example") is True
    assert not path.parent.exists()
    assert "a.example" not in nodes.front(node, "certificates.list")


def test_a_damaged_certificate_is_as_one_that_is_not_there(
    node: Node, machine: Machine, authority: Authority
) -> None:
    acme.obtain(node, "a.example")
    add(node, "b.example", authority.issue("b.example"))
    for host in ("a.example", "b.example"):
        whole = (node.settings.certificates / host / "certificate.pem").read_text()
        spoil(node, host, "certificate.pem", whole[:300])
    assert {path.parent.name for path in store.damaged(node.settings)} == {"a.example", "b.example"}
    told = {one["host"]: one["days_left"] for one in changes.listed(node)}
    assert told == {"a.example": None, "b.example": None}
    service.apply(node)
    assert "example.pem" not in nodes.front(node, "certificates.list")
    found = [one for one in proxy.certificates(node) if "certificate.pem" in one.where]
    assert len(found) == 2
    assert acme.renew(node)["a.example"] == "renewed"
    assert "a.example.pem" in nodes.front(node, "certificates.list")


def test_one_of_the_nodes_own_that_is_damaged_is_made_anew(node: Node) -> None:
    path = node.settings.certificates / "default.pem"
    path.write_text("")
    assert next(one.where for one in proxy.certificates(node)) == str(path)
    service.apply(node)
    assert store.whole(path)


def test_a_damaged_one_for_the_nodes_own_name_is_left_to_a_person(
    node: Node, machine: Machine, authority: Authority
) -> None:
    add(node, "n.example", authority.issue("n.example"))
    spoil(node, "n.example", "source.json", "{")
    assert acme.renew(node).keys() == {"n.example"}
    assert machine.lego == []
