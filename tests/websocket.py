"""A client that opens a websocket over HTTP/1.1 (RFC 6455) or HTTP/2 (RFC 8441), and echoes.

What is echoed are bytes: what frames of websockets hold is nobody's concern here.
"""

from __future__ import annotations

import socket
import ssl
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_CONNECT_PROTOCOL = 8  # of the settings
_STATUS_200 = 0x88  # of HPACK's static table


def connect(address: str, port: int, host: str, protocol: str = "http/1.1") -> ssl.SSLSocket:
    """Return a TLS connection for ``host`` that speaks ``protocol``; whoever answers is fine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    line = socket.create_connection((address, port), 10)
    wrapped = context.wrap_socket(line, server_hostname=host)
    assert wrapped.selected_alpn_protocol() == protocol
    return wrapped


class Http1:
    """One websocket over HTTP/1.1."""

    def __init__(self, address: str, port: int, host: str) -> None:
        self.line = connect(address, port, host)
        self.line.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        self.file = self.line.makefile("rb")
        self.status = self.file.readline().split()[1].decode()
        while self.file.readline().strip():
            pass

    def echo(self, data: bytes) -> bytes:
        """Send and return as much."""
        self.line.sendall(data)
        return self.file.read(len(data))

    def close(self) -> None:
        """End it."""
        self.file.close()
        self.line.close()


class Http2:
    """One websocket over a stream of HTTP/2."""

    def __init__(self, address: str, port: int, host: str) -> None:
        self.line = connect(address, port, host, "h2")
        self.file = self.line.makefile("rb")
        self.line.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
        settings = self._next(_SETTINGS)
        pairs = dict(struct.iter_unpack("!HI", settings))
        assert pairs.get(_CONNECT_PROTOCOL) == 1, pairs
        fields = {
            ":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":path": "/ws",
            ":authority": host, "sec-websocket-version": "13",
        }  # fmt: skip
        block = b"".join(_literal(name, value) for name, value in fields.items())
        self.line.sendall(_frame(_SETTINGS, 1, 0, b"") + _frame(_HEADERS, 4, 1, block))
        self.status = "200" if self._next(_HEADERS)[0] == _STATUS_200 else "other"

    def _next(self, wanted: int) -> bytes:
        while True:
            head = self.file.read(9)
            assert len(head) == 9, "the connection was closed"
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            payload = self.file.read(length)
            if kind == wanted and not (kind == _SETTINGS and flags & 1):
                return payload

    def echo(self, data: bytes) -> bytes:
        """Send and return as much."""
        self.line.sendall(_frame(_DATA, 0, 1, data))
        found = b""
        while len(found) < len(data):
            found += self._next(_DATA)
        return found

    def close(self) -> None:
        """End it."""
        self.file.close()
        self.line.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack("!I", stream) + payload
    )


def _literal(name: str, value: str) -> bytes:
    """Return a header field as HPACK writes it without index and without Huffman's code."""
    return bytes((0, len(name))) + name.encode() + bytes((len(value),)) + value.encode()
