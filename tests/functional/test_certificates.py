"""Certificates brought by hand: checked by the real openssl, and served as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpus.commands import openssl
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed, InvalidInput, NotFound
from corpus.node.certificates import acme, changes, store
from corpus.node.context import Node
from functional.certified import Authority, Machine, add
from functional.certified import authority as authority
from functional.certified import machine as machine
from functional.certified import node as node
from unit.node import nodes


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
