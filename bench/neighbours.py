"""What visitors of an environment feel of a bomb next door, beside plain load of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from tests.bombs import BOMBS, NAME, SECONDS, SERVER, p99, script

from bench.figures import Figure, median, of
from bench.stage import Stage, say
from corpus.lab.tenant import Environment

_TIMES = 3.0  # of the reference
_LIMITS = {"size": "1G", "memory": "600M", "pids": 600}  # so that bombs end in time
_LOOP = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    pass
"""


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Measure in quiet, with as many busy loops as there are CPUs, and with each bomb."""
    port = stage.lab.http_port
    with _served(stage), stage.environment(**_LIMITS) as loud:
        quiet, busy = [], []
        found: dict[str, list[float]] = {kind: [] for kind in BOMBS}
        for run in range(runs):
            say(f"run {run + 1}: in quiet, beside busy loops, beside bombs")
            quiet.append(p99(port))
            with _busy():
                busy.append(p99(port))
            for kind, times in found.items():
                with _bomb(loud, kind):
                    times.append(p99(port))
    return figures(quiet, busy, found)


def figures(quiet: list[float], busy: list[float], found: dict[str, list[float]]) -> list[Figure]:
    """Return the figures of what was measured."""
    floor, goal = median(busy), f"<= {_TIMES:g} x the reference"
    return [
        of("neighbours.quiet.p99", quiet),
        *(
            of(f"neighbours.{kind}.p99", times, reference="busy loops, no environment's",
               reference_value=floor, goal=goal, met=median(times) <= _TIMES * floor)
            for kind, times in found.items()
        ),
    ]  # fmt: skip


@contextmanager
def _served(stage: Stage) -> Iterator[None]:
    """Have an environment that answers at once."""
    with stage.environment(size="1G") as made:
        made.host.put(PurePosixPath("/srv/server.py"), SERVER.encode())
        made.host.run(["systemd-run", "--quiet", "--unit=server", "python3", "/srv/server.py"])
        made.route(NAME, 8000)
        time.sleep(2)
        yield


@contextmanager
def _busy() -> Iterator[None]:
    argv = [sys.executable, "-c", _LOOP, str(SECONDS)]
    loops = [subprocess.Popen(argv) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(1)
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def _bomb(loud: Environment, kind: str) -> Iterator[None]:
    begun = time.monotonic()
    loud.host.put(PurePosixPath("/run/bomb.py"), script(kind).encode())
    loud.host.run(["systemd-run", "--quiet", "--collect", "python3", "/run/bomb.py"])
    time.sleep(1)
    yield
    time.sleep(max(SECONDS + 2 - (time.monotonic() - begun), 0))
