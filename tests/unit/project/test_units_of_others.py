"""A version that brings a unit of somebody else's: that one goes on, and is nobody's to stop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import promises
from corpus.hosts import kernel
from machine import Version
from played import Macros
from transactions import World, wait

THEIRS = "shop.service"


def commit(world: World, *, brings: bool = True, **more: Any) -> str:
    """Commit a version that brings the unit of another project."""
    world.number += 1
    version = Version(
        world.number, world.version_of(world.live).schema if world.live else 1, **more
    )
    files = version.files() | ({f"systemd/{THEIRS}": "[Service]\n"} if brings else {})
    made: str = world.machine.git.commit(files, world.live.commit if world.live else None)
    if version.mode == "final":
        world._drop_in(made)
    return made


def come(world: World) -> None:
    """Have the other project's unit be there, and run."""
    link = world.place.units / THEIRS
    link.unlink(missing_ok=True)
    link.symlink_to(world.machine.folder / "shop/run/systemd" / THEIRS)
    running = world.machine.read("running")
    world.machine.write("running", running | {THEIRS: asdict(Version(1))})


def goes_on(world: World) -> bool:
    return THEIRS in world.machine.read("running")


def was_held(world: World) -> bool:
    events = world.machine.events()
    begun = max(number for number, event in enumerate(events) if event[1] == "ended")
    before = [n for n, event in enumerate(events[:begun]) if event[1] == "ended"]
    return any(event[1] == "held" for event in events[max(before, default=0) : begun])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    with kernel.private_bind(tmp_path, tmp_path):
        made = World(tmp_path)
        wait(made.push(made.version()))
        assert made.last == "live"
        yield made


@pytest.mark.parametrize("mode", ["cooking", "final", "editable"])
def test_it_is_refused_before_anything_is_held(world: World, mode: str) -> None:
    come(world)
    wait(world.push(commit(world, mode=mode)))
    assert world.last == "refused"
    assert not was_held(world)
    assert goes_on(world)
    promises.keep(world)


@pytest.mark.parametrize("mode", ["cooking", "editable"])
def test_what_a_build_adds_is_not_stopped_on_the_way_back(
    world: World, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(world)
    build = Macros._build

    def adds(self: Macros, common: dict[str, Any]) -> None:
        build(self, common)
        (Path(common["paths"]["run"]) / "systemd" / THEIRS).write_text("[Service]\n")

    with monkeypatch.context() as patch:
        patch.setattr(Macros, "_build", adds)
        wait(world.push(commit(world, brings=False, mode=mode, stop_before="build")))
    assert world.last == "rolled_back"
    assert goes_on(world)
    promises.keep(world)


def test_what_a_macro_declares_is_not_stopped_on_the_way_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(world)
    build = Macros._build

    def declares(self: Macros, common: dict[str, Any]) -> None:
        build(self, common)
        common["services"].append("corpus-deploy.service")

    running = world.machine.read("running")
    world.machine.write("running", running | {"corpus-deploy.service": asdict(Version(1))})
    with monkeypatch.context() as patch:
        patch.setattr(Macros, "_build", declares)
        wait(world.push(commit(world, brings=False, stop_before="build")))
    assert world.last == "rolled_back"
    assert "corpus-deploy.service" in world.machine.read("running")


def test_a_version_of_a_time_when_the_name_was_free(world: World) -> None:
    wait(world.push(commit(world)))
    assert world.last == "live"
    wait(world.push(world.version()))
    come(world)
    wait(world.roll_back(world.targets[0], with_data=False))
    assert world.last == "refused"
    assert not was_held(world)
    assert goes_on(world)
    promises.keep(world)


def test_a_name_that_is_taken_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After preflight the link alone is refused: the way back leaves alone whose it is."""

    def meanwhile(_self: Macros, _common: dict[str, Any]) -> None:
        come(world)

    with monkeypatch.context() as patch:
        patch.setattr(Macros, "_stop", meanwhile, raising=False)
        wait(world.push(commit(world)))
    assert world.last == "rolled_back"
    assert goes_on(world)
    promises.keep(world)
