"""The front in an environment of role proxy, on a real kernel: moved to, caged, away and back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import websocket
from corpus.hosts.container import Container
from corpus.lab import tenant
from fronts import PORT, PROXIED, Front
from fronts import front as front
from labs import lab as lab
from load import Load
from patience import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")


@pytest.fixture(scope="module")
def proxy(front: Front) -> Iterator[Container]:
    made = front.call("create", role="proxy", size="512M")
    yield Container(made["id"], front.node, tenant.LXCPATH)
    front.call("destroy", made["id"])
    assert front.call("facts")["front"] == "node"
    tables = front.node.run(["nft", "list", "tables"]).out
    assert "corpus0-front" not in tables


def _proxy_runs(host: Container) -> bool:
    argv = ["systemctl", "is-active", "--quiet", "corpus-proxy.service"]
    return host.run(argv, check=False).code == 0


def _away(front: Front) -> bool:
    """Whether the node's own proxy has the node's ports, which an environment should have."""
    return "dnat ip to" not in front.node.run(["nft", "list", "table", "inet", "corpus0-front"]).out


def _reaches(host: Container, address: str, port: int) -> bool:
    script = f"import socket; socket.create_connection(({address!r}, {port}), 1)"
    return host.run(["python3", "-c", script], check=False).code == 0


def test_the_front_moves_and_nothing_is_refused(front: Front, proxy: Container) -> None:
    """There and back under load, with websockets that stay; addresses of visitors are kept."""
    first = websocket.Http1(front.address, 443, "a.front.example")
    load = Load(front.lab.http_port, "a.front.example", rate=50).start()
    try:
        time.sleep(0.3)
        assert front.call("front_move", proxy.name) is True
        assert front.call("facts")["front"] == proxy.name
        second = websocket.Http2(front.address, 443, "a.front.example")
        assert second.echo(b"inside") == b"inside"
        shown = proxy.run(["ss", "-Htn", "state", "established", "sport", "=", ":443"]).out
        assert front.client in shown
        for tls in (False, True):
            got = json.loads(front.get("a.front.example", tls=tls)[1].lower())
            assert got["x-forwarded-for"] == front.client
        front.route("moved.front.example")  # by its running worker
        front.route("other.front.example", PROXIED, proxy_protocol=True)  # by a reload
        assert front.status("moved.front.example", tls=True) == 200
        assert front.get("other.front.example")[1].split()[1] == front.client
        front.call("maintenance", front.id, True)
        assert front.status("moved.front.example") == 503
        front.call("maintenance", front.id, False)
        assert front.call("front_move", "node") is True
        assert front.status("moved.front.example") == 200
        assert first.echo(b"first") == b"first"
        kept = proxy.run(["find", "/etc/corpus/proxy", "-mindepth", "1"]).out
        assert kept == ""
        assert second.echo(b"second") == b"second"
        assert front.call("front_move", proxy.name) is True  # while it ends
        assert front.status("moved.front.example", tls=True) == 200
        assert front.call("front_move", "node") is True
        assert second.echo(b"third") == b"third"
        first.close()
        second.close()
    finally:
        load.finish()
    assert [text for text in load.failures if "503" not in text] == []
    assert front.call("front_move", "node") is False
    wait_until(lambda: not _proxy_runs(proxy))


def test_a_proxy_reaches_what_is_routed_and_nothing_else(front: Front, proxy: Container) -> None:
    guest = Container(front.id, front.node, tenant.LXCPATH)
    address = front.call("inspect", front.id)["address"]
    own = front.call("inspect", proxy.name)["address"]
    assert _reaches(proxy, address, PORT)
    for place, port in ((address, 22), (address, 9), ("10.88.0.1", 80), ("10.88.0.1", 22),
                        (front.address, 22), (front.client, 22)):  # fmt: skip
        assert not _reaches(proxy, place, port), (place, port)
    assert not _reaches(guest, own, 22)
    front.call("front_move", proxy.name)
    assert _reaches(guest, "10.88.0.1", 80)
    assert not _reaches(guest, own, 22)
    stolen = "10.88.9.9"
    proxy.run(["ip", "address", "add", f"{stolen}/32", "dev", "eth0"])
    script = f"import socket; socket.create_connection(({address!r}, {PORT}), 1, ({stolen!r}, 0))"
    assert proxy.run(["python3", "-c", script], check=False).code != 0
    shown = proxy.run(["find", "/etc/corpus/proxy/certificates", "-type", "f", "-printf", "%m %U "])
    assert set(shown.out.split()) == {"600", "0"}


def test_one_that_hangs_or_goes_is_passed_over_and_had_back(front: Front, proxy: Container) -> None:
    """Its HAProxy stops where it is; then it powers itself off."""
    front.call("front_move", proxy.name)
    disk = Path(front.call("inspect", proxy.name)["rootfs"], "etc/corpus/proxy")
    assert front.node.run(["ls", "-A", str(disk)]).out == ""
    proxy.run(["pkill", "-STOP", "haproxy"])
    wait_until(lambda: _away(front))
    front.route("stand-in.front.example")
    assert front.status("stand-in.front.example", tls=True) == 200
    wait_until(lambda: not _away(front), 60)
    assert front.status("stand-in.front.example", tls=True) == 200
    proxy.run(["systemctl", "poweroff"], check=False)
    load = Load(front.lab.http_port, "a.front.example", rate=20).start()
    try:
        wait_until(lambda: front.call("inspect", proxy.name)["state"] != "running", 60)
        wait_until(lambda: not _away(front) and _proxy_runs(proxy), 60)
        time.sleep(0.5)
    finally:
        load.finish()
    print(f"{len(load.failures)} of {load.sent} requests failed")
    assert len(load.failures) < 20 * 6, load.failures
    said = front.node.run(["journalctl", "--no-pager", "-u", "corpus-front.service"]).out
    name = f"staging-{proxy.name[:8]}"
    assert said.count(f"instead of that in {name}: it does not answer") == 2
    assert said.count(f"the front is in {name} again") == 2
    front.call("front_move", "node")


def test_a_front_that_was_away_takes_what_has_changed(front: Front, proxy: Container) -> None:
    front.call("stop", proxy.name)
    front.route("away.front.example")
    assert front.status("away.front.example") == 200  # by the node, which has taken over
    front.call("start", proxy.name)
    assert front.status("away.front.example") == 200
    proxy.run(["systemctl", "reboot"], check=False)
    status = wait_until(lambda: front.status("away.front.example"), 60, despite=OSError)
    assert status == 200
    front.call("front_move", "node")
