"""The front on a real kernel: TLS, certificates, websockets, changes without a reload, neighbours.

The node is asked at its own address, as from the network. Its certificate authority and name
server (pebble, PowerDNS) run beside it, on the lab's own address of this machine.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import authorities
import websocket
from corpus.hosts.local import Local
from corpus.model.errors import CorpusError
from fronts import PORT, PROXIED, Front
from fronts import front as front
from labs import lab as lab
from load import Load

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

SETTINGS = "/etc/corpus/node.toml"


def test_https_is_there_without_any_certificate(front: Front) -> None:
    assert front.status("a.front.example", tls=True) == 200
    curl = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--resolve",
            f"a.front.example:443:{front.address}", "https://a.front.example/"]  # fmt: skip
    assert Local().run(curl).out == "2 200"
    old = ["openssl", "s_client", "-connect", f"{front.address}:443", "-tls1_1",
           "-cipher", "ALL:@SECLEVEL=0"]  # fmt: skip
    refused = Local().run(old, stdin="", check=False)
    assert refused.code != 0
    assert "alert protocol version" in refused.err


def test_what_a_visitor_says_of_itself_does_not_pass(front: Front) -> None:
    forged = {
        "X-Forwarded-For": "6.6.6.6", "X_Forwarded_For": "6.6.6.6", "Forwarded": "for=6.6.6.6",
        "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "evil.example", "X-Real-IP": "6.6.6.6",
    }  # fmt: skip
    for tls, scheme, port in ((False, "http", "80"), (True, "https", "443")):
        answer, text = front.get("a.front.example", tls=tls, **forged)
        assert answer.status == 200
        assert not {"6.6.6.6", "gopher", "evil.example"} & set(text.split('"'))
        got = {name.lower(): value for name, value in json.loads(text).items()}
        assert got["x-forwarded-for"] == front.client
        assert (got["x-forwarded-proto"], got["x-forwarded-port"]) == (scheme, port)
        assert got["x-forwarded-host"] == "a.front.example"


def test_https_as_the_route_says(front: Front) -> None:
    before = front.worker()
    front.route("r.front.example", https="redirect", hsts=86400)
    front.route("o.front.example", https="off")
    answer, _ = front.get("r.front.example", path="/x?y=1")
    assert (answer.status, answer.getheader("Location")) == (308, "https://r.front.example/x?y=1")
    assert answer.getheader("Strict-Transport-Security") is None
    answer, _ = front.get("r.front.example", tls=True)
    assert answer.getheader("Strict-Transport-Security") == "max-age=86400"
    assert front.status("o.front.example") == 200
    assert front.status("o.front.example", tls=True) == 404
    answer, _ = front.get("a.front.example", tls=True)
    assert (answer.status, answer.getheader("Strict-Transport-Security")) == (200, None)
    assert front.worker() == before


def test_of_wildcards_the_longest_leads(front: Front) -> None:
    front.route("*.w.front.example")
    front.route("*.deep.w.front.example", https="redirect")
    front.route("exact.deep.w.front.example")
    assert front.status("any.w.front.example") == 200
    assert front.status("two.labels.w.front.example") == 200
    assert front.status("any.deep.w.front.example") == 308
    assert front.status("exact.deep.w.front.example") == 200
    assert front.status("w.front.example") == 404
    assert front.status("anyw.front.example") == 404
    front.call("unroute", "*.deep.w.front.example")
    assert front.status("any.deep.w.front.example") == 200


def test_the_clients_address_comes_by_the_proxy_protocol(front: Front) -> None:
    front.route("p.front.example", PROXIED, proxy_protocol=True)
    signature, client = front.get("p.front.example", tls=True)[1].split()
    assert (signature, client) == ("0d0a0d0a000d0a515549540a", front.client)


def test_names_and_maintenance_change_at_once_and_nothing_is_dropped(front: Front) -> None:
    front.route("b.front.example")
    before = front.worker()
    load = Load(front.lab.http_port, "a.front.example", rate=50).start()
    try:
        time.sleep(0.3)
        for _ in range(2):
            front.route("c.front.example")
            assert front.status("c.front.example") == 200
            assert front.call("unroute", "c.front.example") is True
            assert front.status("c.front.example") == 404
    finally:
        load.finish()
    assert load.failures == []
    assert front.call("maintenance", front.id, True) is True
    for host, tls in (("a.front.example", False), ("b.front.example", True)):
        answer, text = front.get(host, tls=tls)
        assert (answer.status, answer.getheader("Retry-After")) == (503, "30")
        assert "Back in a moment" in text
    assert front.call("inspect", front.id)["maintenance"] is True
    assert front.call("maintenance", front.id, False) is True
    assert front.call("maintenance", front.id, False) is False
    assert front.status("a.front.example") == 200
    assert front.worker() == before


@pytest.mark.parametrize("kind", [websocket.Http1, websocket.Http2])
def test_a_websocket_outlives_reloads(front: Front, kind: Any) -> None:
    one = kind(front.address, 443, "a.front.example")
    try:
        assert one.status in ("101", "200")
        assert one.echo(b"before") == b"before"
        before = front.worker()
        front.route("new.front.example", 8000 + (kind is websocket.Http2), hold=1)
        front.call("unroute", "new.front.example")
        front.route("new.front.example", 8005, hold=1)
        assert front.worker() != before
        assert one.echo(b"after" * 1000) == b"after" * 1000
    finally:
        one.close()
        front.call("unroute", "new.front.example")


def test_a_certificate_by_hand_and_its_renewal(front: Front, tmp_path: Path) -> None:
    default = front.served("a.front.example")
    certificate, key = front.bring(tmp_path, "a.front.example")
    assert front.call("certificate_add", "a.front.example", certificate, key, test=True) == {
        "test": True, "changes": ["a.front.example is served with a certificate brought by hand"],
    }  # fmt: skip
    assert front.call("certificate_list") == []
    told = front.call("certificate_add", "a.front.example", certificate, key)
    assert (told["from"], told["days_left"]) == ("hand", 8)
    first = front.served("a.front.example")
    assert first != default
    assert front.served("b.front.example") == default
    line = websocket.Http1(front.address, 443, "a.front.example")
    before = front.worker()
    certificate, key = front.bring(tmp_path, "a.front.example")
    front.call("certificate_add", "a.front.example", certificate, key)
    assert front.served("a.front.example") not in (first, default)
    assert front.worker() == before
    assert line.echo(b"still") == b"still"
    line.close()
    other = front.bring(tmp_path, "b.front.example")
    with pytest.raises(CorpusError, match="the key is not the certificate's"):
        front.call("certificate_add", "a.front.example", certificate, other[1])
    shown = front.node.run(["find", "/etc/corpus/certificates", "/etc/corpus/proxy/certificates",
                            "-type", "f", "-printf", "%m %U\\n"]).out.split("\n")  # fmt: skip
    assert set(filter(None, shown)) == {"600 0"}
    assert front.call("certificate_remove", "a.front.example") is True
    assert front.served("a.front.example") == default


@pytest.fixture
def authority(front: Front, tmp_path: Path) -> Iterator[authorities.Authority]:
    """Have pebble and PowerDNS, and the node told of them; all is as before at the end."""
    node, address = front.node, front.client
    before = {name: node.get(Path(name)) for name in (SETTINGS, "/etc/hosts")}
    with authorities.running(tmp_path, address, front.address) as one:
        settings = {
            "domain": f"n.{authorities.ZONE}", "acme_email": "admin@example.org",
            "acme_directory": one.directory, "acme_ca": "/etc/corpus/pebble.pem",
            "acme_resolvers": [f"{address}:53"], "pdns_url": one.api,
        }  # fmt: skip
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        node.put(Path(SETTINGS), before[SETTINGS] + lines.encode())
        node.put(Path("/etc/hosts"), before["/etc/hosts"] + f"{address} ns.lab.test\n".encode())
        node.put(Path("/etc/corpus/pebble.pem"), one.ca.encode())
        node.put(Path("/etc/corpus/pdns.key"), authorities.KEY.encode(), 0o600)
        yield one
    for name, text in before.items():
        node.put(Path(name), text)
    node.run(["rm", "-r", "/etc/corpus/pebble.pem", "/etc/corpus/pdns.key",
              "/etc/corpus/certificates/_acme"])  # fmt: skip


def test_certificates_are_obtained_and_renewed(
    front: Front, authority: authorities.Authority
) -> None:
    """One name over HTTP, the node's wildcard over DNS by the unit that the timer starts."""
    host = f"a.{authorities.ZONE}"
    front.route(host, https="redirect")  # the challenge is not redirected
    told = front.call("certificate_obtain", host)
    assert (told["from"], told["names"]) == ("acme (http)", [host])
    trusted = authority.root()
    assert front.status(host, tls=True, trusted=trusted) == 200
    timers = front.node.run(["systemctl", "list-timers", "--no-legend"]).out
    assert "corpus-certificates.timer" in timers
    assert "corpus-weigh.timer" in timers
    front.node.run(["systemctl", "start", "corpus-certificates.service"])
    own = f"n.{authorities.ZONE}"
    found = {one["host"]: one for one in front.call("certificate_list")}
    assert found[own]["names"] == [own, f"*.{own}"]
    front.route(f"site.{own}")
    before, worker = front.served(f"site.{own}"), front.worker()
    assert front.status(f"site.{own}", tls=True, trusted=trusted) == 200
    assert front.call("certificate_renew", 100_000, test=True)["changes"] != []
    outcome = front.call("certificate_renew", 100_000)
    assert outcome == {host: "renewed", own: "renewed"}
    assert front.served(f"site.{own}") != before
    assert front.worker() == worker
    said = front.node.run(["journalctl", "--no-pager", "-u", "corpus-certificates.service"]).out
    assert authorities.KEY not in said


def test_neighbours_on_the_node_are_left_alone(front: Front) -> None:
    """Somebody else's HAProxy and tables of nft, across prepare, a reload and a boot."""
    node = front.node
    text = (
        "defaults\n timeout client 5s\n timeout server 5s\n timeout connect 1s\n"
        "frontend x\n mode http\n bind :8899\n http-request return status 200 "
        "content-type text/plain string neighbour\n"
    )
    node.put(Path("/root/haproxy.cfg"), text.encode())
    node.run(["systemd-run", "--quiet", "--collect", "--unit=neighbour", "haproxy", "-W", "-f",
              "/root/haproxy.cfg"])  # fmt: skip
    rules = "add table inet theirs; add chain inet theirs in { type filter hook input priority 5; }"
    node.run(["nft", f"{rules}; add rule inet theirs in tcp dport 9 counter drop"])
    try:
        table = node.run(["nft", "list", "table", "inet", "theirs"]).out
        pid = node.run(["systemctl", "show", "--property=MainPID", "neighbour"]).out
        front.call("prepare")
        front.route("n.front.example", 8009, hold=1)
        front.call("unroute", "n.front.example")
        front.call("boot")
        assert node.run(["nft", "list", "table", "inet", "theirs"]).out == table
        assert node.run(["systemctl", "show", "--property=MainPID", "neighbour"]).out == pid
        line = http.client.HTTPConnection(front.address, 8899, timeout=5)
        line.request("GET", "/")
        assert line.getresponse().read() == b"neighbour"
    finally:
        node.run(["systemctl", "stop", "neighbour"], check=False)
        node.run(["nft", "delete", "table", "inet", "theirs"], check=False)
        node.run(["rm", "/root/haproxy.cfg"])


def test_a_killed_change_is_done_by_the_next_call(front: Front) -> None:
    """Killed at several moments of a change; what the running proxy says is what counts."""
    code = (
        "from corpus.node.context import this_node; from corpus.node.proxy import routes;"
        "routes.route(this_node(), {id!r}, routes.parse_route('k.front.example', {port}))"
    )
    for number, (port, after) in enumerate([(PORT, 0.12), (PORT, 0.2), (8007, 0.2), (8007, 0.35)]):
        front.call("unroute", "k.front.example")
        argv = ["timeout", "--signal=KILL", str(after), "/opt/corpus/bin/python", "-c",
                code.format(id=front.id, port=port)]  # fmt: skip
        front.node.run(argv, check=False)
        if number % 2:
            front.call("unroute", "k.front.example")
            assert front.status("k.front.example") == 404
        else:
            front.route("k.front.example", PORT)
            assert front.status("k.front.example") == 200
    front.call("unroute", "k.front.example")
    front.call("doctor", mend=True)  # a file that was half-written is left to it
