"""Connections that the kernel follows are forgotten: what comes next goes where the rules say.

Rules of NAT are asked once for each connection. One of UDP that was led somewhere is led there as
long as it lasts, whatever has become of that place.

Source: the kernel's include/uapi/linux/netfilter/nfnetlink_conntrack.h; the filter is of 5.8.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address

_NETFILTER = 12  # the family of netlink
_GET, _DELETE = 0x101, 0x102  # subsystem conntrack
_REQUEST, _DUMP = 1, 0x300
_ERROR, _DONE = 2, 3
_ORIGINAL, _REPLY, _ID, _FILTER = 1, 2, 12, 25
_IP, _PROTO, _SOURCE = 1, 2, 1
_NUMBER, _PORT = 1, 3
_NESTED = 0x8000
_REPLY_FLAGS, _BY_SOURCE = 2, 1
_PATIENCE = 5.0

Port = tuple[int, int]
"""The number of a protocol, and of a port."""


def forget(address: str, ports: Collection[Port] | None = None) -> int:
    """Forget the connections that ``address`` answers; return how many that were.

    With ``ports`` those alone that were begun to one of them, before NAT. Raises OSError where the
    kernel cannot tell.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as it:
        it.settimeout(_PATIENCE)
        found = [
            attributes
            for attributes in _listed(it, address)
            if ports is None or _begun(attributes) in ports
        ]
        for attributes in found:
            wanted = {kind: attributes[kind] for kind in (_ORIGINAL, _ID) if kind in attributes}
            content = b"".join(_attribute(kind, data) for kind, data in wanted.items())
            it.send(_message(_DELETE, _REQUEST, content))
    return len(found)


def _listed(line: socket.socket, address: str) -> Iterator[dict[int, bytes]]:
    source = _attribute(_IP | _NESTED, _attribute(_SOURCE, IPv4Address(address).packed))
    flags = _attribute(_REPLY_FLAGS, struct.pack("=I", _BY_SOURCE))
    content = _attribute(_REPLY | _NESTED, source) + _attribute(_FILTER | _NESTED, flags)
    line.send(_message(_GET, _REQUEST | _DUMP, content))
    while True:
        data = line.recv(1 << 18)
        while len(data) >= 16:
            size, kind = struct.unpack_from("=IH", data)
            if kind == _DONE:
                return
            if kind == _ERROR:
                number = -struct.unpack_from("=i", data, 16)[0]
                raise OSError(number, os.strerror(number))
            yield _attributes(data[20:size])
            data = data[(size + 3) & ~3 :]


def _begun(attributes: dict[int, bytes]) -> Port | None:
    proto = _attributes(_attributes(attributes[_ORIGINAL]).get(_PROTO, b""))
    if _NUMBER not in proto or _PORT not in proto:
        return None
    return proto[_NUMBER][0], int.from_bytes(proto[_PORT], "big")


def _message(kind: int, flags: int, content: bytes) -> bytes:
    family = struct.pack("=BBH", socket.AF_INET, 0, 0)
    return struct.pack("=IHHII", 20 + len(content), kind, flags, 1, 0) + family + content


def _attribute(kind: int, content: bytes) -> bytes:
    size = 4 + len(content)
    return struct.pack("=HH", size, kind) + content + bytes(-size % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4:
            break
        found[kind & ~_NESTED] = data[4:size]
        data = data[(size + 3) & ~3 :]
    return found
