"""Several nodes in one lab: apart in what is theirs, together on one bridge, cut off at will."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from corpus.commands import ip, tc
from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.lab import salt
from corpus.lab.machine import Lab, assert_clean
from corpus.lab.settings import Settings
from corpus.lab.tenant import Environment
from corpus.model.errors import Conflict, CorpusError, NotFound, Unsupported
from labs import cluster as cluster
from labs import lab as lab
from labs import node_image, settings_of_tests
from patience import wait_until
from sites import prepared as prepared
from sites import prepared_cluster as prepared_cluster

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

OTHER = "apart"
PORT = 7000  # of a node, where somebody listens
BYTES = 200_000
# Says how many bytes came and within how many seconds, or how it was refused.
ASK = """
import socket, time
begun, got = time.monotonic(), 0
with socket.create_connection(("{name}", {port}), timeout={patience}) as line:
    while data := line.recv(65536):
        got += len(data)
print(got, time.monotonic() - begun)
"""
SERVE = f"""
import contextlib, socket
server = socket.create_server(("", {PORT}), backlog=50)
while True:
    line, _ = server.accept()
    with line, contextlib.suppress(OSError):  # who asked may be gone
        line.sendall(bytes({BYTES}))
"""


@pytest.fixture(scope="module")
def served(cluster: Lab) -> Iterator[Lab]:
    """Return the cluster; whoever asks node2 at PORT gets BYTES bytes."""
    node = cluster.node(2)
    unit = ["systemd-run", "--unit=test-served", "--quiet", "--collect"]
    node.run([*unit, "python3", "-c", SERVE])
    shown = ["ss", "--listening", "--tcp", "--numeric"]
    wait_until(lambda: str(PORT) in node.run(shown).out)
    yield cluster
    node.run(["systemctl", "stop", "test-served"])


@pytest.fixture
def mended(served: Lab) -> Iterator[Lab]:
    """Return the cluster, whose links are as they should be before and afterwards."""
    yield served
    served.mend()
    assert {node["link"] for node in served.facts()["nodes"]} == {"up"}
    assert asked(served.node(1)) is not None


def asked(host: Host, name: str = "node2", patience: float = 2) -> float | None:
    """Return in how many seconds BYTES bytes came from a node, None when it is out of reach."""
    text = ASK.format(name=name, port=PORT, patience=patience)
    done = host.run(["python3", "-c", text], check=False, timeout=60)
    if done.code:
        return None
    got, seconds = done.out.split()
    assert int(got) == BYTES
    return float(seconds)


def test_each_node_has_its_own_state_pool_and_networks(cluster: Lab) -> None:
    one, two = cluster.node(1), cluster.node(2)
    facts = cluster.facts()
    assert facts["state"] == "running"
    for key in ("pid", "address", "environments", "http_port", "ssh_ports", "name"):
        assert facts["nodes"][0][key] != facts["nodes"][1][key]
    for path in ("/var/lib/corpus/x", "/var/lib/corpus/pool/x", "/etc/corpus/x", "/root/x"):
        two.run(["touch", path])
        assert one.run(["test", "-e", path], check=False).code != 0
        two.run(["rm", path])
    ids = {node.run(["cat", "/etc/machine-id"]).out for node in (one, two)}
    assert len(ids) == 2
    assert two.run(["hostname"]).out == "node2\n"


def test_ports_of_the_host_lead_to_each_node(cluster: Lab) -> None:
    for number in (1, 2):
        port = cluster.member(number).member.ssh_ports[-1]
        text = f"import socket; s = socket.create_server(('', {port})); c, _ = s.accept(); " \
            f"c.sendall(b'{number}')"  # fmt: skip
        unit = ["systemd-run", "--unit=test-port", "--quiet", "--collect"]
        cluster.node(number).run([*unit, "python3", "-c", text])
        ask = f"import socket; print(socket.create_connection(('127.0.0.1', {port}), 5).recv(9))"

        def answer(ask: str = ask) -> bytes:
            done = subprocess.run([sys.executable, "-c", ask], capture_output=True, check=False)
            return done.stdout

        assert wait_until(answer) == f"b'{number}'\n".encode()


def test_environments_of_two_nodes_live_side_by_side(prepared_cluster: Lab) -> None:
    made: list[Environment] = []
    try:
        for number in (1, 2):
            made.append(Environment.create(prepared_cluster, node=number, size="5G"))
        for environment in made:
            settings = environment.member.member
            assert IPv4Address(environment.address) in settings.environments
            assert environment.ssh_port in settings.ssh_ports
            listed = salt.call(environment.node, "corpus_node.list")
            assert environment.id in [found["id"] for found in listed]
            assert len({other.id for other in made} & {found["id"] for found in listed}) == 1
            with socket.create_connection(("127.0.0.1", environment.ssh_port), 10) as line:
                assert line.recv(7) == b"SSH-2.0"
    finally:
        for environment in made:
            environment.destroy()


def test_nodes_reach_each_other_and_the_way_out(mended: Lab) -> None:
    assert asked(mended.node(1)) is not None
    assert asked(mended.node(2)) is not None
    gateway = ["ping", "-c1", "-W2", str(mended.settings.gateway)]
    probe = "import socket; socket.getaddrinfo('node1', 22)"
    assert mended.node(2).run(["python3", "-c", probe]).code == 0
    assert mended.node(2).run(["ip", "route", "get", gateway[-1]]).code == 0


def test_a_link_that_is_down_cuts_a_node_off_and_leaves_it_running(mended: Lab) -> None:
    mended.link(2, "down")
    mended.link(2, "down")
    assert asked(mended.node(1)) is None
    carrier = mended.node(2).run(["cat", "/sys/class/net/eth0/operstate"]).out.strip()
    assert carrier != "up"
    assert mended.facts()["nodes"][1]["link"] == "down"
    assert mended.facts()["state"] == "running"
    mended.link(2, "up")
    assert asked(mended.node(1)) is not None


def test_a_fault_stays_when_the_node_starts_anew(mended: Lab) -> None:
    mended.link(1, "down")
    mended.stop([1])
    assert mended.facts()["state"] == "in part"
    mended.up()
    assert mended.facts()["state"] == "running"
    assert asked(mended.node(1)) is None


def test_a_lossy_link_loses_packets_and_what_is_sent_arrives(mended: Lab) -> None:
    mended.link(2, "loss", "20%")
    before, arrived = sent_again(mended), False
    for _ in range(10):  # a few large packets may be lucky, or unlucky again and again
        arrived = asked(mended.node(1), patience=10) is not None or arrived
        if arrived and sent_again(mended) > before:
            break
    assert arrived
    assert sent_again(mended) > before


def sent_again(lab: Lab) -> int:
    """Return how many segments node2 sent a second time."""
    shown = lab.node(2).run(["cat", "/proc/net/snmp"]).out
    keys, values = [line.split()[1:] for line in shown.splitlines() if line.startswith("Tcp:")]
    return int(dict(zip(keys, values, strict=True))["RetransSegs"])


def test_a_slow_link_is_slow_in_both_directions(mended: Lab) -> None:
    quick = [asked(mended.node(1)) or 9 for _ in range(3)]
    mended.link(2, "rate", "1mbit")
    slow = asked(mended.node(1), patience=10)
    assert slow is not None
    assert slow > 0.8 > min(quick)  # 1.6 Mbit
    shown = mended.node(2).run(["tc", "qdisc", "show", "dev", "eth0"]).out
    assert "tbf" in shown


def test_a_late_link_is_late_where_the_kernel_can(mended: Lab) -> None:
    host = Local()
    host.run(ip.add_bridge("corpus-probe"))
    can = host.run(tc.late("corpus-probe", 1), check=False).code == 0
    host.run(ip.delete_link("corpus-probe"))
    if can:
        mended.link(2, "slow", "100ms")
        assert (asked(mended.node(1), patience=10) or 0) > 0.4  # there and back, twice
        return
    with pytest.raises(Unsupported) as caught:
        mended.link(2, "slow", "100ms")
    assert "NETEM" in (caught.value.mend or "")
    assert mended.facts()["nodes"][1]["link"] == "up"


def test_two_nodes_are_cut_off_from_each_other_and_from_no_one_else(mended: Lab) -> None:
    mended.cut(1, 2)
    assert asked(mended.node(1)) is None
    gateway = str(mended.settings.gateway)
    reached = f"import socket; s = socket.socket(); s.settimeout(2); s.connect_ex(('{gateway}', 9))"
    for number in (1, 2):
        mended.node(number).run(["python3", "-c", reached], timeout=20)
        neighbours = mended.node(number).run(["ip", "neighbour", "show", gateway]).out
        assert "lladdr" in neighbours
        assert "FAILED" not in neighbours
    assert mended.facts()["nodes"][0]["cut_from"] == ["node2"]
    mended.link(2, "up")
    assert asked(mended.node(1)) is not None


def test_what_is_not_there_is_refused(cluster: Lab) -> None:
    with pytest.raises(NotFound, match="has no node9"):
        cluster.link(9, "down")
    with pytest.raises(NotFound):
        Lab("nothing", settings_of_tests("nothing")).link(1, "down")


def test_a_lab_keeps_its_nodes_and_takes_no_other_settings(cluster: Lab) -> None:
    again = Lab(cluster.name, replace(cluster.settings, nodes=1), image=node_image)
    assert len(again.nodes) == len(cluster.nodes)
    with pytest.raises(Conflict, match="other settings"):
        Lab(cluster.name, replace(cluster.settings, storage="plain"), image=node_image).up()


# -- made, killed half-way and removed


@pytest.fixture
def other(cluster: Lab, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a lab of two nodes with pools of two kinds; it is removed afterwards."""
    given = {"subnet": "10.86.9.0/24", "http_port": 8390, "ssh_port_base": 21000}
    kinds = {"nodes": 2, "storage": "auto,plain", "root": tmp_path}
    settings = settings_of_tests(OTHER, **given, **kinds)
    yield settings
    Lab(OTHER, settings).down()
    assert_clean(OTHER, settings)


def test_a_cluster_that_was_killed_half_way_is_completed_and_removed(other: Settings) -> None:
    argv = [sys.executable, "-m", "corpus.lab", "up", f"--lab={OTHER}", f"--root={other.root}",
            f"--subnet={other.subnet}", f"--http-port={other.http_port}", "--nodes=2",
            f"--ssh-port-base={other.ssh_port_base}", "--storage=auto,plain",
            f"--images={other.images}"]  # fmt: skip
    path = os.pathsep.join(part for part in sys.path if part)
    killed = subprocess.Popen(
        argv, env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(2.5)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    made = Lab(OTHER, other, image=node_image)
    begun = time.monotonic()
    made.up()
    print(f"completed in {time.monotonic() - begun:.1f} s")
    find = ["findmnt", "--noheadings", "--output=FSTYPE", "/var/lib/corpus/pool"]
    assert [made.node(number).run(find).out.strip() for number in (1, 2)] == ["btrfs", "ext4"]
    assert salt.call(made.node(2), "corpus_node.facts")["storage"] == "plain"
    made.cut(1, 2)
    made.link(2, "loss", "5%")
    with pytest.raises(AssertionError) as caught:
        assert_clean(OTHER, other)
    for left in ("apart/node2", "bridge corpus-lab", "cveth-apart1", "cveth-apart2", "apart.2"):
        assert left in str(caught.value)
    try:
        Lab(OTHER, other).down()
    except CorpusError as error:  # the fixture would hide it
        pytest.fail(str(error))
    assert_clean(OTHER, other)
