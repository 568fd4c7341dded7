"""Root of an environment who means ill: scripts that run inside, frames as they please, ears.

An attack tells how it ended: the name of the error that refused it, or ``DONE``. What is not
refused by the system (a slip in the script) fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

import guests
from corpus.hosts.base import Host
from patience import wait_until

PORT = 9  # where the ears listen: discard
HEARD = "/run/heard"

TRY = """
import ctypes, errno, fcntl, os, resource, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    function = getattr(libc, name)
    function.restype = ctypes.c_long if name == "syscall" else ctypes.c_int
    done = function(*arguments)
    if done == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done

def system(number, *arguments):
    return call("syscall", ctypes.c_long(number), *arguments)

def mount(what, where, kind, flags=0, data=None):
    os.makedirs(where, exist_ok=True)
    text = [None if t is None else t.encode() for t in (what, where, kind)]
    return call("mount", *text, ctypes.c_ulong(flags), data and data.encode())

def write(path, text):
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)

def read(path):
    with open(path, "rb", 0) as file:
        return file.read(64)

def attempt(name, function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        print(name, errno.errorcode[error.errno], flush=True)
    else:
        print(name, "DONE", flush=True)
"""

FRAMES = """
import socket, struct, time
ALL = "ff:ff:ff:ff:ff:ff"

def mac(text):
    return bytes.fromhex(text.replace(":", ""))

MINE = open("/sys/class/net/eth0/address").read().strip()
LINE = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
LINE.bind(("eth0", 0))

def send(to, source, kind, data, tags=b""):
    frame = mac(to) + mac(source) + tags + struct.pack("!H", kind) + data
    for _ in range(2):
        LINE.send(frame.ljust(60, b"\\0"))

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def ip4(source, to, text, options=b"", port=9):
    data = struct.pack("!4H", 4444, port, 8 + len(text), 0) + text
    head = bytearray(struct.pack(
        "!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(data), 1, 0, 64, 17,
        0, socket.inet_aton(source), socket.inet_aton(to)))
    head += options
    head[10:12] = struct.pack("!H", checksum(bytes(head)))
    return bytes(head) + data

def ip6(source, to, protocol, data):
    a, b = (socket.inet_pton(socket.AF_INET6, x) for x in (source, to))
    pseudo = a + b + struct.pack("!II", len(data), protocol) + data
    at = 6 if protocol == 17 else 2
    data = bytearray(data)
    data[at:at + 2] = struct.pack("!H", checksum(pseudo + b"\\0" * (len(pseudo) % 2)))
    return struct.pack("!IHBB", 6 << 28, len(data), protocol, 255) + a + b + bytes(data)

def udp6(source, to, text):
    return ip6(source, to, 17, struct.pack("!4H", 4444, 9, 8 + len(text), 0) + text)

def arp(op, sender, sender_ip, target, target_ip):
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, op) + mac(sender) + \\
        socket.inet_aton(sender_ip) + mac(target) + socket.inet_aton(target_ip)
"""

# Writes down each «attack:NAME» that it hears: all frames of eth0, or what reaches a port.
EAR = """
import re, select, socket, sys
if sys.argv[1] == "frames":
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    line.bind(("eth0", 0))
else:
    line = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    line.bind(("::", int(sys.argv[2])))
with open("/run/heard", "w", 1) as out:
    out.write("listening\\n")
    while True:
        for name in re.findall(rb"attack:([a-z0-9-]+)", line.recv(65535)):
            out.write(name.decode() + "\\n")
"""


class Guest(guests.Guest):
    """An environment whose root means ill."""

    def __init__(self, node: Host, made: Mapping[str, Any]) -> None:
        super().__init__(node, made)
        self.interface = f"cenv{self.id.replace('-', '')[:11]}"

    @property
    def mac(self) -> str:
        """Its hardware address."""
        return self.inside.run(["cat", "/sys/class/net/eth0/address"]).out.strip()

    def attempts(self, script: str) -> dict[str, str]:
        """Run attempts; return how each ended."""
        lines = self.python(TRY + script).splitlines()
        return dict(line.split(" ", 1) for line in lines)  # type: ignore[misc]


@pytest.fixture(scope="module")
def attacker(node: Host) -> Iterator[Guest]:
    """Return a small environment to attack from; a module with ``node`` takes it by its name."""
    with guests.lent(node, size="256M", memory="300M", pids=300) as made:
        yield Guest(node, made)


@contextmanager
def ear(host: Host, *how: str) -> Iterator[None]:
    """Listen on a machine; ``heard`` tells what was heard."""
    host.run(["rm", "-f", HEARD])
    unit = "ear-of-the-test"
    argv = ["systemd-run", "--quiet", "--collect", f"--unit={unit}", "python3", "-c", EAR, *how]
    host.run(argv)
    try:
        wait_for(host)
        yield
    finally:
        host.run(["systemctl", "stop", unit], check=False)
        host.run(["rm", "-f", HEARD])


def wait_for(host: Host, name: str = "listening") -> None:
    """Wait until something was heard."""
    wait_until(lambda: name in heard(host), told=lambda: name)


def heard(host: Host) -> set[str]:
    """Return what a machine's ear heard so far."""
    return set(host.run(["cat", HEARD], check=False).out.split())
