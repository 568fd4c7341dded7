"""Relays, web servers, name servers and a bus that are ill take the time for all at most."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import sinks
from corpus.hosts import isolated, kernel
from corpus.project.notifications import sending
from sinks import Web
from sinks import web as web
from unit.project.telling import STATUS, TO, Sent
from unit.project.telling import send as send
from unit.project.telling import soon as soon

HTTP_HEAD = b"HTTP/1.1 200 OK\r\n"
ILL: dict[str, sinks.Talk] = {
    "hangs": sinks.hang,
    "hangs up": sinks.hang_up,
    "drips": sinks.drip,
    "streams": sinks.stream(b""),
    "streams a header": sinks.stream(HTTP_HEAD + b"X: "),
    "goes on and on": sinks.stream(b"HTTP/1.1 100 Go on\r\n\r\n", again=True),
}


@pytest.mark.parametrize("talk", ILL.values(), ids=ILL)
def test_all_that_is_ill_takes_the_time_for_all_at_most(
    send: Sent, soon: float, talk: sinks.Talk, web: Web
) -> None:
    with sinks.listening(talk) as port:
        lines = send(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", web.url, mail=TO)
    assert send.seconds < soon + 8
    assert len(lines) == 3, lines
    assert lines[0].startswith(" !     mail to ann@example.org, bob@example.org was not acc")
    assert lines[1].startswith(f" !     the web hook http://127.0.0.1:{port} did not take it: ")
    assert lines[2] == f"       told {web.url}"
    assert send.events


def test_nobody_listens(send: Sent) -> None:
    with socket.socket() as taken:  # nobody else's server gets that port meanwhile
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        lines = send(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", mail=TO)
    assert len(lines) == 2
    assert all("Connection refused" in line for line in lines)
    assert 1.4 < send.seconds < 8  # the pauses before the second and the third attempt


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and answers as a name server")
def test_a_name_server_that_does_not_answer(send: Sent, soon: float, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.86.74.53\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")

    def work() -> tuple[list[str], float]:
        for name in ("resolv.conf", "nsswitch.conf"):
            kernel.bind_mount(tmp_path / name, Path("/etc") / name)
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.86.74.53", 53))
            lines = send("relay.example.org:25", "http://hooks.example.org", mail=TO)
            assert silent.recv(512), "nobody was asked"
            return lines, send.seconds

    lines, seconds = isolated.run(work)
    assert [line.rpartition(": ")[2] for line in lines] == [f"no answer within {soon:g} s"] * 2
    assert soon <= seconds < soon + 8


def test_an_event(send: Sent) -> None:
    assert send() == []
    assert send.events == [("corpus/deployment/guestbook/live", STATUS.as_dict())]


def raises(*_event: object) -> None:
    raise RuntimeError("no bus\nat all")


def hangs(*_event: object) -> None:
    time.sleep(20)


@pytest.mark.parametrize(
    ("fire", "said"), [(raises, "no bus at all"), (hangs, "no answer within 0.3 s")]
)
def test_a_bus_that_is_ill(
    send: Sent, web: Web, monkeypatch: pytest.MonkeyPatch, fire: Callable[..., None], said: str
) -> None:
    monkeypatch.setattr(sending, "EVENT_LIMIT", 0.3 if fire is hangs else 10.0)
    lines = send("", web.url, fire=fire)
    assert lines == [f" !     no event on Salt's bus: {said}", f"       told {web.url}"]
    assert send.seconds < 8


def test_the_time_for_all_is_ten_seconds() -> None:
    assert (sending.LIMIT, sending.EVENT_LIMIT) == (10.0, 2.0)
