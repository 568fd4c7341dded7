"""The tree of a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.model.deployment import DeploymentId
from corpus.model.errors import InvalidName
from corpus.model.paths import ProjectPaths

ID = DeploymentId.parse("20261121T230203-0b6d1f7e-3c1c-4c3e-9d39-5f3a1f0a2b11")


def test_the_tree_of_the_contract() -> None:
    paths = ProjectPaths("guestbook")
    root = Path("/srv/projects/guestbook")
    assert paths.project_git == root / "git/project.git"
    assert paths.pillar_git == root / "git/pillar.git"
    assert paths.salt == root / "project/.salt"
    assert paths.run == root / "run"
    assert paths.current == root / "deploy/current"
    assert paths.deployment(ID) == root / f"deploy/{ID}"
    assert paths.archive(ID).data == root / f"archives/{ID}/data"
    assert paths.archive(ID).run_failed == root / f"archives/{ID}/run.failed"
    assert paths.release(ID) == root / f"releases/guestbook-{ID}.tar.zst"
    assert paths.salt_link == Path("/srv/salt/makina-projects/guestbook")
    assert paths.pillar_link == Path("/srv/pillar/makina-projects/guestbook")


def _all_paths(paths: ProjectPaths) -> list[Path]:
    names = [name for name, kind in vars(ProjectPaths).items() if isinstance(kind, property)]
    made = [paths.log(ID), paths.new_run(ID), paths.manifest(ID), paths.release(ID)]
    return made + [getattr(paths, name) for name in names]


def test_no_path_leaves_the_prefix() -> None:
    prefix = Path("/elsewhere/x")
    for path in _all_paths(ProjectPaths("guestbook", prefix)):
        assert path.is_relative_to(prefix)


def test_two_projects_share_no_path() -> None:
    one, other = (set(_all_paths(ProjectPaths(name))) for name in ("one", "one-2"))
    assert not one & other


@pytest.mark.parametrize("name", ["../x", "-x", "x" * 300, "ü"])
def test_a_bad_name_makes_no_path(name: str) -> None:
    with pytest.raises(InvalidName):
        ProjectPaths(name)
