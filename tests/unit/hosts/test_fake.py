"""The fake host: it keeps the interface and fails where it is told."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import pytest

from corpus.hosts.base import Host
from corpus.hosts.container import Container
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed, NotFound


@pytest.mark.parametrize("kind", [Local, Container, Fake])
@pytest.mark.parametrize("method", ["execute", "put", "get"])
def test_every_host_keeps_the_interface(kind: type[Host], method: str) -> None:
    wanted = inspect.signature(getattr(Host, method))
    assert inspect.signature(getattr(kind, method)) == wanted


def test_it_records_and_succeeds() -> None:
    fake = Fake()
    assert fake.run(["git", "init"]).code == 0
    assert fake.commands == [("git", "init")]


def test_it_fails_once_and_by_name() -> None:
    fake = Fake()
    fake.prepare_failure("mkfs.btrfs", code=7, err="no space")
    fake.run(["truncate", "x"])
    with pytest.raises(CommandFailed, match="no space") as caught:
        fake.run(["mkfs.btrfs", "x"])
    assert caught.value.code == 7
    fake.run(["mkfs.btrfs", "x"])
    assert len(fake.commands) == 3


def test_it_answers() -> None:
    fake = Fake()

    def last(argv: Sequence[str]) -> str:
        return argv[-1]

    fake.answer("git rev-parse", "abc\n")
    fake.answer("echo", last)
    assert fake.run(["git", "rev-parse", "HEAD"]).out == "abc\n"
    assert fake.run(["echo", "x"]).out == "x"
    assert fake.run(["git", "status"]).out == ""


def test_it_keeps_files() -> None:
    fake = Fake()
    fake.put(Path("/a"), b"x", 0o600)
    assert fake.get(Path("/a")) == b"x"
    assert fake.modes == {"/a": 0o600}
    with pytest.raises(NotFound):
        fake.get(Path("/b"))
