"""Environments ask their node on a real kernel: who may, what is true of the answer, what it costs.

The node is restarted here too, and a mail relay listens on it and beyond it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import guests
from corpus.hosts.base import Host
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.model.errors import CorpusError
from guests import node as node
from labs import lab as lab
from patience import quickest, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

MIB, GIB = 1 << 20, 1 << 30
LISTED = ["systemctl", "list-units", "--plain", "--no-legend"]
SETTINGS = "/etc/corpus/node.toml"
ASK = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.settimeout(10)
    line.connect(sys.argv[1])
    line.sendall(sys.argv[2].encode() + b"\\n")
    print(line.makefile().read())
"""
# Answers every connection as a mail server does at first.
RELAY = """
import socket
server = socket.create_server(("127.0.0.1", 2525))
while True:
    line, _ = server.accept()
    line.sendall(b"220 relay of the node\\r\\n")
    line.close()
"""


class Guest(guests.Guest):
    """An environment that asks."""

    @property
    def unit(self) -> str:
        return f"corpus-ask@{self.id}.socket"

    @property
    def root(self) -> int:
        """The user id of its root on the node."""
        return int(self.inside.run(["cat", "/proc/self/uid_map"]).out.split()[1])

    def ask(self, **question: Any) -> dict[str, Any]:
        text = json.dumps(question)
        done = self.inside.run(["python3", "-c", ASK, "/dev/corpus/sock", text])
        found: dict[str, Any] = json.loads(done.out)
        return found

    def ask_as(self, *ids: str) -> str:
        """Ask as somebody else of the environment; return answer and error."""
        words = ["setpriv", *ids, "--clear-groups", "python3", "-c", ASK]
        done = self.inside.run([*words, "/dev/corpus/sock", '{"ask": "usage"}'], check=False)
        return done.out + done.err

    def write(self, size: int) -> int:
        """Write as many MiB; return dd's code."""
        words = ["dd", "if=/dev/urandom", "of=/srv/ballast", "bs=1M", f"count={size}", "conv=fsync"]
        return self.inside.run([*words, "status=none"], check=False).code

    def connect(self, address: str, port: int) -> str:
        """Return what a server says first, or the error."""
        script = (
            "import socket\n"
            f"with socket.create_connection(({address!r}, {port}), 1.5) as line:\n"
            "    print(line.makefile().readline())\n"
        )
        done = self.inside.run(["python3", "-c", script], check=False)
        return done.out.strip() or done.err.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def guest(node: Host) -> Iterator[Guest]:
    with guests.lent(node, size="512M", size_limit="8G") as facts:
        made = Guest(node, facts)
        yield made
    assert node.run(["ls", "/run/corpus-ask"]).out.count(made.id) == 0
    assert made.id not in node.run([*LISTED, "--all", "corpus-ask@*"]).out


@pytest.fixture(scope="module")
def other(node: Host) -> Iterator[Guest]:
    made = Guest(node, salt.call(node, "corpus_node.create", size="512M"))
    yield made
    salt.call(node, "corpus_node.destroy", made.id)


def test_usage_is_what_the_quota_accounts(guest: Guest) -> None:
    guest.inside.run(["sync"])
    before = guest.ask(ask="usage")
    assert (before["size"], before["limit"]) == (512 * MIB, 8 * GIB)
    assert guest.write(100) == 0
    guest.inside.run(["sync"])
    told, accounted = guest.ask(ask="usage"), guest.facts()["used"]
    assert 100 * MIB <= told["used"] - before["used"] < 110 * MIB
    assert abs(told["used"] - accounted) < 2 * MIB


def test_an_ask_takes_little_time_and_nothing_stays(guest: Guest, node: Host) -> None:
    # About 0.2, and as much for lxc-attach and the asking Python.
    assert quickest(lambda: guest.ask(ask="usage")) < 3
    running = [*LISTED, "corpus-ask@*.service"]
    wait_until(lambda: node.run(running).out == "", told=lambda: node.run(running).out)


def test_who_else_asks_is_refused(guest: Guest, other: Guest, node: Host) -> None:
    assert "PermissionError" in guest.ask_as("--reuid=1000", "--regid=1000")
    assert "only the environment's root may ask" in guest.ask_as("--reuid=1000", "--regid=0")
    assert "socket" not in other.inside.run(["ls", "/run/corpus-ask"], check=False).out
    place = f"/run/corpus-ask/{guest.id}/sock"
    group = f"--regid={guest.root}"  # else the directory keeps them out already
    for user in (0, 33, other.root, guest.root + 1):
        words = ["setpriv", f"--reuid={user}", group, "--clear-groups", "python3", "-c", ASK]
        done = node.run([*words, place, '{"ask": "enlarge", "bytes": 1073741824}'])
        assert "only the environment's root may ask" in json.loads(done.out)["error"]
    stranger = ["setpriv", f"--reuid={other.root}", f"--regid={other.root}", "--clear-groups"]
    done = node.run([*stranger, "python3", "-c", ASK, place, '{"ask": "usage"}'], check=False)
    assert "PermissionError" in done.err
    assert guest.facts()["size"] == 512 * MIB


def test_its_root_cannot_write_where_the_socket_is(guest: Guest) -> None:
    for words in (
        ["touch", "/dev/corpus/mine"],
        ["rm", "-f", "/dev/corpus/sock"],
        ["chmod", "777", "/dev/corpus"],
        ["chmod", "600", "/dev/corpus/sock"],
        ["sh", "-c", "mount -o remount,rw,bind /dev/corpus && touch /dev/corpus/mine"],
        ["sh", "-c", "mount -o remount,rw,bind /dev/corpus; rm /dev/corpus/sock"],
    ):
        assert guest.inside.run(words, check=False).code != 0, words
    assert guest.ask(ask="usage")["size"] == 512 * MIB


def test_enlarge_raises_the_real_quota_up_to_the_limit(guest: Guest) -> None:
    assert guest.write(700) != 0
    assert guest.ask(ask="enlarge", bytes=700 * MIB) == {"size": 512 * MIB + 5 * GIB}
    assert guest.write(700) == 0
    facts = guest.facts()
    assert (facts["size"], facts["size_limit"]) == (512 * MIB + 5 * GIB, 8 * GIB)
    refused = guest.ask(ask="enlarge", bytes=8 * GIB)
    assert "may have 8G at the most" in refused["error"]
    grown = salt.call(guest.node, "corpus_node.enlarge", guest.id, size="8G")
    assert grown["size"] == 8 * GIB == guest.ask(ask="usage")["size"]
    with pytest.raises(CorpusError, match="8G at the most"):
        salt.call(guest.node, "corpus_node.enlarge", guest.id)


def test_the_pool_keeps_what_it_shall(node: Host, other: Guest) -> None:
    with settings(node, 'minimum_free = "1T"'):
        refused = other.ask(ask="enlarge", bytes=GIB)
    assert "free and keeps 1T" in refused["error"]
    assert other.facts()["size"] == 512 * MIB


def test_one_that_asks_without_end_shuts_its_own_door(
    node: Host, guest: Guest, other: Guest
) -> None:
    folder = "/run/systemd/system/corpus-ask@.socket.d"
    few = f"{folder}/few.conf"
    node.run(["mkdir", "-p", folder])
    node.run(["dd", "status=none", f"of={few}"], stdin="[Socket]\nTriggerLimitBurst=5\n")
    node.run(["systemctl", "daemon-reload"])
    try:
        node.run(["systemctl", "restart", guest.unit])
        flood = (
            "import socket\n"
            "for _ in range(20):\n"
            "    line = socket.socket(socket.AF_UNIX)\n"
            "    line.connect('/dev/corpus/sock')\n"
        )
        guest.inside.run(["python3", "-c", flood], check=False)
        state = ["systemctl", "is-active", guest.unit]
        wait_until(lambda: node.run(state, check=False).code != 0, 60)
        assert other.ask(ask="usage")["size"] == 512 * MIB
    finally:
        node.run(["rm", few])
        node.run(["systemctl", "daemon-reload"])
    salt.call(node, "corpus_node.start", guest.id)
    assert guest.ask(ask="usage")["used"] > 0


def test_many_at_once_are_answered(guest: Guest) -> None:
    told: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: told.append(guest.ask(ask="usage"))) for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [one["size"] for one in told] == [guest.facts()["size"]] * 4


def test_it_answers_after_restarts_of_socket_guest_and_node(
    lab: Lab, node: Host, guest: Guest
) -> None:
    node.run(["systemctl", "stop", guest.unit])
    gone = guest.inside.run(["python3", "-c", ASK, "/dev/corpus/sock", "{}"], check=False)
    assert "FileNotFoundError" in gone.err
    node.run(["systemctl", "start", guest.unit])
    assert guest.ask(ask="usage")["used"] > 0
    salt.call(node, "corpus_node.stop", guest.id)
    salt.call(node, "corpus_node.start", guest.id)
    assert guest.ask(ask="usage")["used"] > 0
    lab.stop()
    lab.up()
    assert guest.ask(ask="usage")["used"] > 0


# -- the mail relay


@contextmanager
def settings(node: Host, *lines: str) -> Iterator[None]:
    """Add lines to the node's settings for a while, and have the node take them."""
    before = node.run(["cat", SETTINGS]).out
    node.run(["dd", "status=none", f"of={SETTINGS}"], stdin=before + "\n".join(lines) + "\n")
    try:
        salt.call(node, "corpus_node.prepare")
        yield
    finally:
        node.run(["dd", "status=none", f"of={SETTINGS}"], stdin=before)
        salt.call(node, "corpus_node.prepare")


@contextmanager
def listening(address: str, greeting: bytes) -> Iterator[int]:
    """Greet like a mail server on a port of this machine."""
    server = socket.create_server((address, 0))

    def serve() -> None:
        with suppress(OSError):  # it is shut at the end
            while True:
                line, _ = server.accept()
                with line, suppress(OSError):
                    line.sendall(greeting)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()


def test_a_relay_beyond_the_node_is_reached_at_the_gateway_alone(
    lab: Lab, node: Host, other: Guest
) -> None:
    beyond = str(lab.settings.gateway)
    assert "220" not in other.connect("10.88.0.1", 25)
    with (
        settings(node, f'open_networks = ["{beyond}"]'),  # it is the node's router, too
        listening(beyond, b"220 relay\r\n") as port,
        listening(beyond, b"220 another service\r\n") as another,
    ):
        assert other.connect(beyond, another) == "220 another service"
        with settings(node, f'relay = "{beyond}:{port}"'):
            assert other.connect("10.88.0.1", 25) == "220 relay"
            for closed in (port, another):
                assert "timed out" in other.connect(beyond, closed)
            for closed in (22, 587, port, another):
                assert "timed out" in other.connect("10.88.0.1", closed)
            salt.call(node, "corpus_node.stop", other.id)
            salt.call(node, "corpus_node.start", other.id)
            told = json.loads(other.inside.run(["cat", "/etc/corpus/environment.json"]).out)
            assert told["relay"] == "10.88.0.1:25"
            assert (told["gateway"], told["ssh_port"]) == ("10.88.0.1", other.made["ssh_port"])
            assert told["image"].startswith(other.made["image"])
        assert "timed out" in other.connect("10.88.0.1", 25)
        assert other.connect(beyond, another) == "220 another service"


def test_a_relay_on_the_node_itself(node: Host, other: Guest) -> None:
    unit = "relay-of-the-test"
    node.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", "python3", "-c", RELAY])
    try:
        with settings(node, 'relay = "localhost:2525"'):
            assert other.connect("10.88.0.1", 25) == "220 relay of the node"
            for closed in (2525, 22):
                assert "timed out" in other.connect("10.88.0.1", closed)
    finally:
        node.run(["systemctl", "stop", unit], check=False)
