"""What is sent of a deployment that went live: one call, and what the log and the bus got of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from corpus.model.deployment import Kind, Outcome
from corpus.project import notifications
from corpus.project.log import Log
from corpus.project.notifications import sending
from corpus.project.notifications.status import Status
from sinks import SECRET, Relay

STATUS = Status(
    project="guestbook",
    deployment="20261122T215948-9f2181c4-7d90-44ea-92ef-eacff4319716",
    outcome=Outcome.LIVE,
    kind=Kind.DEPLOY,
    mode="cooking",
    commit="c" * 40,
    branch="refs/heads/master",
    by="guestbook",
    error="",
    ended=1795384793.102,
    seconds=5.4,
    held=0.8,
    previous="b" * 40,
    subject="Add moods",
    platform="staging",
    environment="a1b2",
    environment_name="web-1",
)
TO = ["ann@example.org", "bob@example.org"]


def other(**values: Any) -> Status:
    """Return what is told of another deployment."""
    return Status.parse(STATUS.as_dict() | values)


class Sent:
    """One call of ``send``: how long it took, what the log and the bus got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.seconds = 0.0

    def __call__(
        self,
        relay: Relay | str = "",
        *urls: str,
        status: Status = STATUS,
        fire: sending.Fire | None = None,
        **setting: Any,
    ) -> list[str]:
        notify = notifications.parse(
            {"hooks": [{"url": url, "secret": SECRET} for url in urls], **setting}, "here"
        )
        address = relay if isinstance(relay, str) else relay.address
        began = time.monotonic()
        sending.send(
            notify,
            address,
            status,
            Log(self.folder / "log", self.lines.append),
            fire or (lambda *event: self.events.append(event)),
        )
        self.seconds = time.monotonic() - began
        return self.lines


@pytest.fixture
def send(tmp_path: Path) -> Sent:
    """Return what sends, once."""
    return Sent(tmp_path)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """Make the time for everything short, and return it."""
    monkeypatch.setattr(sending, "LIMIT", 2.0)
    return 2.0
