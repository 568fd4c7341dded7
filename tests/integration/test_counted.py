"""Root of an environment uses up what the kernel counts for all of them together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from attackers import TRY, Guest
from attackers import attacker as attacker
from corpus.hosts.base import Host
from corpus.lab import salt
from guests import lent
from guests import node as node
from labs import lab as lab
from patience import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

GATEWAY = "10.88.0.1"
DONE = "/run/exhausted"
BEFORE = f"""
{TRY}
import time
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
def take(most, one):
    many = 0
    try:
        while many < most and one() is not False:
            many += 1
    except OSError:
        pass
    return many
"""
AFTER = f"""
open({DONE!r}, "w").write(str(taken))
time.sleep(60)
"""


@pytest.fixture(scope="module")
def victim(node: Host) -> Iterator[Guest]:
    with lent(node, size="256M") as made:
        yield Guest(node, made)


@contextmanager
def exhausting(attacker: Guest, script: str) -> Iterator[int]:
    """Have the attacker take what it can get and keep it; yield how much that is."""
    attacker.inside.run(["rm", "-f", DONE])
    argv = ["systemd-run", "--quiet", "--collect", "--unit=exhaust", "python3", "-c"]
    attacker.inside.run([*argv, BEFORE + script + AFTER])
    try:
        said = ["test", "-s", DONE]
        wait_until(lambda: attacker.inside.run(said, check=False).code == 0)
        yield int(attacker.inside.run(["cat", DONE]).out)
    finally:
        attacker.inside.run(["systemctl", "stop", "exhaust"], check=False)


INOTIFY = "taken = take(4000, lambda: libc.inotify_init() >= 0)"
FANOTIFY = "taken = take(1000, lambda: libc.fanotify_init(0x200, 0) >= 0)"
EVENTS = """
def asked(number):
    return libc.syscall(206, number, ctypes.byref(ctypes.c_ulong())) == 0
taken = take(10, lambda: asked(30000)) * 30000
"""
TERMINALS = """
def terminals():
    libc.unshare(0x00020000)
    for number in range(6):
        place = f"/run/terminals-{number}"
        mount("devpts", place, "devpts", 0, "newinstance,ptmxmode=0666")
        yield from (lambda: os.open(f"{place}/ptmx", os.O_RDWR | os.O_NOCTTY) for _ in range(700))
made = terminals()
taken = take(4200, lambda: next(made)())
"""


@pytest.mark.parametrize(
    ("what", "least", "wanted"),
    [
        (INOTIFY, 500, 'call("inotify_init")'),
        (FANOTIFY, 500, 'call("fanotify_init", 0x200, 0)'),
        (EVENTS, 100_000, "system(206, 1000, ctypes.byref(ctypes.c_ulong()))"),
        (TERMINALS, 4000, "os.openpty()"),
    ],
    ids=["inotify", "fanotify", "asynchronous I/O", "terminals"],
)
def test_it_is_not_used_up_by_one(
    attacker: Guest, victim: Guest, what: str, least: int, wanted: str
) -> None:
    with exhausting(attacker, what) as taken:
        found = victim.attempts(f'attempt("one", lambda: {wanted})')
    assert found == {"one": "DONE"}
    assert taken > least


# Many addresses at an interface of its own, each of which the kernel has to seek.
NEIGHBOURS = """
import subprocess
def ip(words):
    subprocess.run(["ip", *words.split()], check=True)
ip("link add many type veth peer name few")
ip("address add 10.99.0.1/16 dev many")
ip("link set few up")
ip("link set many up")
"""
SEEK = """
import itertools, socket, time
lines = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]
for line in lines:
    line.setblocking(False)
end = time.monotonic() + 40
for number in itertools.count():
    try:
        lines[number % 200].sendto(b"x", (f"10.99.{number // 250 % 250}.{number % 250 + 2}", 9))
    except OSError:
        pass
    if time.monotonic() > end:
        break
"""


def test_neighbours_that_are_known_are_found_when_the_table_of_all_is_full(
    node: Host, attacker: Guest, victim: Guest
) -> None:
    attacker.python(NEIGHBOURS)
    seek = ["systemd-run", "--quiet", "--collect", "--unit=seek", "python3", "-c", SEEK]
    attacker.inside.run(seek)
    sought = ["ip", "neighbour", "show", "dev", "many"]
    try:
        wait_until(lambda: len(attacker.inside.run(sought).out.splitlines()) > 900)
        for host in (node, victim.inside):
            host.run(["ip", "neighbour", "flush", "all"])
        salt.call(node, "corpus_node.prepare")  # it may be called again, and forgets nobody
        assert victim.reaches((GATEWAY, 80))
        connect = f"import socket; socket.create_connection(({victim.address!r}, 22), 3)"
        node.run(["python3", "-c", connect])
    finally:
        attacker.inside.run(["systemctl", "stop", "seek"], check=False)
        attacker.inside.run(["ip", "link", "delete", "many"], check=False)
    shown = node.run(["ip", "neighbour", "show", "nud", "permanent"]).out
    assert f"{victim.address} dev corpus0 lladdr {victim.mac} PERMANENT" in shown
    shown = victim.inside.run(["ip", "neighbour", "show", "nud", "permanent"]).out
    assert f"{GATEWAY} dev eth0 lladdr " in shown


def test_who_is_stopped_is_known_no_more(node: Host) -> None:
    with lent(node, size="256M") as made:
        guest = Guest(node, made)
        guest.call("stop")
        shown = ["ip", "neighbour", "show", guest.address]
        assert "PERMANENT" not in node.run(shown).out
        guest.call("start")
        assert "PERMANENT" in node.run(shown).out


def test_the_neighbours_of_a_front_are_known(node: Host) -> None:
    with lent(node, size="256M", role="proxy") as made:
        front = Guest(node, made)
        shown = node.run(["ip", "neighbour", "show", "nud", "permanent"]).out
        assert f"{front.address} dev cpxy" in shown
        shown = front.inside.run(["ip", "neighbour", "show", "nud", "permanent"]).out
        assert f"{GATEWAY} dev eth0 lladdr " in shown
