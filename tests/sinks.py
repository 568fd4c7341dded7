"""A mail relay and a web server that remember what they got, or misbehave as they are told.

A module takes part with ``from sinks import relay as relay`` and ``from sinks import web as web``.
"""

from __future__ import annotations

import contextlib
import email
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

import pytest

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # what is posted may be signed with it
Talk = Callable[[socket.socket], None]


@contextmanager
def listening(talk: Talk, host: str = "127.0.0.1") -> Iterator[int]:
    """Accept connections on a port of ``host`` and ``talk`` on each; give the port."""
    with socket.create_server((host, 0)) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def one(line: socket.socket) -> None:
            with line, contextlib.suppress(OSError):
                line.settimeout(20)
                talk(line)

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    threading.Thread(target=one, args=[server.accept()[0]], daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


def hang(_line: socket.socket) -> None:
    """Accept, and never say a word."""
    time.sleep(20)


def hang_up(_line: socket.socket) -> None:
    """Accept, and close at once."""


def drip(line: socket.socket) -> None:
    """Send a byte now and then, so that no single wait is long."""
    while True:
        line.sendall(b"2")
        time.sleep(0.05)


def stream(head: bytes, *, again: bool = False) -> Talk:
    """Return what answers with ``head`` and then sends for ever, or ``head`` ``again``."""

    def talk(line: socket.socket) -> None:
        line.recv(65536)
        line.sendall(head)
        while True:
            line.sendall(head * 1000 if again else b"x" * 65536)

    return talk


@dataclass
class Relay:
    """A mail relay: the letters that it took, each with its envelope.

    ``answers`` are replies of other kinds than 250, by the beginning of the command;
    at a command in ``silent`` it falls silent.
    """

    answers: dict[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    letters: list[Message] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    helo: str = ""
    host: str = "127.0.0.1"
    port: int = 0

    @contextmanager
    def running(self) -> Iterator[Relay]:
        with listening(self._talk, self.host) as self.port:
            yield self

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def _talk(self, line: socket.socket) -> None:
        file = line.makefile("rb")
        sender, receivers = "", []
        line.sendall(b"220 relay.example.org\r\n")
        for command in iter(file.readline, b""):
            said = command.decode().strip()
            if said.startswith(self.silent):
                time.sleep(20)
            answer = next((a for c, a in self.answers.items() if said.startswith(c)), "250 fine")
            if said == "data" and answer == "250 fine":
                line.sendall(b"354 go on\r\n")
                body = b"".join(iter(file.readline, b".\r\n"))
                self.letters.append(email.message_from_bytes(body.replace(b"\r\n..", b"\r\n.")))
                self.envelopes.append((sender, receivers))
                answer = self.answers.get(".", "250 taken")
            elif said.startswith("ehlo"):
                self.helo = said.split()[1]
            elif answer.startswith("250") and said.startswith("mail FROM:"):
                sender, receivers = said[10:].split()[0].strip("<>"), []
            elif answer.startswith("250") and said.startswith("rcpt TO:"):
                receivers.append(said[8:].strip("<>"))
            line.sendall(f"{answer}\r\n".encode())


@dataclass
class Web:
    """A web server: what was posted to it. ``answers`` are its statuses in order, then 204."""

    answers: list[int] = field(default_factory=list)
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 0

    @contextmanager
    def running(self) -> Iterator[Web]:
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                given = {name.lower(): value for name, value in self.headers.items()}
                web.posts.append((self.path, given, body))
                self.send_response(web.answers.pop(0) if web.answers else 204)
                self.send_header("Location", f"{web.url}/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        with http.server.ThreadingHTTPServer((self.host, 0), Handler) as server:
            self.port = server.server_port
            thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def told(self) -> list[dict[str, Any]]:
        """The content of each post."""
        return [json.loads(body) for _path, _headers, body in self.posts]


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Return a relay that takes every letter."""
    with Relay().running() as running:
        yield running


@pytest.fixture
def web() -> Iterator[Web]:
    """Return a web server that takes every post."""
    with Web().running() as running:
        yield running
