"""Backup and restore of data: on an environment's btrfs, and by the ways of other file systems."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figure, median, of
from bench.stage import INSIDE, Stage, say, script
from corpus.hosts import isolated
from corpus.hosts.local import Local

_LIMIT = 0.1  # seconds of the goal
_NOISE = 0.02
_LOOP = 8 << 30  # bytes of the sparse file that holds another file system


@dataclass(frozen=True)
class Amount:
    """How much data; both have files of 50 kB."""

    name: str
    size: int
    files: int


SMALL = Amount("10 MB", 10_000_000, 200)
LARGE = Amount("1 GB", 1_000_000_000, 20_000)


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Measure the three ways, the small amount before the large one."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with stage.environment(size="8G") as environment:
        for amount in (SMALL, LARGE):
            say(f"snapshot, {amount.name}")
            folder = f"/srv/bench-{amount.files}"
            words = [folder, str(amount.size), str(amount.files), str(runs)]
            found["snapshot", amount.name] = json.loads(
                script(environment.host, "data_step", *words)
            )
    for way, kind in (("reflink", "btrfs"), ("hardlink", "ext4")):
        for amount in (SMALL, LARGE):
            say(f"{way}, {amount.name}")
            times = min(runs, 3) if amount is LARGE else runs
            found[way, amount.name] = _elsewhere(stage.folder, kind, way, amount, times)
    return [
        figure
        for step in ("backup", "restore")
        for figure in [*_snapshots(found, step), *_others(found, step)]
    ]


def _elsewhere(folder: Path, kind: str, way: str, amount: Amount, runs: int) -> dict[str, Any]:
    """Measure on a file system in a file; its mount is seen by one child and ends with it."""
    image, point = folder / f"{kind}.img", folder / kind
    folder.mkdir(parents=True, exist_ok=True)
    host = Local()

    def work() -> Any:
        host.run(["mount", "-o", "loop,noatime", str(image), str(point)])
        argv = [sys.executable, "-", str(point / "srv"), str(amount.size), str(amount.files),
                str(runs), way]  # fmt: skip
        text = (INSIDE / "data_step.py").read_text()
        return json.loads(host.run(argv, stdin=text, env={"PYTHONPATH": "src"}).out)

    try:
        with image.open("wb") as file:
            file.truncate(_LOOP)
        point.mkdir(exist_ok=True)
        host.run([f"mkfs.{kind}", "-q", str(image)])
        found: dict[str, Any] = isolated.run(work)
        assert found["way"] == way
        return found
    finally:
        image.unlink(missing_ok=True)


def _snapshots(found: dict[tuple[str, str], dict[str, Any]], step: str) -> list[Figure]:
    small, large = (found["snapshot", amount.name] for amount in (SMALL, LARGE))
    assert small["way"] == large["way"] == "snapshot"
    base, value = median(_durable(small, step)), median(_durable(large, step))
    return [
        of(
            f"data.{step}.10MB",
            _durable(small, step),
            goal=f"<= {_LIMIT} s",
            met=base <= _LIMIT,
            more={"step_alone": median(_alone(small, step))},
        ),
        of(
            f"data.{step}.1GB",
            _durable(large, step),
            reference="10 MB",
            reference_value=base,
            goal=f"<= {_LIMIT} s and <= 10 MB + {_NOISE} s",
            met=value <= _LIMIT and value <= base + _NOISE,
            more={"step_alone": median(_alone(large, step))},
        ),
    ]


def _others(found: dict[tuple[str, str], dict[str, Any]], step: str) -> list[Figure]:
    figures = []
    for way in ("reflink", "hardlink"):
        for amount in (SMALL, LARGE):
            here = found[way, amount.name]
            figures.append(
                of(
                    f"data.{step}.{amount.name.replace(' ', '')}.{way}",
                    _durable(here, step),
                    reference="snapshot",
                    reference_value=median(_durable(found["snapshot", amount.name], step)),
                    more={
                        "step_alone": median(_alone(here, step)),
                        "first": round(_durable(here, step)[0], 4),  # without an earlier copy
                    },
                )
            )
    return figures


def _alone(found: dict[str, Any], step: str) -> list[float]:
    return [pair[0] for pair in found[step]]


def _durable(found: dict[str, Any], step: str) -> list[float]:
    return [pair[1] for pair in found[step]]
