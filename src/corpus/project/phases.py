"""The phases of a project and how one is run.

What compiles and runs a phase is Salt, behind ``PhaseRunner``: this package does not know it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, Protocol

from corpus.hosts import processes
from corpus.model.errors import PhaseTimeout
from corpus.model.mode import Mode
from corpus.project.log import Log

PHASES: Final = (
    "gather_variables",
    "pre_install",
    "configure",
    "build",
    "post_build",
    "bundle",
    "deploy",
    "post_deploy",
    "post_install",
)
EXTRA: Final = ("stop", "start", "backup", "restore", "health", "notify")
BUILD: Final = ("configure", "build", "post_build")
NOT_CALLED: Final = {
    Mode.EDITABLE: ("bundle", "deploy", "backup", "restore"),
    Mode.COOKING: (),
    Mode.FINAL: ("build", "post_build", "bundle"),
}
"""What a mode leaves out: no copies and artifacts in the first, no building in the last."""


def called(mode: Mode) -> list[str]:
    """Return the phases that a deployment in ``mode`` may call, in their order."""
    return [name for name in (*PHASES, *EXTRA) if name not in NOT_CALLED[mode]]


@dataclass(frozen=True)
class Tally:
    """What a phase did: how many states there were, how many changed something."""

    states: int = 0
    changed: int = 0


class PhaseRunner(Protocol):
    """Compile and run the macros of one project during one deployment."""

    def pillar(self) -> Mapping[str, Any]:
        """Return the project's compiled pillar. Raises InvalidInput when it does not compile."""

    def sample(self) -> Mapping[str, Any]:
        """Return ``.salt/PILLAR.sample`` as a mapping. Raises InvalidInput."""

    def overrides(self) -> Mapping[str, Any]:
        """Return the environment's own pillar."""

    def has(self, phase: str) -> bool:
        """Tell whether the project defines the macro. Raises PhaseFailed when it does not parse."""

    def check(self, phase: str, common: dict[str, Any]) -> int:
        """Render and compile a phase without running it; return how many states it has.

        Raises PhaseFailed.
        """

    def run(self, phase: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        """Run a phase; ``common`` is passed by reference. Raises PhaseFailed."""

    def preview(self, phase: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        """Tell what a phase would change, and change nothing. Raises PhaseFailed."""

    def task(self, name: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        """Run a task of the project's, ``.salt/task_<name>.sls``. Raises PhaseFailed."""


def run(runner: PhaseRunner, phase: str, common: dict[str, Any], log: Log) -> None:
    """Run one phase within its time, telling the log; an absent one is passed over.

    Raises PhaseFailed, or PhaseTimeout after ending whatever the phase had started.
    """
    if not runner.has(phase):
        return
    started = time.monotonic()
    log.title(phase)
    with limited(phase, seconds(common, phase)):
        tally = runner.run(phase, common, log.line)
    if tally.states:
        took = time.monotonic() - started
        log.line(f"{tally.states} states, {tally.changed} changed ({took:.1f} s)")


def seconds(common: Mapping[str, Any], phase: str) -> float:
    """Return how long a phase may take."""
    timeouts = common["timeouts"]
    return float(timeouts.get(phase, timeouts.get("default", 600)))


class _Expired(BaseException):
    """The time is up. Not an Exception: Salt, which catches those, must not eat it."""


@contextmanager
def limited(phase: str, limit: float) -> Iterator[None]:
    """Raise PhaseTimeout in the block after ``limit`` seconds and kill what it started.

    The calling process must be the main thread's and a subreaper for the second part.
    """

    def expire(_signal: int, _frame: FrameType | None) -> None:
        # First the children: a wait for one of them is what the block most likely hangs in.
        processes.kill_descendants(os.getpid())
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        raise _Expired

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    except _Expired:
        raise PhaseTimeout(
            f"the phase {phase} ran for more than {limit:g} s and was ended",
            mend=f"make it faster, or set timeouts: {{{phase}: SECONDS}}",
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
