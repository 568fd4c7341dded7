"""Web hooks: what is posted, signed as it is documented, and servers that do not take it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

import sinks
from corpus.project import notifications
from corpus.project.notifications import hooks
from sinks import SECRET, Web
from sinks import web as web
from unit.project.telling import STATUS, Sent
from unit.project.telling import send as send
from unit.project.telling import soon as soon

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_a_post(send: Sent, web: Web) -> None:
    assert send("", f"{web.url}/T1/X?y=1") == [f"       told {web.url}"]
    ((path, headers, _body),) = web.posts
    assert path == "/T1/X?y=1"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == f"{STATUS.deployment}-live"
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 30
    (told,) = web.told
    assert told["type"] == "deployment.live"
    assert told["timestamp"] == "2026-11-22T21:59:53.102Z"
    assert told["data"] == STATUS.as_dict()


def test_the_documented_way_to_verify(send: Sent, web: Web) -> None:
    page = (DOCS / "reference/notifications.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    send("", web.url)
    ((_path, headers, body),) = web.posts
    assert names["is_ours"](SECRET, headers, body)
    assert not names["is_ours"](SECRET, headers, body + b" ")
    assert not names["is_ours"](SECRET.replace("M", "N"), headers, body)
    assert not names["is_ours"](SECRET, headers | {"webhook-timestamp": "1"}, body)


def test_the_signature_of_the_specification() -> None:
    """The example that the specification's own libraries test with."""
    hook = notifications.parse({"hooks": [{"url": "http://x", "secret": SECRET}]}, "").hooks[0]
    given = hooks.headers(hook, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert given["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_documented_keys() -> None:
    page = (DOCS / "reference/notifications.md").read_text()
    table = page.partition("\n## The status\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row)} == set(STATUS.as_dict())


def test_another_attempt(send: Sent) -> None:
    with Web([503, 500]).running() as web:
        assert send("", web.url) == [f"       told {web.url}"]
    assert len({headers["webhook-id"] for _, headers, _ in web.posts}) == 1
    assert len(web.posts) == 3
    assert 1.4 < send.seconds < 8


@pytest.mark.parametrize(
    ("answers", "posts", "said"),
    [
        ([404], 1, "it answered 404"),
        ([401, 204], 1, "it answered 401"),
        ([302], 1, "it answered 302, and redirects are not followed"),
        ([500, 502, 503], 3, "it answered 503"),
    ],
)
def test_a_server_that_does_not_want_it(
    send: Sent, answers: list[int], posts: int, said: str
) -> None:
    with Web(answers).running() as web:
        (line,) = send("", f"{web.url}/secret-path")
    assert line == f" !     the web hook {web.url} did not take it: {said}"
    assert len(web.posts) == posts


def test_no_proxy_of_the_environment(send: Sent, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send("", web.url) == [f"       told {web.url}"]


def test_a_body_without_end_is_not_read(send: Sent) -> None:
    with sinks.listening(sinks.stream(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        assert send("", f"http://127.0.0.1:{port}") == [f"       told http://127.0.0.1:{port}"]
    assert send.seconds < 8


def test_a_certificate_of_nobody_known(send: Sent, soon: float) -> None:
    with sinks.listening(sinks.stream(b"no TLS at all")) as port:
        (line,) = send("", f"https://127.0.0.1:{port}")
    assert "did not take it" in line
