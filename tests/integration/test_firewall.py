"""The node's firewall on a real kernel: opened ports, attacks from inside, foreign rules."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from attackers import FRAMES, PORT, Guest, ear, heard, wait_for
from corpus.hosts.base import Host
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.model.errors import CorpusError
from guests import node as node
from integration.test_ask import settings
from labs import lab as lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

GATEWAY = "10.88.0.1"
# Answers with who asks; every connection goes on until its end is closed.
ECHO = """
import socket, threading
def tcp():
    server = socket.create_server(("", 7000))
    while True:
        line, who = server.accept()
        threading.Thread(target=talk, args=[line, who[0]], daemon=True).start()
def talk(line, who):
    while line.recv(100):
        line.sendall(who.encode())
threading.Thread(target=tcp, daemon=True).start()
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind(("", 7000))
while True:
    _, who = line.recvfrom(100)
    line.sendto(who[0].encode(), who)
"""
# Beside the node's own tables, at the same hooks and priorities.
FOREIGN = """
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy accept;
        iifname "br-foreign" oifname "eth0" counter accept
    }
}
table ip nat {
    chain DOCKER { }
    chain PREROUTING {
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local counter jump DOCKER
    }
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 172.31.0.0/24 oifname != "br-foreign" counter masquerade
    }
}
table bridge foreign {
    chain prerouting {
        type filter hook prerouting priority -300; policy accept;
        ether type 0x88b5 counter
    }
}
"""


CONTROL = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"attack:control", (sys.argv[1], 9))
"""


@pytest.fixture(scope="module")
def guests(node: Host) -> Iterator[list[Guest]]:
    made = [Guest(node, salt.call(node, "corpus_node.create", size="512M")) for _ in range(2)]
    yield made
    for one in made:
        salt.call(node, "corpus_node.destroy", one.id)
    left = node.run(["nft", "list", "ruleset"]).out
    assert not any(one.interface in left or f"{one.address} " in left for one in made)


@pytest.fixture(scope="module")
def attacker(guests: list[Guest]) -> Guest:
    return guests[0]


@pytest.fixture(scope="module")
def victim(guests: list[Guest]) -> Guest:
    """Return an environment that answers at port 7000."""
    one = guests[1]
    one.inside.run(["systemd-run", "--quiet", "--unit=echo", "python3", "-c", ECHO])
    return one


def from_here(lab: Lab, port: int, protocol: str = "tcp") -> str:
    """Return what the lab's host is answered at a port of the node, or the error's name."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with closing(socket.socket(socket.AF_INET, kind)) as line:
        line.settimeout(2 if protocol == "tcp" else 1)
        try:
            line.connect((str(lab.settings.members[0].address), port))
            line.send(b"who")
            return line.recv(100).decode()
        except OSError as error:
            return type(error).__name__


def test_a_port_is_open_for_whom_it_was_opened(lab: Lab, node: Host, victim: Guest) -> None:
    me = str(lab.settings.gateway)
    opened = salt.call(node, "corpus_node.open", victim.id, 7000, to="192.0.2.0/24")
    port = opened["node_port"]
    assert from_here(lab, port) in ("TimeoutError", "ConnectionRefusedError")
    assert salt.call(node, "corpus_node.open", victim.id, 7000, to=f"192.0.2.0/24,{me}") == {
        **opened, "to": [f"{me}/32", "192.0.2.0/24"]
    }  # fmt: skip
    assert from_here(lab, port) == me
    assert from_here(lab, port, "udp") != me
    udp = salt.call(node, "corpus_node.open", victim.id, 7000, protocol="udp", node_port=port)
    assert from_here(lab, port, "udp") == me
    assert salt.call(node, "corpus_node.ports", victim.id) == [
        opened | {"to": [f"{me}/32", "192.0.2.0/24"]},
        udp,
    ]
    inside = f"import socket; l = socket.create_connection(('127.0.0.1', {port}), 3); l.send(b'x')"
    assert node.run(["python3", "-c", f"{inside}; print(l.recv(9))"]).out.strip() == f"b'{GATEWAY}'"
    assert salt.call(node, "corpus_node.close", victim.id, 7000, protocol="udp") is True


def test_connections_survive_what_changes(lab: Lab, node: Host, victim: Guest) -> None:
    port = salt.call(node, "corpus_node.open", victim.id, 7000)["node_port"]
    with socket.create_connection((str(lab.settings.members[0].address), port), 3) as line:
        for change in (
            lambda: salt.call(node, "corpus_node.open", victim.id, 7001),
            lambda: salt.call(node, "corpus_node.prepare"),
            lambda: salt.call(node, "corpus_node.close", victim.id, 7001),
            lambda: salt.call(node, "corpus_node.close", victim.id, 7000),
        ):
            change()
            line.sendall(b"still there?")
            assert line.recv(100).decode() == str(lab.settings.gateway)
    assert from_here(lab, port) in ("TimeoutError", "ConnectionRefusedError")


def test_a_taken_port_is_refused(node: Host, victim: Guest, attacker: Guest) -> None:
    for port in (80, attacker.made["ssh_port"]):
        with pytest.raises(CorpusError, match=f"port {port} is taken by"):
            salt.call(node, "corpus_node.open", victim.id, 7000, node_port=port)
    assert salt.call(node, "corpus_node.ports", victim.id) == []


@contextmanager
def listening(node: Host, *ports: int) -> Iterator[None]:
    """Have services of the node's own."""
    script = f"""
import socket, time
servers = [socket.create_server(("", port)) for port in {ports!r}]
open("/run/listening", "w")
time.sleep(600)
"""
    unit = "services-of-the-test"
    node.run(["rm", "-f", "/run/listening"])
    node.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", "python3", "-c", script])
    try:
        node.run(["sh", "-c", "until [ -e /run/listening ]; do sleep 0.05; done"], timeout=20)
        yield
    finally:
        node.run(["systemctl", "stop", unit], check=False)


def test_from_an_environment_neighbours_and_services_are_out_of_reach(
    lab: Lab, node: Host, attacker: Guest, victim: Guest
) -> None:
    outside, beyond = str(lab.settings.members[0].address), str(lab.settings.gateway)
    opened = salt.call(node, "corpus_node.open", victim.id, 7000)["node_port"]
    server = socket.create_server((beyond, 0))
    services = (4505, 4506, 8022)
    with listening(node, *services), closing(server):
        assert from_here(lab, opened) == beyond
        places = [(victim.address, port) for port in (22, 7000)]
        for address in (GATEWAY, outside, "127.0.0.1"):
            places += [(address, port) for port in (22, opened, victim.made["ssh_port"], *services)]
        places += [(beyond, server.getsockname()[1]), ("169.254.169.254", 80)]
        own = {("127.0.0.1", 22)}  # its own
        assert attacker.reaches(*places, (GATEWAY, 80)) - own == {(GATEWAY, 80)}
        with settings(node, f'open_networks = ["{beyond}"]'):
            assert attacker.reaches((beyond, server.getsockname()[1]), (victim.address, 22)) == {
                (beyond, server.getsockname()[1])
            }
    salt.call(node, "corpus_node.close", victim.id, 7000)


def test_no_forged_frame_is_heard(lab: Lab, node: Host, attacker: Guest, victim: Guest) -> None:
    """Spoofed addresses, 802.1D's own, VLANs, other protocols, IPv6, source routes."""
    gateway = node.run(["cat", "/sys/class/net/corpus0/address"]).out.strip()
    script = (
        FRAMES
        + f"""
ME, VICTIM, GATEWAY = {attacker.address!r}, {victim.address!r}, {GATEWAY!r}
OUTSIDE = {str(lab.settings.members[0].address)!r}
VICTIM_MAC, GATEWAY_MAC = {victim.mac!r}, {gateway!r}
BRIDGE, LLDP, OTHERS = "01:80:c2:00:00:00", "01:80:c2:00:00:0e", "01:80:c2:00:00:03"
def mark(name):
    return b"attack:" + name.encode() + b" "
for name, to in (("victim", VICTIM_MAC), ("all", ALL), ("gateway", GATEWAY_MAC)):
    send(to, MINE, 0x0800, ip4(ME, VICTIM, mark("direct-" + name)))
    send(to, MINE, 0x88B5, mark("ethertype-" + name))
    send(to, VICTIM_MAC, 0x0800, ip4(VICTIM, GATEWAY, mark("mac-" + name)))
    send(to, MINE, 0x0800, ip4(VICTIM, GATEWAY, mark("address-" + name)))
    send(to, MINE, 0x0800, ip4("127.0.0.1", GATEWAY, mark("local-source-" + name)))
    send(to, MINE, 0x0800, ip4(ME, "127.0.0.1", mark("local-" + name)))
    for kind in (0x8100, 0x88A8):
        tag = struct.pack("!HH", kind, 1)
        send(to, MINE, 0x0800, ip4(ME, VICTIM, mark(f"vlan-{{kind}}-" + name)), tag)
        send(to, MINE, 0x0800, ip4(ME, GATEWAY, mark(f"vlan-here-{{kind}}-" + name)), tag)
        prior = struct.pack("!HH", kind, 0xE000)
        send(to, MINE, 0x0800, ip4(ME, VICTIM, mark(f"prior-{{kind}}-" + name)), prior)
    send(to, MINE, 0x86DD, udp6("fe80::66", "ff02::1", mark("ipv6-" + name)))
    route = bytes([131, 7, 4]) + socket.inet_aton(VICTIM) + b"\\0"
    send(to, MINE, 0x0800, ip4(ME, GATEWAY, mark("source-route-" + name), route))
for name, to in (("bridge", BRIDGE), ("lldp", LLDP), ("others", OTHERS)):
    for address in (GATEWAY, OUTSIDE, VICTIM):
        send(to, MINE, 0x0800, ip4(ME, address, mark("multicast-" + name)))
        send(to, VICTIM_MAC, 0x0800, ip4(VICTIM, address, mark("multicast-mac-" + name)))
    send(to, MINE, 0x86DD, udp6("fe80::66", "ff02::1", mark("ipv6-" + name)))
    send(to, MINE, 39, b"\\x42\\x42\\x03" + mark("stp-" + name).ljust(36))
send(GATEWAY_MAC, MINE, 0x0800, ip4(ME, GATEWAY, mark("to-a-service")))
"""
    )
    with ear(node, "port", str(PORT)), ear(victim.inside, "frames"):
        attacker.python(script)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.sendto(b"attack:control", (str(lab.settings.members[0].address), PORT))
        node.run(["python3", "-c", CONTROL, victim.address])
        wait_for(node, "control")
        wait_for(victim.inside, "control")
        assert heard(node) == heard(victim.inside) == {"listening", "control"}


def test_nobody_takes_the_place_of_neighbour_or_gateway(
    node: Host, attacker: Guest, victim: Guest
) -> None:
    """Forged ARP, forged senders at the addresses of 802.1D, router advertisements."""
    gateway = node.run(["cat", "/sys/class/net/corpus0/address"]).out.strip()
    assert victim.reaches((GATEWAY, 80))
    script = (
        FRAMES
        + f"""
VICTIM, GATEWAY, ME = {victim.address!r}, {GATEWAY!r}, {attacker.address!r}
VICTIM_MAC, GATEWAY_MAC = {victim.mac!r}, {gateway!r}
RESERVED = ("01:80:c2:00:00:00", "01:80:c2:00:00:0e", "01:80:c2:00:00:03")
PLACES = (ALL, VICTIM_MAC, GATEWAY_MAC, *RESERVED)
for to in PLACES:
    for op in (1, 2):
        for claimed in (VICTIM, GATEWAY, "10.88.77.77"):
            for target in (VICTIM, GATEWAY, claimed):
                send(to, MINE, 0x0806, arp(op, MINE, claimed, ALL, target))
                send(to, VICTIM_MAC, 0x0806, arp(op, MINE, claimed, ALL, target))
        send(to, MINE, 0x0806, arp(op, VICTIM_MAC, ME, GATEWAY_MAC, GATEWAY))
    for source in (VICTIM_MAC, GATEWAY_MAC):
        send(to, source, 0x88CC, b"x")
    advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    advertisement += b"\\x01\\x01" + mac(MINE)
    advertisement += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0)
    advertisement += socket.inet_pton(socket.AF_INET6, "2001:db8:66::")
    send(to, MINE, 0x86DD, ip6("fe80::66", "ff02::1", 58, advertisement))
"""
    )
    attacker.python(script)
    bridge = node.run(["bridge", "fdb", "show", "br", "corpus0"]).out.splitlines()
    ports = {
        line.split()[0]: line for line in bridge if line.split()[0] in (victim.mac, attacker.mac)
    }
    assert f"dev {victim.interface} " in ports[victim.mac]
    assert f"dev {attacker.interface} " in ports[attacker.mac]
    assert not [line for line in bridge if attacker.interface in line and victim.mac in line]
    neighbours = node.run(["ip", "-4", "neigh", "show"]).out.splitlines()
    assert not [line for line in neighbours if "10.88.77.77" in line or "dev cenv" in line]
    theirs = [line for line in neighbours if line.startswith(f"{victim.address} ")]
    assert all(victim.mac in line for line in theirs if "lladdr" in line)
    own = [line for line in neighbours if line.startswith(f"{attacker.address} ")]
    assert all(attacker.mac in line for line in own if "lladdr" in line)
    inside = victim.inside.run(["ip", "neigh", "show"]).out
    assert f"{GATEWAY} dev eth0 lladdr {gateway}" in inside
    assert attacker.mac not in inside
    for host in (node, victim.inside):
        assert "fe80::66" not in host.run(["ip", "-6", "route", "show", "default"], check=False).out
        assert "2001:db8:66:" not in host.run(["ip", "-6", "address", "show"]).out
    node.run(
        ["python3", "-c", f"import socket; socket.create_connection(({victim.address!r}, 22), 3)"]
    )


def test_one_environment_does_not_use_up_the_connections_of_all(
    node: Host, attacker: Guest, victim: Guest
) -> None:
    flood = f"""
import socket
lines = []
for _ in range(60):
    line = socket.socket()
    line.setblocking(False)
    line.connect_ex(({GATEWAY!r}, 80))
    lines.append(line)
import time; time.sleep(1)
def made(line):
    try:
        return bool(line.getpeername())
    except OSError:
        return False
print(sum(map(made, lines)))
"""
    with settings(node, "connections = 40"):
        assert 30 <= int(attacker.python(flood)) <= 40
        assert victim.reaches((GATEWAY, 80))
    assert int(attacker.python(flood)) == 60


def tables(node: Host) -> dict[str, str]:
    """Return the text of the foreign tables, without what they count."""
    names = (("inet", "filter"), ("ip", "nat"), ("bridge", "foreign"))
    return {
        f"{family} {name}": node.run(["nft", "--stateless", "list", "table", family, name]).out
        for family, name in names
    }


def state(node: Host) -> tuple[Any, ...]:
    bridge = node.run(["ip", "-br", "address", "show", "dev", "br-foreign"]).out
    keys = ["net.ipv4.ip_forward", "net.ipv4.conf.br-foreign.forwarding",
            "net.ipv4.conf.default.forwarding", "net.ipv6.conf.all.forwarding"]  # fmt: skip
    return tables(node), bridge, node.run(["sysctl", *keys]).out


def test_what_is_not_the_nodes_own_is_left_alone(lab: Lab, node: Host, victim: Guest) -> None:
    put = "ip link add br-foreign type bridge && ip address add 172.31.0.1/24 dev br-foreign"
    node.run(["sh", "-c", f"{put} && ip link set br-foreign up"])
    node.run(["nft", "-f", "-"], stdin=FOREIGN)
    try:
        before = state(node)
        port = salt.call(node, "corpus_node.open", victim.id, 7000)["node_port"]
        assert from_here(lab, port) == str(lab.settings.gateway)
        salt.call(node, "corpus_node.prepare")
        salt.call(node, "corpus_node.boot")
        made = salt.call(node, "corpus_node.create", size="512M")
        salt.call(node, "corpus_node.destroy", made["id"])
        salt.call(node, "corpus_node.close", victim.id, 7000)
        assert state(node) == before
    finally:
        for family, name in (("inet", "filter"), ("ip", "nat"), ("bridge", "foreign")):
            node.run(["nft", "delete", "table", family, name], check=False)
        node.run(["ip", "link", "delete", "br-foreign"], check=False)
