"""A directory where somebody edits, a commit that is checked out there, and one that is pushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.model.errors import DeploymentRefused
from corpus.project import binding, repository, worktree
from projects import Scratch, unmounted

ONE = {
    "a": "1\n",
    "b": "1\n",
    "was/file": "1\n",
    "was-not": "1\n",
    ".gitignore": "*.cfg\n",
}
TWO = {"a": "2\n", "was": "a file now\n", "was-not/file": "2\n", "new/er": "2\n", "my.cfg": "2\n"}


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    """Return a project that nothing is bound of after the test."""
    with unmounted(tmp_path):
        yield Scratch(tmp_path)


@pytest.fixture
def one(scratch: Scratch) -> str:
    """Return the commit that is checked out and bound."""
    commit = scratch.commit(ONE)
    worktree.check_out(scratch.project, commit)
    binding.bind(scratch.project)
    return commit


@pytest.fixture
def two(scratch: Scratch, one: str) -> str:
    """Return the commit that is pushed: files new, changed and gone, a directory for a file."""
    for name in ("was/file", "was-not"):
        (scratch.work / name).unlink()
    (scratch.work / "was").rmdir()
    return scratch.commit(TWO)


def tree(scratch: Scratch) -> Path:
    """Return the directory."""
    return scratch.paths.project


def head(scratch: Scratch) -> str:
    """Return the commit that it is at."""
    return repository.checked_out(scratch.project)


def shown(scratch: Scratch) -> dict[str, str]:
    """Return what lies in the work tree, git's own files apart."""
    found = {}
    for path in sorted(tree(scratch).rglob("*")):
        name = str(path.relative_to(tree(scratch)))
        if not name.startswith(".git/"):
            link = path.is_symlink()
            found[name] = str(path.readlink()) if link else path.is_file() and path.read_text()
    return {name: str(text) for name, text in found.items()}


def refused(scratch: Scratch, commit: str) -> str:
    """Check out, which must be refused and touch nothing; return what was said."""
    before, at = shown(scratch), head(scratch)
    with pytest.raises(DeploymentRefused) as error:
        worktree.check_out(scratch.project, commit)
    assert (shown(scratch), head(scratch)) == (before, at)
    return str(error.value)
