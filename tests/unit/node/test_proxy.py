"""Routes: the proxy's files follow the records, and a bad configuration never replaces a good."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, Conflict, InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.environments import making
from corpus.node.network.doors import Door
from corpus.node.proxy import pages, routes
from corpus.node.proxy.config import config
from unit.node import nodes


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node, _ = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, wait=0)
    return node


def _text(node: Node, name: str) -> str:
    return (node.settings.proxy / name).read_text()


def test_a_route_is_a_line_of_the_map_and_a_backend(node: Node) -> None:
    routes.route(node, nodes.ID, "A.example.", 8000, 30)
    assert _text(node, "hosts.map") == f"a.example {nodes.ID}-8000\n"
    config = _text(node, "haproxy.cfg")
    assert f"backend {nodes.ID}-8000\n    retries 600\n" in config
    assert "server guest 10.88.0.10:8000" in config


def test_names_share_a_backend_and_the_longest_hold_counts(node: Node) -> None:
    routes.route(node, nodes.ID, "a.example", hold=30)
    routes.route(node, nodes.ID, "b.example", hold=120)
    config = _text(node, "haproxy.cfg")
    assert config.count("\nbackend ") == 1
    assert "retries 2400" in config
    assert "timeout client 180s" in config


def test_no_request_is_ever_sent_twice(node: Node) -> None:
    routes.route(node, nodes.ID, "a.example")
    lines = [line.strip() for line in _text(node, "haproxy.cfg").splitlines()]
    assert [line for line in lines if line.startswith("retry-on")] == ["retry-on conn-failure"]
    assert "http-reuse never" in lines
    assert "option http-server-close" in lines
    assert "no option redispatch" in lines


def test_the_same_route_again_reloads_nothing(node: Node) -> None:
    assert isinstance(node.host, Fake)
    routes.route(node, nodes.ID, "a.example")
    before = len(nodes.ran(node.host, "systemctl"))
    routes.route(node, nodes.ID, "a.example")
    assert len(nodes.ran(node.host, "systemctl")) == before
    assert routes.unroute(node, "a.example") is True
    assert routes.unroute(node, "a.example") is False
    assert len(nodes.ran(node.host, "systemctl")) == before + 1


@pytest.mark.parametrize("word", ["haproxy", "systemctl"])
def test_a_route_that_the_proxy_refuses_is_taken_back(node: Node, word: str) -> None:
    assert isinstance(node.host, Fake)
    routes.route(node, nodes.ID, "a.example")
    before = (_text(node, "hosts.map"), _text(node, "haproxy.cfg"))
    node.host.prepare_failure(word, err="refused")
    with pytest.raises(CommandFailed):
        routes.route(node, nodes.ID, "b.example")
    assert (_text(node, "hosts.map"), _text(node, "haproxy.cfg")) == before
    assert [route.host for route in node.records.get(nodes.ID).routes] == ["a.example"]


def test_a_name_that_leads_elsewhere_is_a_conflict(node: Node) -> None:
    making.create(node, id=nodes.OTHER, wait=0)
    routes.route(node, nodes.ID, "a.example")
    with pytest.raises(Conflict, match=nodes.ID):
        routes.route(node, nodes.OTHER, "a.example")
    with pytest.raises(NotFound):
        routes.route(node, "22222222-2222-4333-8444-555555555555", "c.example")


@pytest.mark.parametrize(
    ("host", "port", "hold"),
    [("-x", 80, 60), ("a\nb", 80, 60), ("a.example", 0, 60), ("a.example", 80, 601),
     ("a.example", "x", 60), ("ä.example", 80, 60), ("x" * 300, 80, 60)],
)  # fmt: skip
def test_bad_routes_are_refused(node: Node, host: str, port: int, hold: int) -> None:
    with pytest.raises(InvalidInput):
        routes.route(node, nodes.ID, host, port, hold)


def test_the_maintenance_page_is_a_whole_answer() -> None:
    head, body = pages.maintenance().split("\r\n\r\n", 1)
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    assert head.startswith("HTTP/1.1 503 ")
    assert fields["Retry-After"] == "30"
    assert int(fields["Content-Length"]) == len(body.encode())


def test_one_reader_of_a_door_keeps_no_other_out(node: Node) -> None:
    door = Door("staging", "10.88.0.9", 22001, ("10.88.0.10", "10.88.0.11"))
    text = config(node.settings, (), [door])
    assert "maxconn 64\n" in text  # as many as all readers may have
    order = [
        text.index(line)
        for line in ("reject unless { src 10.88.0.10 10.88.0.11 }", "track-sc0 src",
                     "reject if { sc0_conn_cur gt 32 }")
    ]  # fmt: skip
    assert order == sorted(order)  # a stranger takes no line of the table
