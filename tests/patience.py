"""Waiting until something holds, and how long work takes, on a machine that has other work, too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
OFTEN, SELDOM = 0.005, 0.05  # seconds from one look to the next: asking may itself be the load


def wait_until(
    fact: Callable[[], Value],
    patience: float = 30,
    *,
    despite: type[Exception] | tuple[type[Exception], ...] = (),
    told: Callable[[], object] = str,
) -> Value:
    """Return what ``fact`` gives once it holds; fail past ``patience`` seconds, as ``told``.

    An error of a kind ``despite`` which it may hold yet is as good as a no. The last look begins
    past the time, however little of it the machine gave us.
    """
    deadline, pause = time.monotonic() + patience, OFTEN
    while True:
        late = time.monotonic() > deadline
        try:
            if found := fact():
                return found
        except despite:
            if late:
                raise
        assert not late, f"it did not happen within {patience:g} s {told()}".strip()
        time.sleep(pause)
        pause = min(2 * pause, SELDOM)


def quickest(work: Callable[[], object], rounds: int = 5) -> float:
    """Return the seconds of the quickest of some ``rounds``: what the work itself takes."""
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)
