"""Control groups and processes that a killed lxc-start left."""

from __future__ import annotations

import subprocess
from pathlib import Path

from corpus.node.environments import leftovers

ID = "11111111-2222-4333-8444-555555555555"


def test_only_the_groups_of_that_guest_are_found_inner_ones_first(tmp_path: Path) -> None:
    mine = tmp_path / "memory" / f"lxc.payload.{ID}-1" / "init.scope"
    mine.mkdir(parents=True)
    (tmp_path / f"lxc.monitor.{ID}").mkdir()
    (tmp_path / "memory" / "lxc.payload.other").mkdir()
    found = leftovers.groups(ID, tmp_path)
    assert set(found) == {mine, mine.parent, tmp_path / f"lxc.monitor.{ID}"}
    assert found.index(mine) < found.index(mine.parent)


def test_what_runs_is_told_but_for_the_monitor(tmp_path: Path) -> None:
    for name in (f"lxc.monitor.{ID}", f"lxc.payload.{ID}", f"lxc.payload.{ID}/init.scope"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text("")
    (tmp_path / f"lxc.monitor.{ID}/cgroup.procs").write_text("7\n")
    assert not leftovers.alive(ID, tmp_path)
    (tmp_path / f"lxc.payload.{ID}/init.scope/cgroup.procs").write_text("8\n")
    assert leftovers.alive(ID, tmp_path)


def test_what_runs_there_is_ended_and_the_groups_go(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    group = tmp_path / f"lxc.payload.{ID}"
    group.mkdir()
    (group / "cgroup.procs").write_text(f"{process.pid}\n")
    leftovers.clear(ID, tmp_path, patience=0.05)
    assert process.wait(30) == -9
    (group / "cgroup.procs").unlink()
    leftovers.clear(ID, tmp_path)
    assert not group.exists()
