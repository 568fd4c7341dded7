"""Environments move between the nodes of a cluster while they are used."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import Any

import pytest

from corpus.hosts.base import Host
from corpus.hosts.container import Container
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.lab.tenant import IMAGES, LXCPATH, Environment
from corpus.model.errors import CorpusError
from labs import cluster as cluster
from labs import lab as lab
from load import Load
from moving import LOOK, OPENED, PROXIED, SERVICE, SHAPES, TELLER, UNIT
from patience import wait_until as until
from sites import prepared as prepared
from sites import prepared_cluster as prepared_cluster

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

HOST = "moving.localhost"
PORT = 8000


def call(node: Host, function: str, *args: Any, **kwargs: Any) -> Any:
    """Return what a function of the node returns."""
    return salt.call(node, f"corpus_node.{function}", *args, **kwargs)


def link(lab: Lab, one: int, other: int) -> None:
    """Have two nodes know each other."""
    for here, there in ((one, other), (other, one)):
        identity = call(lab.node(there), "peer_identity")
        call(lab.node(here), "peer_add", f"node{there}", peer=json.dumps(identity))


@pytest.fixture(scope="module")
def linked(prepared_cluster: Lab) -> Iterator[Lab]:
    """Return the cluster, whose nodes know each other."""
    link(prepared_cluster, 1, 2)
    yield prepared_cluster
    prepared_cluster.mend()
    for node in (member.guest.inside for member in prepared_cluster.nodes):
        for peer in call(node, "peers"):
            call(node, "peer_remove", peer["name"])
        keys = node.run(["cat", "/root/.ssh/authorized_keys"], check=False)
        assert "corpus-peer" not in keys.out


@pytest.fixture(scope="module")
def moving(linked: Lab) -> Iterator[Environment]:
    """Return an environment, made on the first node, that serves and writes."""
    made = Environment.create(linked, size="3G")
    for name, script in (("service", SERVICE), ("teller", TELLER)):
        made.host.put(PurePosixPath(f"/srv/{name}.py"), script.encode())
        made.host.put(PurePosixPath(f"/etc/systemd/system/{name}.service"), UNIT.encode())
    made.host.run(["python3", "-c", SHAPES])
    made.host.run(["dd", "status=none", "if=/dev/urandom", "of=/srv/ballast", "bs=1M", "count=40"])
    made.host.run(["systemctl", "enable", "--quiet", "--now", "service", "teller"])
    call(made.node, "route", made.id, HOST, port=PORT)
    yield made
    for member in linked.nodes:
        call(member.guest.inside, "destroy", made.id)
    assert [
        left for number in range(len(linked.nodes)) for left in traces(linked, number + 1, made.id)
    ] == []


@pytest.fixture(autouse=True)
def brought_home(moving: Environment, request: pytest.FixtureRequest) -> Iterator[None]:
    """Have it on the first node alone again after a test that failed, for those that follow."""
    before = request.session.testsfailed
    yield
    if request.session.testsfailed > before:
        bring_home(moving)


def bring_home(moving: Environment) -> None:
    lab, id = moving.lab, moving.id
    lab.mend()
    nodes = [member.guest.inside for member in lab.nodes]
    nodes[0].run(["systemctl", "kill", "--signal=KILL", "test-mover"], check=False)
    for node in nodes:
        with suppress(CorpusError):  # there is nothing of it
            print(call(node, "migration_recover", id))
    for node in nodes[1:]:
        with suppress(CorpusError):
            if call(node, "inspect", id)["state"] != "moved":
                call(node, "start", id)
                call(node, "migrate", id, "node1")
            call(node, "destroy", id)
    call(nodes[0], "start", id)
    moving.host.run(["systemctl", "start", "service", "teller"])
    for opened in call(nodes[0], "ports", id):
        call(nodes[0], "close", id, opened["port"], protocol=opened["protocol"])
    call(nodes[0], "unroute", "proxied.localhost")


def traces(lab: Lab, number: int, id: str) -> list[str]:
    """Return what a node has of an environment."""
    find = ["find", "/var/lib/corpus", "/run/corpus-ask", "-maxdepth", "3", "-name", f"*{id}*"]
    return lab.node(number).run(find, check=False).out.split()


def inside(lab: Lab, number: int, id: str) -> Container:
    """Return the environment as it runs on a node."""
    return Container(id, lab.node(number), LXCPATH)


def where(lab: Lab, id: str) -> list[int]:
    """Return the nodes on which it runs."""
    found = []
    for member in lab.nodes:
        shown = member.guest.inside.run(
            ["lxc-info", f"--lxcpath={LXCPATH}", f"--name={id}", "--state", "--no-humanize"],
            check=False,
        )
        if shown.out.strip() == "RUNNING":
            found.append(member.member.number)
    return found


@contextmanager
def used(environment: Environment, number: int) -> Iterator[Load]:
    """Have it asked 50 times a second within the block, through the node ``number``; each request
    is answered, and each that was posted is there, once."""
    port = environment.lab.member(number).member.http_port
    load = Load(port, HOST, rate=50, prefix=f"{time.monotonic_ns()}-", limit=120).start()
    try:
        yield load
    finally:
        load.finish()
    assert load.failures == []
    (at,) = where(environment.lab, environment.id)
    entries = inside(environment.lab, at, environment.id).run(["cat", "/srv/entries"]).out.split()
    mine = [entry for entry in entries if entry.startswith(load.prefix)]
    assert sorted(mine) == sorted(load.posted)


def look(lab: Lab, number: int, id: str) -> dict[str, Any]:
    """Return what files there are, and all that they have."""
    found: dict[str, Any] = json.loads(inside(lab, number, id).run(["python3", "-c", LOOK]).out)
    return found


def move(environment: Environment, source: int, target: int, **given: Any) -> dict[str, Any]:
    """Move it, and return the figures."""
    lab = environment.lab
    done: dict[str, Any] = call(
        lab.node(source), "migrate", environment.id, f"node{target}", **given
    )
    print(f"held for {done['downtime']} s; {done['passes']}; {done['steps']}")
    assert where(lab, environment.id) == [target]
    return done


def test_a_service_moves_there_and_back_and_no_request_is_lost(moving: Environment) -> None:
    lab, id = moving.lab, moving.id
    before = look(lab, 1, id)
    planned = call(moving.node, "migrate", id, "node2", test=True)
    assert any("node2" in line for line in planned["changes"])
    assert traces(lab, 2, id) == []
    with used(moving, 1):
        time.sleep(0.5)
        done = move(moving, 1, 2)
        time.sleep(0.5)
    assert look(lab, 2, id) == before
    assert done["downtime"] < 10
    record = call(lab.node(1), "inspect", id)
    assert record["state"] == "moved"
    with pytest.raises(CorpusError, match="lives on the node node2"):
        call(lab.node(1), "start", id)
    numbers = inside(lab, 2, id).run(["cat", "/srv/numbers"]).out.split()
    pairs = list(itertools.pairwise(int(number) for number in numbers))
    assert all(later in (earlier + 1, 1) for earlier, later in pairs)  # 1: its service began anew
    with used(moving, 2), used_too(moving):
        move(moving, 2, 1)
    assert look(lab, 1, id) == before
    call(lab.node(2), "destroy", id)
    assert traces(lab, 2, id) == []


@contextmanager
def used_too(environment: Environment) -> Iterator[None]:
    """Ask it through the first node also."""
    load = Load(environment.lab.http_port, HOST, rate=10, prefix="too", limit=120).start()
    try:
        yield
    finally:
        load.finish()
    assert load.failures == []


def address(lab: Lab, number: int) -> str:
    return str(lab.member(number).member.address)


def told(lab: Lab, number: int, port: int, patience: float = 5) -> str:
    """Return the address that the environment sees, at an opened port of a node; empty: refused."""
    try:
        with socket.create_connection((address(lab, number), port), patience) as line:
            line.settimeout(patience)
            return line.recv(99).decode()
    except OSError:
        return ""


class Teller:
    """Asks at opened ports without end: at TCP's anew each time, at UDP's by one socket."""

    def __init__(self, where: str, tcp: int, udp: int) -> None:
        self.where, self.tcp, self.udp = where, tcp, udp
        self.answers: dict[str, list[float]] = {"tcp": [], "udp": []}
        self.refused: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._connect, self._send)]

    def __enter__(self) -> Teller:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _connect(self) -> None:
        while not self._over.wait(0.02):
            try:
                with socket.create_connection((self.where, self.tcp), 30) as line:
                    line.settimeout(5)
                    if line.recv(9):
                        self.answers["tcp"].append(time.monotonic())
            except ConnectionResetError:  # it was taken when the guest stopped
                pass
            except OSError as error:
                self.refused.append(repr(error))

    def _send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.connect((self.where, self.udp))
            line.settimeout(0.05)
            while not self._over.wait(0.02):
                with suppress(OSError):
                    line.send(b"x")
                    line.recv(9)
                    self.answers["udp"].append(time.monotonic())

    def answered_since(self, then: float) -> bool:
        return all(times and times[-1] > then for times in self.answers.values())


def proxied(lab: Lab, number: int) -> str:
    """Return the address that the environment is told by the PROXY protocol."""
    line = http.client.HTTPConnection(address(lab, number), timeout=90)
    line.request("GET", "/", headers={"Host": "proxied.localhost"})
    signature, client = line.getresponse().read().decode().split()
    assert signature == "0d0a0d0a000d0a515549540a"
    return client


def test_open_ports_and_the_proxy_protocol_go_with_it(moving: Environment) -> None:
    lab, id, me = moving.lab, moving.id, str(moving.lab.settings.gateway)
    call(moving.node, "route", id, "proxied.localhost", port=PROXIED, proxy_protocol=True)
    tcp = call(moving.node, "open", id, OPENED, to=[me])["node_port"]
    udp = call(moving.node, "open", id, OPENED, protocol="udp")["node_port"]
    other = call(lab.node(2), "create", size="1G", wait=0)["id"]
    call(lab.node(2), "open", other, 1, node_port=tcp)
    try:
        with pytest.raises(CorpusError, match=f"tcp port {tcp} is taken by environment {other}"):
            call(lab.node(1), "migrate", id, "node2")
        assert traces(lab, 2, id) == []
    finally:
        call(lab.node(2), "destroy", other)
    assert (told(lab, 1, tcp), proxied(lab, 1)) == (me, me)
    for source, target in ((1, 2), (2, 1)):
        with Teller(address(lab, 1), tcp, udp) as teller, ThreadPoolExecutor(1) as worker:
            until(lambda t=teller: t.answered_since(0))
            waiting = worker.submit(move, moving, source, target)
            while not waiting.done():
                assert proxied(lab, 1) == me
            waiting.result()
            now = time.monotonic()
            until(lambda t=teller, n=now: t.answered_since(n))
        assert teller.refused == []
        assert proxied(lab, 1) == proxied(lab, 2) == me
        assert told(lab, target, tcp) == me
        assert told(lab, source, tcp) == address(lab, source)  # the other node leads it here
        own = f"socket.create_connection(('{address(lab, source)}', {tcp}), 5).recv(99)"
        told_itself = lab.node(source).run(["python3", "-c", f"import socket; print({own})"]).out
        assert address(lab, source) in told_itself
    for protocol in ("tcp", "udp"):
        call(moving.node, "close", id, OPENED, protocol=protocol)
    call(moving.node, "unroute", "proxied.localhost")


def test_networks_of_an_open_port_are_asked_wherever_it_lives(moving: Environment) -> None:
    lab, id = moving.lab, moving.id
    tcp = call(moving.node, "open", id, OPENED, to=["192.0.2.0/24"])["node_port"]
    move(moving, 1, 2)
    assert [told(lab, number, tcp, 0.5) for number in (1, 2)] == ["", ""]
    # An environment of the other node has its address, and is not led by it.
    stranger = Environment.create(lab, size="1G")
    try:
        ask = f"import socket; socket.create_connection(('{address(lab, 2)}', {tcp}), 1)"
        assert stranger.host.run(["python3", "-c", ask], check=False).code == 1
    finally:
        stranger.destroy()
    move(moving, 2, 1)
    call(lab.node(2), "destroy", id)
    call(moving.node, "close", id, OPENED)


def test_what_still_leads_to_a_port_opens_it_for_nobody_who_has_it_now(
    moving: Environment,
) -> None:
    lab, id = moving.lab, moving.id
    tcp = call(moving.node, "open", id, 22)["node_port"]
    move(moving, 1, 2)
    assert told(lab, 1, tcp).startswith("SSH-")
    call(lab.node(2), "close", id, 22)
    other = call(lab.node(2), "create", size="1G")["id"]
    try:
        call(lab.node(2), "open", other, 22, node_port=tcp, to=["192.0.2.0/24"])
        assert [told(lab, number, tcp, 1) for number in (1, 2)] == ["", ""]
        call(lab.node(2), "open", other, 22, node_port=tcp, to=["all"])
        assert told(lab, 2, tcp).startswith("SSH-")
    finally:
        call(lab.node(2), "destroy", other)
    move(moving, 2, 1)
    call(lab.node(2), "destroy", id)


def test_what_the_target_lacks_room_for_is_refused_and_runs_on(moving: Environment) -> None:
    lab, id = moving.lab, moving.id
    fill = "/var/lib/corpus/pool/filler"
    lab.node(2).run(["btrfs", "subvolume", "sync", "/var/lib/corpus/pool"])  # what went is gone
    lab.node(2).run(["btrfs", "filesystem", "sync", "/var/lib/corpus/pool"])
    free = int(call(lab.node(2), "facts")["pool_free"])
    lab.node(2).run(["fallocate", "--length", str(max(free - (20 << 20), 1 << 20)), fill])
    try:
        assert int(call(lab.node(2), "facts")["pool_free"]) < 40 << 20
        with used(moving, 1), pytest.raises(CorpusError):
            call(lab.node(1), "migrate", id, "node2")
    finally:
        lab.node(2).run(["rm", fill])
        lab.node(2).run(["btrfs", "filesystem", "sync", "/var/lib/corpus/pool"])
    until(lambda: int(call(lab.node(2), "facts")["pool_free"]) > free - (1 << 30))
    assert where(lab, id) == [1]
    until(lambda: traces(lab, 2, id) == [])


def test_a_target_where_it_does_not_run_well_gives_it_back(moving: Environment) -> None:
    lab, id = moving.lab, moving.id
    guard = "[Unit]\nConditionPathExists=/run/here\n"
    drop = PurePosixPath("/etc/systemd/system/service.service.d/guard.conf")
    inside(lab, 1, id).put(drop, guard.encode())
    try:
        with pytest.raises(CorpusError, match="what ran before does not"):
            call(lab.node(1), "migrate", id, "node2")
    finally:
        inside(lab, 1, id).run(["rm", str(drop)])
        inside(lab, 1, id).run(["systemctl", "daemon-reload"])
        inside(lab, 1, id).run(["systemctl", "start", "service"])
    assert where(lab, id) == [1]
    until(lambda: traces(lab, 2, id) == [])


def test_a_link_that_is_cut_puts_it_back(moving: Environment) -> None:
    lab, id = moving.lab, moving.id
    lab.link(2, "rate", "100mbit")
    try:
        with used(moving, 1):
            ended: list[Exception] = []
            work = threading.Thread(target=failing, args=(lab, id, ended))
            work.start()
            until(lambda: traces(lab, 2, id) != [])
            lab.cut(1, 2)
            work.join(120)
        assert isinstance(ended[0], CorpusError)
        assert where(lab, id) == [1]
        until(lambda: traces(lab, 2, id) == [], 40)
    finally:
        lab.mend()


def failing(lab: Lab, id: str, ended: list[Exception]) -> None:
    try:
        call(lab.node(1), "migrate", id, "node2")
    except CorpusError as error:
        ended.append(error)


# At which stage of the source's record, or of the target's, the mover is killed.
PHASES = [(1, None, "warm"), (1, "moving", "held"), (2, "arrived", "started")]


@pytest.mark.parametrize(("number", "stage", "phase"), PHASES, ids=[p[2] for p in PHASES])
def test_a_mover_that_is_killed_leaves_one_that_lives(
    moving: Environment, number: int, stage: str | None, phase: str
) -> None:
    lab, id = moving.lab, moving.id
    lab.node(1).run(["systemd-run", "--unit=test-mover", "--quiet", "--collect", "salt-call",
                     "--local", "corpus_node.migrate", id, "node2"])  # fmt: skip
    record = f"/var/lib/corpus/environments/{id}.json"
    wanted = f'"stage": "{stage or "creating"}"'
    watched = lab.node(number if stage else 2)
    try:
        until(lambda: wanted in watched.run(["cat", record], check=False).out, 60)
    finally:
        lab.node(1).run(["systemctl", "kill", "--signal=KILL", "test-mover"], check=False)
    until(lambda: lab.node(1).run(["systemctl", "is-active", "test-mover"], check=False).code != 0)
    said = call(lab.node(1), "migration_recover", id)
    print(phase, said)
    at = where(lab, id)
    assert len(at) == 1
    with used(moving, 1):
        time.sleep(0.2)
    if at == [2]:
        move(moving, 2, 1)
        call(lab.node(2), "destroy", id)
    until(lambda: traces(lab, 2, id) == [])


@pytest.mark.parametrize("which", ["--newest", "--full"], ids=["the receiver", "its guard too"])
def test_a_receiver_that_is_killed_leaves_nothing(moving: Environment, which: str) -> None:
    lab, id = moving.lab, moving.id
    ended: list[Exception] = []
    work = threading.Thread(target=failing, args=(lab, id, ended))
    lab.link(2, "rate", "100mbit")
    try:
        work.start()
        until(lambda: traces(lab, 2, id) != [])
        kill = ["pkill", "-KILL", which, "--full", "corpus.node receive"]
        lab.node(2).run(kill, check=False)
        work.join(120)
    finally:
        lab.mend()
    assert isinstance(ended[0], CorpusError)
    assert where(lab, id) == [1]
    until(lambda: traces(lab, 2, id) == [])


def test_between_pools_of_different_kinds_it_goes_by_rsync(moving: Environment) -> None:
    lab, id = moving.lab, moving.id
    lab.grow(3)
    node = lab.node(3)
    call(node, "prepare")
    call(node, "image_import", IMAGES)
    link(lab, 1, 3)
    before = look(lab, 1, id)
    with used(moving, 1):
        move(moving, 1, 3)
    there = look(lab, 3, id)
    assert {**there, "sealed": 0, "subvolumes": 0} == {**before, "sealed": 0, "subvolumes": 0}
    with used(moving, 1):
        move(moving, 3, 1)
    back = look(lab, 1, id)
    assert {**back, "sealed": 0, "subvolumes": 0} == {**before, "sealed": 0, "subvolumes": 0}
