"""Editable mode in a developer's own directory: deployed as it lies there, in no other mode."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.project import binding
from projects import Phases, Scratch, copy_to_run, fail, git, share, unmounted
from unit.project.editing import SETTINGS, build, files


@pytest.fixture
def laptop(scratch: Scratch) -> Iterator[Scratch]:
    """Return a project whose directory is the developer's own clone."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    with unmounted(scratch.folder):
        share(scratch.work, scratch.project)
        yield scratch


def test_a_shared_directory_is_deployed_as_it_is(laptop: Scratch) -> None:
    commit = laptop.commit({"app": "version 1\n", ".salt/top.sls": "", ".gitignore": "built\n"})
    (laptop.work / "app").write_text("edited\n")
    done = laptop.deploy(commit, Phases(SETTINGS, build=build))
    assert done.outcome == "live", done.text
    assert (laptop.paths.run / "built").read_text() == "of edited\n"
    assert list(laptop.paths.archives.iterdir()) == []
    assert git("-C", laptop.work, "branch", "--show-current").stdout == "master\n"


def test_a_failed_first_deployment_leaves_a_shared_directory_as_it_was(laptop: Scratch) -> None:
    def spoil(common: dict[str, Any]) -> None:
        build(common)
        (Path(common["paths"]["run"]) / "app").write_text("spoiled\n")
        fail(common)

    commit = laptop.commit({"app": "version 1\n", ".salt/top.sls": ""})
    (laptop.work / "untracked").write_text("mine\n")
    before = files(laptop, laptop.work)
    done = laptop.deploy(commit, Phases(SETTINGS, build=spoil))
    assert done.outcome == "rolled_back", done.text
    assert files(laptop, laptop.work) == before
    assert binding.is_bound(laptop.project)
    good = laptop.deploy(commit, Phases(SETTINGS, build=build))
    assert good.outcome == "live", good.text


def test_a_shared_directory_has_no_other_mode(laptop: Scratch) -> None:
    commit = laptop.commit({"app": "version 1\n", ".salt/top.sls": ""})
    done = laptop.deploy(commit, Phases(build=copy_to_run))
    assert done.outcome == "refused"
    assert "a developer edits" in done.text
    assert binding.is_shared(laptop.project)
