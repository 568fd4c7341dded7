"""Initialising a project: everything that is missing, nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.hosts import kernel
from corpus.hosts.fake import Fake
from corpus.model.errors import Conflict, InvalidInput, InvalidName, NotFound
from corpus.model.mode import Platform
from corpus.project import layout
from corpus.project.place import Project
from projects import digest, git, place_at, unmounted

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJunk+/= ann@example.org"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.at(place_at(tmp_path), "demo")


def test_the_tree(project: Project) -> None:
    made = layout.initialise(project)
    paths = project.paths
    modes = {
        "git": 0o750, "project": 0o750, "pillar": 0o700, "data": 0o750, "build": 0o755,
        "run": 0o755, "deploy": 0o700, "releases": 0o750, "archives": 0o700, ".corpus": 0o700,
    }  # fmt: skip
    found = {p.name: p.stat().st_mode & 0o777 for p in paths.root.iterdir()}
    assert found == modes
    assert paths.pillar_git.stat().st_mode & 0o777 == 0o700
    assert str(paths.data) in made
    assert paths.salt_link.readlink() == paths.salt
    assert paths.pillar_link.readlink() == paths.pillar
    assert project.place.names() == ["demo"]
    assert Project.existing(project.place, "demo") == project


def test_again_makes_nothing_and_changes_nothing(project: Project) -> None:
    layout.initialise(project, [KEY])
    (project.paths.data / "db").write_text("kept")
    before = digest(project.place.prefix)
    assert layout.initialise(project) == []
    assert digest(project.place.prefix) == before
    assert (project.place.keys / "demo").exists()


def test_what_is_missing_is_made_again(project: Project) -> None:
    layout.initialise(project)
    project.paths.salt_link.unlink()
    (project.paths.project_git / "hooks" / "proc-receive").unlink()
    project.paths.releases.rmdir()
    made = layout.initialise(project)
    assert set(made) == {str(project.paths.salt_link), str(project.paths.releases)}
    assert (project.paths.project_git / "hooks" / "proc-receive").exists()


def test_a_setting_whose_writer_was_killed_is_written(project: Project) -> None:
    layout.initialise(project)
    (project.paths.project_git / "config.lock").touch()
    assert layout.initialise(project) == []


def test_repositories_without_hooks_are_no_trouble(project: Project) -> None:
    layout.initialise(project)
    hooks = project.paths.project_git / "hooks"
    (hooks / "proc-receive").unlink()
    hooks.rmdir()
    layout.initialise(project)
    assert (hooks / "proc-receive").exists()


def test_the_hook_knows_the_socket_and_is_alone(project: Project) -> None:
    layout.initialise(project)
    hooks = project.paths.project_git / "hooks"
    assert [p.name for p in hooks.iterdir()] == ["proc-receive"]
    text = (hooks / "proc-receive").read_text()
    assert text.startswith("#!/usr/bin/python3 -IS\n")
    assert f'SOCKET = "{project.place.socket}"' in text
    assert (hooks / "proc-receive").stat().st_mode & 0o777 == 0o755
    assert not (project.paths.pillar_git / "hooks" / "proc-receive").exists()


def test_the_repositories_settings(project: Project) -> None:
    layout.initialise(project)
    layout.initialise(project)

    def config(key: str) -> list[str]:
        bare = f"--git-dir={project.paths.project_git}"
        return git(bare, "config", "--get-all", key, check=False).stdout.split()

    assert config("receive.procReceiveRefs") == ["refs/heads/master", "refs/heads/main"]
    assert config("receive.denyDeletes") == ["true"]
    assert config("receive.denyNonFastForwards") == ["true"]
    assert config("receive.fsckObjects") == ["true"]


def test_keys_are_restricted_and_replaced(project: Project) -> None:
    layout.initialise(project, [KEY, f"  {KEY}2\n"])
    path = project.place.keys / "demo"
    assert path.read_text() == f"restrict {KEY}\nrestrict {KEY}2\n"
    layout.initialise(project, [KEY])
    assert path.read_text() == f"restrict {KEY}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-dss AAAA",
        f'command="sh" {KEY}',
        f"{KEY}\nssh-ed25519 BBBB",
        "ssh-ed25519 AAAA;id",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_is_no_public_key(project: Project, text: str) -> None:
    with pytest.raises(InvalidInput, match="not a public SSH key"):
        layout.initialise(project, [text])
    assert not project.paths.root.exists()


def test_a_directory_in_the_way_of_a_link(project: Project) -> None:
    project.paths.salt_link.mkdir(parents=True)
    with pytest.raises(Conflict, match="in the way of the link"):
        layout.link(project)


def test_link_and_unlink(project: Project) -> None:
    layout.initialise(project)
    links = [str(project.paths.salt_link), str(project.paths.pillar_link)]
    assert layout.unlink(project) == links
    assert layout.unlink(project) == []
    assert layout.link(project) == links
    assert layout.link(project) == []
    project.paths.salt_link.unlink()
    project.paths.salt_link.symlink_to("/elsewhere")
    assert layout.link(project) == links[:1]


@pytest.mark.parametrize("name", ["../x", "-x", "x" * 300, "ü", "", "a/b", "a\n", "root"])
def test_names_that_no_project_bears(project: Project, name: str) -> None:
    with pytest.raises(InvalidName):
        Project.at(project.place, name)


def test_an_unknown_project(project: Project) -> None:
    with pytest.raises(NotFound, match="no project 'demo'"):
        Project.existing(project.place, "demo")


def test_the_platform_is_told_by_the_node(project: Project) -> None:
    assert project.place.platform() is Platform.STAGING
    project.place.etc.mkdir(exist_ok=True)
    project.place.identity.write_text(json.dumps({"platform": "prod"}))
    assert project.place.platform() is Platform.PROD


def test_the_hook_is_python_that_runs_alone(project: Project) -> None:
    layout.initialise(project)
    hook = project.paths.project_git / "hooks" / "proc-receive"
    done = subprocess.run(
        [str(hook)], input=b"000eversion=1\n00000000", capture_output=True, cwd=hook.parent.parent
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"000eversion=1\x0000000000"


def test_the_account_of_a_shared_directory_has_the_id_that_the_node_says(tmp_path: Path) -> None:
    place = place_at(tmp_path, Fake())
    place.etc.mkdir()
    place.identity.write_text(json.dumps({"platform": "dev", "shares": {"shop": 60514}}))
    assert place.shares() == {"shop": 60514}
    fake = Fake()
    for name, given in (("shop", True), ("demo", False)):
        project = Project.at(replace(place, accounts=True, host=fake), name)
        fake.calls.clear()
        layout.have_accounts(project)
        assert any("--uid=60514" in command for command in fake.commands) == given
        group = ("groupadd", "--force", "--system", "--gid=60514", "shop")
        assert (group in fake.commands) == given


def test_a_directory_of_the_developers_keeps_its_permissions(
    project: Project, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    laptop = tmp_path / "laptop"
    laptop.mkdir(mode=0o700)
    project.paths.project.mkdir(parents=True)
    with unmounted(tmp_path):
        kernel.bind_mount(laptop, project.paths.project)
        layout.initialise(project)
        assert laptop.stat().st_mode & 0o777 == 0o700
