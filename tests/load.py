"""A steady load over HTTP, bounded in time, whose every request is accounted for."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """A request that was answered by other than 200/201, or not at all; times are monotonic."""

    text: str
    asked: float
    ended: float


@dataclass
class Load:
    """``rate`` requests a second from start to ``finish``, GET and POST in turn.

    ``broken`` are the requests that failed; ``posted`` the texts of the POSTs that were
    answered well, each ``prefix`` and a number; ``waits`` seconds each. ``patience`` is how
    many seconds one waits for its answer.
    """

    port: int
    host_name: str
    rate: float = 100.0
    get: str = "/version"
    post: str = "/entries"
    limit: float = 120.0
    prefix: str = "r"
    patience: float = 80.0
    broken: list[Failure] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._pacer = threading.Thread(target=self._pace)

    @property
    def failures(self) -> list[str]:
        """What went wrong, in words."""
        return [failure.text for failure in self.broken]

    def start(self) -> Load:
        """Begin."""
        self._pacer.start()
        return self

    def finish(self) -> None:
        """Stop sending and wait for the answers under way."""
        self._stop.set()
        self._pacer.join()
        for thread in self._threads:
            thread.join(self.patience + 10)

    def _pace(self) -> None:
        begun = time.monotonic()
        number = 0
        while not self._stop.is_set() and time.monotonic() - begun < self.limit:
            due = begun + number / self.rate
            time.sleep(max(0.0, due - time.monotonic()))
            thread = threading.Thread(target=self._one, args=(number,))
            thread.start()
            self._threads.append(thread)
            number += 1
        self.sent = number

    def _one(self, number: int) -> None:
        asked = time.monotonic()
        body = f"{self.prefix}{number}" if number % 2 else None
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.patience)
        try:
            method, path = ("POST", self.post) if body else ("GET", self.get)
            connection.request(method, path, body=body, headers={"Host": self.host_name})
            answer = connection.getresponse()
            answer.read()
            problem = "" if answer.status in (200, 201) else f"{method} status {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{method} {error!r}"
        finally:
            connection.close()
        ended = time.monotonic()
        with self._lock:
            self.waits.append(ended - asked)
            if problem:
                self.broken.append(Failure(problem, asked, ended))
            elif body:
                self.posted.append(body)
