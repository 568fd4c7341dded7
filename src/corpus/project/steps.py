"""The steps of a cooking deployment, each with its undoing beside it.

Every undo may be called after a crash in the middle of its step, and twice: it looks at
what is there (labels of directories, not memory) and ends right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from corpus.project import preparing, window
from corpus.project.work import Work


@dataclass(frozen=True)
class Step:
    """One step: its name in the journal, how to do it, how to undo it.

    ``undo_once``: the step after whose beginning undoing makes sense; the step's own by default.
    """

    name: str
    do: Callable[[Work], None]
    undo: Callable[[Work], None] | None = None
    undo_once: str = ""


COOKING = (
    Step("checkout", preparing.check_out, preparing.undo_check_out),
    Step("preflight", preparing.preflight),
    Step("build", preparing.build, preparing.undo_build),
    Step("bundle", preparing.bundle, preparing.undo_bundle),
    Step("hold", window.hold, window.resume),
    Step("data", window.back_up_data, window.restore_data),
    Step("dump", window.dump, window.reload_dumps, undo_once="start"),
    Step("swap", window.swap, window.swap_back),
    Step("start", window.start, window.stop_failed),
    Step("health", window.check_health),
)

HELD = frozenset({"hold", "data", "dump", "swap", "start"})
"""The steps whose undoing ends with traffic let in again."""


def plan(common: dict[str, object]) -> tuple[Step, ...]:
    """Return the steps after ``checkout`` and ``preflight`` in the order that the project asks.

    ``stop_before: build`` is the RFC's literal order: the services stop before the build.
    """
    rest = list(COOKING[2:])
    if common.get("stop_before") == "build":
        held = next(step for step in rest if step.name == "hold")
        rest.remove(held)
        rest.insert(0, held)
    return tuple(rest)
