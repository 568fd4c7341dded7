"""A project is removed with everything of it, also when that was cut off before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from corpus.hosts import kernel
from corpus.model.deployment import Outcome
from corpus.model.errors import Conflict, InvalidInput, NotFound
from corpus.project import binding, layout, lock, peers, removal, traffic
from corpus.project.journal import Journal
from corpus.project.ledger import Ledger
from corpus.project.place import Project
from corpus.project.removal import STEPS, remove
from patience import wait_until
from projects import Scratch, entry, fork, ids, kill
from unit.project.wells import KEY


@pytest.fixture
def made(scratch: Scratch) -> Scratch:
    """Return a project with all that one can have, and another that must stay."""
    paths = scratch.paths
    layout.initialise(scratch.project, [KEY])
    (identity,) = ids(1)
    Ledger(paths.ledger).append(entry(identity, Outcome.LIVE, runtime={"ports": [8000]}))
    Journal(paths.journal).open({"id": str(identity)})
    for folder in (paths.data, paths.archive(identity).data, paths.deployment(identity)):
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        (folder / "sub" / "file").write_text("x")
    paths.current.symlink_to(str(identity))
    (paths.run / "systemd").mkdir()
    scratch.place.units.mkdir()
    (scratch.place.units / "demo.service").symlink_to(paths.run / "systemd/demo.service")
    other = Project.at(scratch.place, "other")
    layout.initialise(other, [KEY])
    scratch.place.identity.write_text(f'{{"id": "{UUID(int=1)}", "platform": "prod"}}')
    scratch.place.host_key.write_text(KEY)
    staging = {"environment": str(UUID(int=2)), "platform": "staging", "address": "10.0.0.2"}
    for project in (scratch.project, other):
        own = peers.identity(project).as_dict()
        peers.pair(project, own | staging | {"signing_key": KEY, "fetch_key": None, "port": 22})
    return scratch


def left(scratch: Scratch) -> list[Path]:
    """What there is of the project, besides the repositories that the test pushes from."""
    places = (scratch.place.prefix, scratch.place.etc, scratch.place.units)
    found = [path for place in places for path in place.rglob("*")]
    return [path for path in found if "demo" in str(path.relative_to(scratch.folder))]


def stays(scratch: Scratch) -> bool:
    other = Project.at(scratch.place, "other").paths
    signers = scratch.place.signers.read_text()
    trusted = "other" in signers and "demo" not in signers
    return other.data.is_dir() and other.salt_link.is_symlink() and trusted


def test_nothing_is_kept(made: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    admitted: list[list[int]] = []
    monkeypatch.setattr(traffic, "admit", lambda _place, ports: admitted.append(ports))
    removed = remove(made.project, "demo")
    assert left(made) == []
    assert stays(made)
    assert str(made.paths.root) in removed
    assert str(made.place.keys / "demo") in removed
    assert str(made.paths.salt_link) in removed
    assert admitted == [[8000]]
    with pytest.raises(NotFound):
        remove(made.project, "demo")
    layout.initialise(made.project)  # the name is free again


@pytest.mark.parametrize("confirm", ["", "other", "demo "])
def test_it_must_be_confirmed(made: Scratch, confirm: str) -> None:
    with pytest.raises(InvalidInput, match="nothing was removed") as refused:
        remove(made.project, confirm)
    assert "confirm=demo" in str(refused.value)
    assert (made.paths.data / "sub" / "file").exists()


def cut_off(scratch: Scratch, arm: Callable[[], None]) -> None:
    def work() -> None:
        arm()
        remove(scratch.project, "demo")

    assert os.waitpid(fork(work), 0)[1] == 9 << 8


def die(*_: object) -> Iterator[str]:
    os._exit(9)


@pytest.mark.parametrize("step", list(STEPS)[1:])
def test_cut_off_before_a_step(made: Scratch, step: str) -> None:
    cut_off(made, lambda: STEPS.update({step: die}))
    remove(made.project, "demo")
    assert left(made) == []
    assert stays(made)


@pytest.mark.parametrize("count", range(1, 12, 2))
def test_cut_off_while_files_go(made: Scratch, count: int) -> None:
    def arm() -> None:
        real, left = removal.trees._remove_folder, [count]

        def counted(path: Path) -> None:
            if not left[0]:
                os._exit(9)
            left[0] -= 1
            real(path)

        removal.trees._remove_folder = counted

    cut_off(made, arm)
    assert left(made)
    remove(made.project, "demo")
    assert left(made) == []


def test_it_waits_for_a_deployment(made: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = made.folder / "seen"

    def work() -> None:
        with lock.held(made.paths.lock, "deployment x", print):
            seen.touch()
            wait_until(lambda: False)

    pid = fork(work)
    wait_until(seen.exists)
    monkeypatch.setattr(removal, "PATIENCE", 0.1)
    with pytest.raises(Conflict):
        remove(made.project, "demo")
    assert (made.place.keys / "demo").exists()
    kill(pid)
    remove(made.project, "demo")
    assert left(made) == []


def test_what_is_mounted_is_not_deleted(made: Scratch) -> None:
    aside = made.folder / "aside"
    aside.mkdir()
    (aside / "mine").write_text("x")
    kernel.bind_mount(aside, made.paths.data)
    try:
        with pytest.raises(Conflict, match="something is mounted"):
            remove(made.project, "demo")
        assert (made.place.keys / "demo").exists()
    finally:
        kernel.unmount(made.paths.data)
    remove(made.project, "demo")
    assert (aside / "mine").exists()


def test_a_binding_ends(made: Scratch) -> None:
    binding.bind(made.project)
    remove(made.project, "demo")
    assert left(made) == []
    assert str(made.paths.root) not in Path("/proc/self/mountinfo").read_text()
