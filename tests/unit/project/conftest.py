"""Scratch projects for the tests of corpus.project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from projects import Phases, Scratch, copy_to_run

pytest.register_assert_rewrite(
    *(f"unit.project.{name}" for name in ("checkouts", "editing", "endings", "wells"))
)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    """Return an initialised project with nothing deployed."""
    return Scratch(tmp_path)


@pytest.fixture
def fake() -> Fake:
    """Return a host that runs nothing, and remembers what it was asked."""
    return Fake()


class Standing:
    """A project with a live version, used by one test after another while it stays sound."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._scratch: Scratch | None = None
        self._sound = False

    def take(self) -> Scratch:
        """Return the project; a new one when the last test did not give it back."""
        if self._scratch is None or not self._sound:
            self._scratch = Scratch(self._factory.mktemp("standing"))
            commit = self._scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
            (self._scratch.paths.data / "db").write_text("of version 1\n")
            assert self._scratch.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
        self._sound = False
        return self._scratch

    def give_back(self) -> None:
        """Say that the project is sound."""
        self._sound = True


@pytest.fixture(scope="session")
def _standing(tmp_path_factory: pytest.TempPathFactory) -> Standing:
    return Standing(tmp_path_factory)


@pytest.fixture
def live(_standing: Standing, request: pytest.FixtureRequest) -> Iterator[Scratch]:
    """Return a project with a live version; the test must leave nothing unfinished."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    failed = request.session.testsfailed
    scratch = _standing.take()
    yield scratch
    scratch.assert_clean()
    if request.session.testsfailed == failed:
        _standing.give_back()
