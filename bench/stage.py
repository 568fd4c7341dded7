"""What every measure stands on: a lab of its own, environments, a developer, a visitor."""

from __future__ import annotations

import http.client
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from corpus.hosts.base import Host
from corpus.lab import tenant
from corpus.lab.machine import Lab, assert_clean
from corpus.lab.settings import settings_for
from corpus.lab.tenant import Developer, Environment

NAME = "bench"
EXAMPLES = Path("examples")
INSIDE = Path(__file__).with_name("inside")
PYTHON = "/opt/corpus/bin/python"  # of the images
_BESIDE = PurePosixPath("/run/corpus-bench")  # on a host
_PAUSE = 0.0025  # seconds between two requests of the visitor


class Stage:
    """The lab ``bench`` while it is up."""

    def __init__(self) -> None:
        self.lab = Lab(NAME, settings_for(NAME), say=say)
        self.folder = self.lab.paths.root / "bench"

    def open(self) -> None:
        """Make the lab, or complete what a former run kept."""
        self.lab.up()
        tenant.prepare(self.lab)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.developer = Developer(self.folder)

    def close(self, *, keep: bool) -> None:
        """Remove the lab and look that nothing is left, unless it is kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if keep:
            say(f"the lab is kept; remove it: corpus-lab down --lab {NAME}")
            return
        self.lab.down()
        assert_clean(NAME, self.lab.settings)

    @contextmanager
    def environment(self, **settings: Any) -> Iterator[Environment]:
        """Make an environment for one measure and remove it afterwards."""
        made = Environment.create(self.lab, **{"platform": "staging", "size": "10G", **settings})
        try:
            yield made
        finally:
            made.destroy()


def script(
    host: Host,
    name: str,
    *words: str,
    python: str = PYTHON,
    timeout: float = 300,
    beside: Sequence[str] = (),
) -> str:
    """Run a program of ``bench/inside`` on a host and return what it prints.

    It may import the programs ``beside`` it.
    """
    for other in beside:
        host.put(_BESIDE / f"{other}.py", (INSIDE / f"{other}.py").read_bytes())
    text, env = (INSIDE / f"{name}.py").read_text(), {"PYTHONPATH": str(_BESIDE)}
    return host.run([python, "-", *words], stdin=text, timeout=timeout, env=env).out


def say(text: str) -> None:
    """Tell whoever waits what goes on."""
    print(f"  {text}", flush=True)


class Visitor:
    """Asks for a page through the proxy, again and again, until it says ``wanted``.

    ``seen`` is when the first answer that says it had come whole (time.perf_counter), or 0.
    """

    def __init__(self, port: int, host_name: str, path: str, wanted: str) -> None:
        self._port = port
        self._headers = {"Host": host_name}
        self._path = path
        self._wanted = wanted.encode()
        self.seen = 0.0
        self._asking = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def start(self) -> None:
        """Begin, and return once the first answer is there."""
        self._thread.start()
        self._asking.wait(30)

    def wait(self, seconds: float) -> float:
        """Return when it was seen; raises AssertionError when that is not within ``seconds``."""
        self._thread.join(seconds)
        assert self.seen, f"{self._headers['Host']}{self._path} never said {self._wanted!r}"
        return self.seen

    def _ask(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=90)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                line.request("GET", self._path, headers=self._headers)
                body = line.getresponse().read()
            except (OSError, http.client.HTTPException):
                line.close()
                body = b""
            if self._wanted in body:
                self.seen = time.perf_counter()
                line.close()
                return
            self._asking.set()
            time.sleep(_PAUSE)


def load_average() -> float:
    """Return how many processes wanted a CPU during the last minute, on average."""
    return os.getloadavg()[0]
