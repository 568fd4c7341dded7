"""Certificates that lego obtains and renews: once, and a failure leaves all as it was before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpus.model.errors import CommandFailed, InvalidInput, NotFound
from corpus.node.certificates import acme, changes, store
from corpus.node.context import Node
from functional.certified import KEY_OF_API, Authority, Machine, add
from functional.certified import authority as authority
from functional.certified import machine as machine
from functional.certified import node as node
from unit.node import nodes


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
