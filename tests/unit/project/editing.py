"""A project in editable mode: built in place, with what lies there told file by file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.project import binding
from projects import Phases, Scratch

SETTINGS = {"mode": "editable"}


def build(common: dict[str, Any]) -> None:
    """Be a build in place: its product lies beside the source and is not git's."""
    run = Path(common["paths"]["run"])
    assert (run / ".git").exists()
    (run / "built").write_text(f"of {(run / 'app').read_text()}")


@pytest.fixture
def dev(scratch: Scratch) -> Iterator[Scratch]:
    """Return a project that is live in editable mode."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": "", ".gitignore": "built\n"})
    done = scratch.deploy(commit, Phases(SETTINGS, build=build))
    assert done.outcome == "live", done.text
    (scratch.paths.data / "db").write_text("of version 1\n")
    yield scratch
    binding.unbind(scratch.project)
    scratch.assert_clean()


def files(scratch: Scratch, folder: Path | None = None) -> dict[str, str]:
    """Return the texts of all files in ``run/``, or another directory, git's own apart."""
    run = folder or scratch.paths.run
    names = [p for p in run.rglob("*") if p.is_file() and ".git" not in p.relative_to(run).parts]
    return {str(path.relative_to(run)): path.read_text() for path in names}
