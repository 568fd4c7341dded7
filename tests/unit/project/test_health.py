"""The health gate against a server that is late, wrong, or speaks no HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import PhaseFailed
from corpus.project import health
from corpus.project.place import Project
from projects import place_at

GOOD = b"HTTP/1.0 200 OK\r\n\r\nhello"


@contextmanager
def server(*answers: bytes) -> Iterator[str]:
    """Give each answer once, the last one for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = list(answers)

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    line.recv(4096)
                    line.sendall(left.pop(0) if len(left) > 1 else left[0])

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.at(place_at(tmp_path, Fake()), "demo")


@pytest.mark.parametrize(
    ("answer", "check", "said"),
    [
        (GOOD, {}, None),
        (GOOD, {"contains": "hello"}, None),
        (GOOD, {"contains": "bye"}, "the answer does not contain 'bye'"),
        (GOOD, {"status": 204}, "status 200 instead of 204"),
        (b"HTTP/1.0 500 Oops\r\n\r\n", {}, "status 500 instead of 200"),
        (b"HTTP/1.0 404 No\r\n\r\nhello", {"status": 404, "contains": "hello"}, None),
    ],
)
def test_one_check(answer: bytes, check: dict[str, object], said: str | None) -> None:
    with server(answer) as url:
        assert health.probe({"url": url, **check}, 5) == said


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1"])
def test_what_is_no_answer_is_a_reason_not_an_error(answer: bytes) -> None:
    with server(answer) as url:
        assert health.probe({"url": url}, 5)


def test_nobody_listens() -> None:
    with server(GOOD) as url:
        pass
    assert "refused" in (health.probe({"url": url}, 1) or "")


def test_a_service_that_warms_up_is_waited_for(project: Project) -> None:
    with server(b"garbage", b"HTTP/1.0 503 Wait\r\n\r\n", b"", GOOD) as url:
        health.gate(project, [], [{"url": url, "timeout": 5}])


def test_one_that_never_gets_well(project: Project) -> None:
    with (
        server(b"HTTP/1.0 503 Wait\r\n\r\n") as url,
        pytest.raises(PhaseFailed, match=r"failed for 2 s: status 503 instead of 200") as caught,
    ):
        health.gate(project, ["demo.service"], [{"url": url, "timeout": 2}])
    assert "not active: demo.service (unknown)" in str(caught.value)
    assert caught.value.where == url


def test_a_unit_that_is_not_active(project: Project) -> None:
    with pytest.raises(PhaseFailed, match=r"not active: demo\.service \(unknown\)"):
        health.gate(project, ["demo.service"], [])
