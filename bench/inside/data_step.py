"""Time the data steps of a deployment, on data of a given size, where this process runs.

Arguments: the folder to work in, bytes, files, runs, and the way to copy, empty for the one
that corpus chooses there. Each run changes 20 files, lets them reach the disk, backs up,
changes 20 again, restores, and looks that the restored bytes are right. Printed for backup and
restore: seconds of the step, and of step and syncfs(2) together, which is until it is durable.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from corpus.model.deployment import DeploymentId
from corpus.project import trees, window
from corpus.project.log import Log
from corpus.project.place import Place, Project
from corpus.project.work import Work

_CHANGED = 20


def new_project(folder: Path) -> Project:
    """Make the tree of a project as far as the data steps use it."""
    place = Place(prefix=folder, accounts=False, firewall=False)
    project = Project.at(place, "bench")
    for path in (project.paths.state, project.paths.archives):
        path.mkdir(parents=True)
    return project


def fill(data: Path, size: int, files: int) -> list[Path]:
    """Write files of random bytes, 200 in each folder."""
    made = []
    for number in range(files):
        path = data / f"{number // 200:03}" / f"{number:05}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(size // files))
        made.append(path)
    return made


def change(files: list[Path], run: int) -> bytes:
    """Overwrite some files in place, spread over all, and return what they hold now."""
    text = os.urandom(len(files[0].read_bytes()))
    for path in files[run % 10 :: max(1, len(files) // _CHANGED)][:_CHANGED]:
        with path.open("r+b") as file:
            file.write(text)
    return text


def sync(path: Path) -> None:
    """Wait until the whole file system of ``path`` is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(handle)
    finally:
        os.close(handle)


def timed(step: Callable[[Work], None], work: Work) -> tuple[float, float]:
    """Return the seconds of one step, without and with the sync that makes it durable."""
    began = time.perf_counter()
    step(work)
    ended = time.perf_counter()
    sync(work.project.paths.root)
    return ended - began, time.perf_counter() - began


def one(project: Project, former: DeploymentId | None) -> Work:
    """Return a deployment that comes after ``former``."""
    identity = DeploymentId.make(datetime.now(UTC), uuid4())
    work = Work(project, identity, "0" * 40, "", "refs/heads/master", "bench",
                Log(project.paths.log(identity)), _no_runner)  # fmt: skip
    former_entry: Any = SimpleNamespace(deployment=former) if former else None
    work.previous = former_entry
    return work


def _no_runner(_project: Project, _deployment: DeploymentId) -> Any:
    raise AssertionError("the data steps run no phase")


def main(folder: str, size: str, count: str, runs: str, way: str = "") -> None:
    """Measure and print."""
    project = new_project(Path(folder))
    if way:
        vars(trees)["way_of"] = lambda _path, _host: trees.Way(way)
        project.paths.data.mkdir()
    else:
        trees.make(project.paths.data)
    files = fill(project.paths.data, int(size), int(count))
    found: dict[str, list[tuple[float, float]]] = {"backup": [], "restore": []}
    works: list[Work] = []
    for run in range(int(runs)):
        work = one(project, works[-1].id if works else None)
        good = change(files, run)
        sync(project.paths.root)
        found["backup"].append(timed(window.back_up_data, work))
        change(files, run)
        sync(project.paths.root)
        found["restore"].append(timed(window.restore_data, work))
        assert files[run % 10].read_bytes() == good, "the restored data are not those of before"
        trees.remove(project.paths.archive(work.id).data_failed)
        works.append(work)
        if len(works) > 1:
            trees.remove(project.paths.archive(works[-2].id).data)
        sync(project.paths.root)
        time.sleep(0.3)  # btrfs removes deleted subvolumes in the background
    used = trees.way_of(project.paths.root, project.host)
    print(json.dumps({"way": str(used), **found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
