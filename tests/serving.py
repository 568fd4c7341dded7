"""The deploy service in a child of the test, and a caller of it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpus.project.deployment import MakeRunner
from corpus.project.service import Service
from patience import wait_until
from projects import BRANCH, Scratch, ended, fork


@contextmanager
def serving(scratch: Scratch, make_runner: MakeRunner) -> Iterator[int]:
    """Run the service in a child of ours, and end it with all that it forked."""
    scratch.place.socket.unlink(missing_ok=True)
    ready = scratch.folder / "ready"
    ready.unlink(missing_ok=True)

    def work() -> None:
        os.setsid()
        null = os.open(scratch.folder / "service.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(null, 1)
        os.dup2(null, 2)
        Service(scratch.place, make_runner, scratch.fire).serve(ready.touch)

    pid = fork(work)
    try:
        wait_until(ready.exists)
        yield pid
    finally:
        with ended(pid):
            os.killpg(pid, signal.SIGKILL)


class Caller:
    """A caller of the service, line by line."""

    def __init__(self, scratch: Scratch) -> None:
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.line.settimeout(20)
        self.line.connect(str(scratch.place.socket))
        self.file = self.line.makefile("r")
        self.messages: list[dict[str, Any]] = []

    def ask(self, **request: Any) -> Caller:
        self.line.sendall(json.dumps(request).encode() + b"\n")
        return self

    def until(self, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        for text in self.file:
            message: dict[str, Any] = json.loads(text)
            self.messages.append(message)
            if wanted(message):
                return message
        raise AssertionError(f"the service hung up after {self.messages}")

    def verdict(self) -> dict[str, Any]:
        return self.until(lambda message: "outcome" in message)

    def drop(self) -> None:
        self.file.close()
        self.line.close()

    @property
    def text(self) -> str:
        return "\n".join(m["log"] for m in self.messages if "log" in m)


def push(scratch: Scratch, commit: str, **more: Any) -> Caller:
    return Caller(scratch).ask(project=scratch.project.name, ref=BRANCH, new=commit, **more)


def child_of(service: int) -> int:
    text = Path(f"/proc/{service}/task/{service}/children").read_text().split()
    return int(text[0])
