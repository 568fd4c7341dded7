"""The setting ``notify``: what is accepted, and that no secret of it is shown."""

from __future__ import annotations

import base64
import stat
from typing import Any

import pytest

from corpus.model.errors import InvalidInput
from corpus.project import configuration, notifications
from corpus.project.notifications import settings
from corpus.project.notifications.settings import MOST_ADDRESSES, MOST_HOOKS
from projects import Scratch
from sinks import SECRET

HOOK = {"url": "https://hooks.example.org/T1/X?y=1", "secret": SECRET}


def parse(**content: Any) -> notifications.Notify:
    return notifications.parse(content, "here")


def test_nothing_is_nobody() -> None:
    assert parse() == notifications.Notify()


def test_what_is_accepted() -> None:
    mail = ["ann@example.org", "o'hara+x@mail", "ann@example.org"]
    found = parse(mail=mail, hooks=[HOOK], **{"from": "paas@example.org"})
    assert found.mail == ("ann@example.org", "o'hara+x@mail")
    assert found.sender == "paas@example.org"
    assert found.hooks[0].shown == "https://hooks.example.org"
    assert found.hooks[0].key == base64.b64decode(SECRET.removeprefix("whsec_"))


@pytest.mark.parametrize(
    "address",
    [
        "ann",
        "ann@",
        "@example.org",
        "ann@example.org\r\nBcc: eve@example.org",
        "ann@example.org\n",
        "Ann <ann@example.org>",
        "ann@example.org,eve@example.org",
        "ann eve@example.org",
        '"a"@example.org',
        "ann@[127.0.0.1]",
        "ann@exa_mple.org",
        "ann@-x.org",
        "ann.@example.org",
        "änn@example.org",
        "ann@exämple.org",
        "a" * 65 + "@example.org",
        "ann@" + "x." * 130 + "org",
        "ann@example.org\0",
        None,
        7,
        ["ann@example.org"],
    ],
)
def test_no_address(address: Any) -> None:
    for content in ({"mail": [address]}, {"from": address} if address else {"mail": "x"}):
        with pytest.raises(InvalidInput, match=r"notify\.(mail|from)"):
            parse(**content)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "//example.org",
        "example.org",
        "http://",
        "http://:80/",
        "https://ann:word@example.org/",
        "https://@example.org/",
        "https://example.org/#x",
        "https://example.org:0/",
        "https://example.org:70000/",
        "https://example.org:x/",
        "https://exa mple.org/",
        "https://example.org/a b",
        "https://example.org/a\r\nHost: x",
        "https://example.org\\@evil.org/",
        "https://exämple.org/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://example.org/" + "x" * 2000,
        None,
        7,
    ],
)
def test_no_web_address(url: Any) -> None:
    with pytest.raises(InvalidInput, match=r"notify\.hooks\.url"):
        parse(hooks=[{"url": url, "secret": SECRET}])


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://[::1]:1/x", "http://a-b/?c=d"])
def test_web_addresses(url: str) -> None:
    assert parse(hooks=[{"url": url, "secret": SECRET}]).hooks[0].url == url


def coded(count: int) -> str:
    return base64.b64encode(b"x" * count).decode()


@pytest.mark.parametrize(
    "secret", ["", "hunter2hunter2", coded(23), coded(65), "whsec_" + "é" * 32, None, 7, b"x"]
)
def test_no_secret(secret: Any) -> None:
    with pytest.raises(InvalidInput, match=r"notify\.hooks\.secret") as refused:
        parse(hooks=[{"url": "https://example.org", "secret": secret}])
    if secret:
        assert str(secret) not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        [],
        "ann@example.org",
        {"mails": []},
        {"mail": "ann@example.org"},
        {"mail": ["a@b.c"] * (MOST_ADDRESSES + 1)},
        {"hooks": HOOK},
        {"hooks": [HOOK] * (MOST_HOOKS + 1)},
        {"hooks": ["https://example.org"]},
        {"hooks": [{"url": "https://example.org"}]},
        {"hooks": [HOOK | {"method": "GET"}]},
    ],
)
def test_other_shapes(content: Any) -> None:
    with pytest.raises(InvalidInput, match="notify"):
        notifications.parse(content, "here")
    with pytest.raises(InvalidInput, match="notify"):
        configuration.configure("demo", [("x", {"makina-projects.demo": {"notify": content}})])


def test_secrets_are_not_shown() -> None:
    found = parse(hooks=[HOOK])
    bare = SECRET.removeprefix("whsec_")
    assert bare not in f"{found} {found!r} {found.hooks[0]}"
    configured = configuration.configure(
        "demo", [("x", {"makina-projects.demo": {"notify": {"hooks": [HOOK]}}})]
    )
    masked = configuration.mask(configured, configuration.secrets_of(configured))
    assert bare not in str(masked)
    assert "hooks.example.org" in str(masked)


def test_kept_for_root_alone(scratch: Scratch) -> None:
    path = scratch.paths.notify
    notifications.keep(scratch.project, {"mail": ["ann@example.org"], "hooks": [HOOK]})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert settings.kept(scratch.project).hooks[0].secret.reveal() == SECRET
    notifications.keep(scratch.project, {"mail": []})
    assert not path.exists()
    assert settings.kept(scratch.project) == notifications.Notify()


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"mail": [1]}'])
def test_one_that_was_damaged(scratch: Scratch, content: bytes) -> None:
    scratch.paths.notify.write_bytes(content)
    with pytest.raises(InvalidInput):
        settings.kept(scratch.project)
