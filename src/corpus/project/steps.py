"""The steps of a deployment in each mode, each with its undoing beside it.

Every undo may be called after a crash in the middle of its step, and twice: it looks at
what is there (labels of directories, not memory) and ends right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from corpus.model.deployment import Kind
from corpus.model.mode import Mode
from corpus.project import editable, preparing, taking, window
from corpus.project.work import Work


@dataclass(frozen=True)
class Step:
    """One step: its name in the journal, how to do it, how to undo it.

    ``undo_once``: the steps after the beginning of one of which undoing makes sense; the
    step's own by default.
    """

    name: str
    do: Callable[[Work], None]
    undo: Callable[[Work], None] | None = None
    undo_once: tuple[str, ...] = ()


CHECKOUT = Step("checkout", preparing.check_out, preparing.undo_check_out)
PREFLIGHT = Step("preflight", preparing.preflight)
BUILD = Step("build", preparing.build, preparing.undo_build)
BUNDLE = Step("bundle", preparing.bundle, preparing.undo_bundle)
FETCH = Step("fetch", taking.fetch)
UNPACK = Step("unpack", taking.unpack, taking.undo_unpack)
TAKE = Step("take", taking.take, taking.undo_unpack)
HOLD = Step("hold", window.hold, window.resume)
DATA = Step("data", window.back_up_data, window.restore_data)
DUMP = Step("dump", window.dump, window.reload_dumps, undo_once=("revert", "start"))
BIND = Step("bind", editable.bind, editable.undo_bind)
SWAP = Step("swap", window.swap, window.swap_back)
REVERT = Step("revert", taking.revert)
START = Step("start", window.start, window.stop_failed)
HEALTH = Step("health", window.check_health)

COOKING = (CHECKOUT, PREFLIGHT, BUILD, BUNDLE, HOLD, DATA, DUMP, SWAP, START, HEALTH)
FINAL = (CHECKOUT, FETCH, PREFLIGHT, UNPACK, HOLD, DATA, DUMP, SWAP, START, HEALTH)
EDITABLE = (CHECKOUT, PREFLIGHT, HOLD, BIND, START, HEALTH)
ROLLBACK = (CHECKOUT, PREFLIGHT, TAKE, HOLD, DATA, DUMP, SWAP, REVERT, START, HEALTH)

OF_MODE = {Mode.COOKING: COOKING, Mode.FINAL: FINAL, Mode.EDITABLE: EDITABLE}
EVERY = {step.name: step for way in (COOKING, FINAL, EDITABLE, ROLLBACK) for step in way}
"""Every step by its name, as the journal has it."""

HELD = frozenset({"hold", "data", "dump", "swap", "bind", "revert", "start"})
"""The steps whose undoing ends with traffic let in again."""


def plan(work: Work) -> tuple[Step, ...]:
    """Return the steps after ``checkout`` in the order that mode, kind and project ask for.

    ``stop_before: build`` is the RFC's literal order: the services stop before the build.
    """
    chosen = list(ROLLBACK if work.kind is Kind.ROLLBACK else OF_MODE[work.mode])[1:]
    if work.common.get("stop_before") == "build" and BUILD in chosen:
        chosen.remove(HOLD)
        chosen.insert(chosen.index(BUILD), HOLD)
    if work.kind is Kind.ROLLBACK and not work.with_data:
        chosen.remove(REVERT)
    return tuple(chosen)
