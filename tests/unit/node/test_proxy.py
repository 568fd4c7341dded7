"""Routes: the proxy's files follow the records, and a bad configuration never replaces a good."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from corpus.commands import haproxy
from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, Conflict, InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.environments import making
from corpus.node.network.doors import Door
from corpus.node.proxy import pages, routes, service
from corpus.node.proxy.config import _FORGED, config
from unit.node import nodes


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node, _ = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, wait=0)
    return node


def _text(node: Node, name: str) -> str:
    return nodes.front(node, name)


def test_a_route_is_a_line_of_the_map_and_a_backend(node: Node) -> None:
    routes.route(node, nodes.ID, routes.parse_route("A.example.", 8000, 30))
    assert _text(node, "hosts.map") == f"a.example {nodes.ID}-8000|both|0\n"
    config = _text(node, "haproxy.cfg")
    assert f"backend {nodes.ID}-8000\n    retries 600\n" in config
    assert "server guest 10.88.0.10:8000" in config


def test_names_share_a_backend_and_the_longest_hold_counts(node: Node) -> None:
    routes.route(node, nodes.ID, routes.parse_route("a.example", hold=30))
    routes.route(node, nodes.ID, routes.parse_route("b.example", hold=120))
    config = _text(node, "haproxy.cfg")
    assert config.count(f"\nbackend {nodes.ID}") == 1
    assert "retries 2400" in config
    assert "timeout client 180s" in config


def test_no_request_is_ever_sent_twice(node: Node) -> None:
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    lines = [line.strip() for line in _text(node, "haproxy.cfg").splitlines()]
    assert [line for line in lines if line.startswith("retry-on")] == ["retry-on conn-failure"]
    assert "http-reuse never" in lines
    assert "option http-server-close" in lines
    assert "no option redispatch" in lines


def test_the_same_route_again_reloads_nothing(node: Node) -> None:
    assert isinstance(node.host, Fake)
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    before = len(nodes.ran(node.host, "systemctl"))
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    assert len(nodes.ran(node.host, "systemctl")) == before
    assert routes.unroute(node, "a.example") == ["a.example leads no more to staging-11111111"]
    assert routes.unroute(node, "a.example") == []
    assert len(nodes.ran(node.host, "systemctl")) == before + 1


@pytest.mark.parametrize("word", ["haproxy", "systemctl"])
def test_a_route_that_the_proxy_refuses_is_taken_back(node: Node, word: str) -> None:
    assert isinstance(node.host, Fake)
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    before = (_text(node, "hosts.map"), _text(node, "haproxy.cfg"))
    node.host.prepare_failure(word, err="refused")
    with pytest.raises(CommandFailed):
        routes.route(node, nodes.ID, routes.parse_route("b.example", 8000))
    assert (_text(node, "hosts.map"), _text(node, "haproxy.cfg")) == before
    assert [route.host for route in node.records.get(nodes.ID).routes] == ["a.example"]


def test_a_name_that_leads_elsewhere_is_a_conflict(node: Node) -> None:
    making.create(node, id=nodes.OTHER, wait=0)
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    with pytest.raises(Conflict, match=nodes.ID):
        routes.route(node, nodes.OTHER, routes.parse_route("a.example"))
    with pytest.raises(NotFound):
        routes.route(node, "22222222-2222-4333-8444-555555555555", routes.parse_route("c.example"))


@pytest.mark.parametrize(
    ("host", "port", "hold"),
    [("-x", 80, 60), ("a\nb", 80, 60), ("a.example", 0, 60), ("a.example", 80, 601),
     ("a.example", "x", 60), ("ä.example", 80, 60), ("x" * 300, 80, 60)],
)  # fmt: skip
def test_bad_routes_are_refused(node: Node, host: str, port: int, hold: int) -> None:
    with pytest.raises(InvalidInput):
        routes.route(node, nodes.ID, routes.parse_route(host, port, hold))


def test_the_maintenance_page_is_a_whole_answer() -> None:
    head, body = pages.maintenance().split("\r\n\r\n", 1)
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    assert head.startswith("HTTP/1.1 503 ")
    assert fields["Retry-After"] == "30"
    assert int(fields["Content-Length"]) == len(body.encode())


def test_one_reader_of_a_door_keeps_no_other_out(node: Node) -> None:
    door = Door("staging", "10.88.0.9", 22001, ("10.88.0.10", "10.88.0.11"))
    text = config(node.settings, node.settings.proxy, (), [door])
    assert "maxconn 64\n" in text  # as many as all readers may have
    order = [
        text.index(line)
        for line in ("reject unless { src 10.88.0.10 10.88.0.11 }", "track-sc0 src",
                     "reject if { sc0_conn_cur gt 32 }")
    ]  # fmt: skip
    assert order == sorted(order)  # a stranger takes no line of the table


def reloads(node: Node) -> int:
    assert isinstance(node.host, Fake)
    return len(nodes.ran(node.host, "systemctl"))


def test_another_name_of_a_backend_takes_no_reload(node: Node) -> None:
    assert isinstance(node.host, Fake)
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    before = reloads(node)
    node.host.calls.clear()
    routes.route(node, nodes.ID, routes.parse_route("b.example", https="redirect", hsts=300))
    line = f"b.example {nodes.ID}-80|redirect|300\n"
    path = node.settings.proxy / "hosts.map"
    filled, committed = nodes.told(node.host)
    assert filled.startswith(f"add map @1 {path} <<\na.example ")
    assert filled.endswith(line)
    assert committed == f"commit map @1 {path}"
    assert _text(node, "hosts.map").endswith(line)
    routes.unroute(node, "b.example")
    assert _text(node, "hosts.map") == f"a.example {nodes.ID}-80|both|0\n"
    assert reloads(node) == 0
    assert before > 0


def test_what_a_killed_change_left_is_done_by_the_next(node: Node) -> None:
    """The proxy may have the old map though the file is new: what it took is told apart."""
    assert isinstance(node.host, Fake)
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    record = node.records.get(nodes.ID)
    node.records.save(record.changed(routes=(*record.routes, routes.parse_route("b.example"))))
    path = node.settings.proxy / "hosts.map"
    node.host.put(path, f"{_text(node, 'hosts.map')}b.example {nodes.ID}-80|both|0\n".encode())
    node.host.calls.clear()
    service.apply(node)
    assert "b.example" in nodes.told(node.host)[0]
    node.host.calls.clear()
    service.apply(node)
    assert nodes.told(node.host) == []


def test_a_proxy_with_another_configuration_is_reloaded(node: Node) -> None:
    assert isinstance(node.host, Fake)
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    before = reloads(node)
    node.host.prepare_failure("/run/corpus-proxy/admin.sock", err="refused")
    routes.route(node, nodes.ID, routes.parse_route("b.example"))
    assert reloads(node) == before + 1


def test_a_large_map_is_given_in_parts(node: Node) -> None:
    text = "".join(f"name-{number}.example target\n" for number in range(2000))
    parts = list(haproxy.fill_map(node.settings.proxy / "hosts.map", 3, text))
    assert len(parts) > 2
    assert max(map(len, parts)) < 16_000
    assert "".join(part.partition("<<\n")[2] for part in parts) == text


def test_of_wildcards_the_longest_counts_first(node: Node) -> None:
    for host in ("*.example.org", "*.very.long.example.org", "*.b.example.org"):
        routes.route(node, nodes.ID, routes.parse_route(host))
    keys = [line.split()[0] for line in _text(node, "wildcards.map").splitlines()]
    assert keys == [".very.long.example.org", ".b.example.org", ".example.org"]
    assert _text(node, "hosts.map") == ""


def test_maintenance_is_one_line_for_all_names_and_is_remembered(node: Node) -> None:
    assert isinstance(node.host, Fake)
    for host in ("a.example", "b.example"):
        routes.route(node, nodes.ID, routes.parse_route(host))
    before = reloads(node)
    assert routes.maintenance(node, nodes.ID, True, test=True) != []
    assert node.records.get(nodes.ID).maintenance is False
    assert routes.maintenance(node, nodes.ID, True) == [
        "staging-11111111 shows the maintenance page"
    ]
    assert _text(node, "maintenance.map") == f"{nodes.ID} on\n"
    assert node.records.get(nodes.ID).maintenance is True
    assert routes.maintenance(node, nodes.ID, True) == []
    routes.maintenance(node, nodes.ID, False)
    assert _text(node, "maintenance.map") == ""
    assert reloads(node) == before


def test_a_port_that_wants_the_clients_address_has_a_backend_of_its_own(node: Node) -> None:
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    routes.route(node, nodes.ID, routes.parse_route("b.example", proxy_protocol=True))
    text = _text(node, "haproxy.cfg")
    assert "server guest 10.88.0.10:80 maxconn 512\n" in text
    assert "server guest 10.88.0.10:80 maxconn 512 send-proxy-v2\n" in text
    assert f"b.example {nodes.ID}-80-proxied|both|0" in _text(node, "hosts.map")


def test_a_dry_run_says_what_changes_and_changes_nothing(node: Node) -> None:
    assert isinstance(node.host, Fake)
    making.create(node, id=nodes.OTHER, hosts=["o.example"], wait=0)
    node.host.calls.clear()
    files = dict(node.host.files)
    new = routes.parse_route("a.example", 8000)
    said = routes.route(node, nodes.ID, new, test=True)
    assert said == ["a.example leads to port 8000 of staging-11111111"]
    assert routes.unroute(node, "o.example", test=True) != []
    with pytest.raises(Conflict):
        routes.route(node, nodes.ID, routes.parse_route("o.example"), test=True)
    assert (node.host.files, node.host.calls) == (files, [])
    assert [route.host for route in node.records.get(nodes.OTHER).routes] == ["o.example"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"host": "*.org"}, "host name"),
        ({"host": "a.*.org"}, "host name"),
        ({"host": "a.example", "https": "maybe"}, "HTTPS"),
        ({"host": "a.example", "hsts": -1, "https": "redirect"}, "HSTS"),
        ({"host": "a.example", "hsts": 60}, "redirects"),
        ({"host": "a.example", "proxy_protocol": "yes"}, "proxy_protocol"),
    ],
)
def test_bad_options_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        routes.parse_route(**given)


def test_a_bare_off_of_the_command_line_is_meant() -> None:
    assert routes.parse_route("a.example", https=False).https == "off"


def test_what_is_no_host_name_leads_nowhere_by_a_wildcard(node: Node) -> None:
    service.apply(node)
    lines = _text(node, "haproxy.cfg").splitlines()
    refused = [n for n, line in enumerate(lines) if "status 404" in line and "-m reg" in line]
    assert lines[refused[0]].endswith("if { var(txn.host) -m reg [^a-z0-9._-] }")
    assert refused[0] < min(n for n, line in enumerate(lines) if ".map)" in line)


def test_nothing_that_a_client_says_of_itself_passes(node: Node) -> None:
    pattern = re.compile(_FORGED)
    for name in ("x-forwarded-for", "x-forwarded-server", "x_forwarded_for", "forwarded",
                 "x-real-ip", "proxy"):  # fmt: skip
        assert pattern.match(name), name
    for name in ("x-forward", "proxy-authorization", "authorization", "forwarded-by-me"):
        assert not pattern.match(name), name


def test_what_another_node_says_of_a_client_passes(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    alone = config(node.settings, node.settings.proxy, ())
    assert "src " not in alone
    text = config(node.settings, node.settings.proxy, (), (), ["192.0.2.2", "192.0.2.3"])
    peers = "{ var(sess.peer) -m bool }"
    led = "{ src 192.0.2.2 192.0.2.3 } { src_port 32768:65535 }"
    assert f"set-var(sess.peer) bool(true) if {led}" in text
    assert "bind :8403 accept-proxy" in text
    assert f"connection reject if {{ dst_port 8403 }} !{peers}" in text
    for header in ("del-header ^(x", "set-header X-Forwarded-Proto http unless", "%[dst_port]"):
        (line,) = [line for line in text.splitlines() if header in line]
        assert line.endswith(f" unless {peers}")
    (redirect,) = [line for line in text.splitlines() if "redirect code 308" in line]
    assert f"if !{{ ssl_fc }} !{peers}" in redirect
    assert "option forwardfor if-none" in text


@pytest.mark.parametrize(
    "spoil",
    [{"port": "80x"}, {"port": 0}, {"hold": None}, {"hold": True}, {"host": "a b"},
     {"https": "on\n"}],
)  # fmt: skip
def test_a_damaged_route_is_its_own_environments_misfortune(
    node: Node, spoil: dict[str, Any]
) -> None:
    making.create(node, id=nodes.OTHER, hosts=["b.example"], wait=0)
    path = node.settings.records / f"{nodes.OTHER}.json"
    record = nodes.record_json(node, nodes.OTHER)
    record["routes"] = [{**vars(routes.parse_route("b.example")), **spoil}]
    path.write_text(json.dumps(record))
    routes.route(node, nodes.ID, routes.parse_route("a.example"))
    assert _text(node, "hosts.map") == f"a.example {nodes.ID}-80|both|0\n"
    assert list(node.records.damaged()) == [nodes.OTHER]
