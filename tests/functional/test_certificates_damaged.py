"""A damaged certificate, or record of one, is its own site's misfortune, and can be mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.node.certificates import acme, changes, store
from corpus.node.context import Node
from corpus.node.doctor import proxy
from corpus.node.environments import making
from corpus.node.proxy import routes, service
from functional.certified import Authority, Machine, add
from functional.certified import authority as authority
from functional.certified import machine as machine
from functional.certified import node as node
from unit.node import nodes


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
