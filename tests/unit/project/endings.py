"""What harms a deployment, and what one that does not go live must leave as it was.

That is compared with the state before: the digests of ``run/`` and ``data/``, what is live, the
branch, the ledger; and nothing may be left lying about.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corpus.project import repository
from projects import BRANCH, Phases, Scratch, fail, fork, git


def damage(common: dict[str, Any]) -> None:
    """Be a migration that rewrites the database in place, as SQLite would."""
    with Path(common["paths"]["data"], "db").open("r+") as file:
        file.write("damaged by version 2\n")
    Path(common["paths"]["data"], "new").write_text("of version 2\n")


def damage_and_fail(common: dict[str, Any]) -> None:
    """Be a migration that fails too late."""
    damage(common)
    fail(common)


@dataclass
class Before:
    """What a deployment that does not go live must leave as it was."""

    digests: dict[str, str]
    current: Path
    branch: str | None
    entries: int
    checkout: str


def state_of(scratch: Scratch) -> Before:
    """Return what there is of a project that is live."""
    head = git("-C", scratch.paths.project, "rev-parse", "HEAD").stdout
    return Before(
        scratch.digests(),
        scratch.paths.current.readlink(),
        repository.branch_tip(scratch.project, scratch.paths.project_git, BRANCH),
        len(scratch.ledger),
        head,
    )


def assert_as_before(scratch: Scratch, before: Before, outcome: str) -> None:
    """Fail when anything but the ledger, which has one line more, is not as it was."""
    now = state_of(scratch)
    assert now == replace(before, entries=now.entries)
    assert now.entries == before.entries + 1
    assert scratch.ledger[-1].outcome == outcome
    scratch.assert_clean()


def app(scratch: Scratch) -> str:
    """Return the version that runs."""
    return (scratch.paths.run / "app").read_text()


def version(scratch: Scratch, text: str = "version 2\n") -> str:
    """Return the commit of another version."""
    return scratch.commit({"app": text})


def armed(scratch: Scratch, arm: Callable[[], None], runner: Phases) -> int:
    """Deploy in a child in which ``arm`` was called; return how the child ended."""
    commit = version(scratch)

    def work() -> None:
        arm()
        scratch.deploy_here(commit, runner)

    _, status = os.waitpid(fork(work), 0)
    return status
