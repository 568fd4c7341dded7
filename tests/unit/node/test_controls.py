"""Limits of a running guest: detected layout, right order, refused or put back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.commands.cgroups import Layout
from corpus.hosts.fake import Fake
from corpus.model.errors import Conflict, InvalidInput, Unsupported
from corpus.node.context import Node
from corpus.node.environments import controls, lifecycle, limiting, listing, making
from unit.commands.test_cgroups import ALL, HYBRID, V1, V2
from unit.node import nodes

MIB = 1 << 20
ONE, TWO = Layout(1, 1, 1, swap=True), Layout(2, 2, 2, swap=True)


def machine(folder: Path, mounts: str, files: dict[str, str]) -> Layout:
    """What is detected on a machine with these mounts and control files."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/mountinfo").write_text(mounts)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return controls.layout(folder / "proc", folder)


@pytest.mark.parametrize(
    ("mounts", "files", "layout"),
    [
        (V1, {"memory/memory.memsw.limit_in_bytes": "1"}, ONE),
        (V1, {"memory/memory.limit_in_bytes": "1"}, Layout(1, 1, 1)),
        (
            HYBRID,
            {"unified/cgroup.controllers": "hugetlb", "memory/memory.memsw.limit_in_bytes": "1"},
            ONE,
        ),
        (HYBRID, {"unified/cgroup.controllers": ""}, Layout(1, 1, 1)),
        (V2, {"cgroup.controllers": ALL, "system.slice/memory.swap.max": "max"}, TWO),
        (V2, {"cgroup.controllers": ALL, "system.slice/memory.max": "max"}, Layout(2, 2, 2)),
    ],
)
def test_layout_and_whether_swap_is_counted(
    tmp_path: Path, mounts: str, files: dict[str, str], layout: Layout
) -> None:
    assert machine(tmp_path, mounts, files) == layout


@pytest.fixture(params=[ONE, TWO], ids=["one", "two"])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The layout of the machine, either one."""
    monkeypatch.setattr(controls, "layout", lambda: request.param)
    layout: Layout = request.param
    return layout


@pytest.fixture
def node(tmp_path: Path, found: Layout) -> Node:
    """A node with an environment that runs, holds 100 MiB and has 50 MiB of cache."""
    made, host = nodes.make(tmp_path)
    making.create(made, id=nodes.ID, memory="256M", cpu=1, pids=100, wait=0)
    begin = f"lxc-cgroup --lxcpath={made.settings.lxcpath} --name={nodes.ID} --"
    host.answer(f"{begin} memory.usage_in_bytes", f"{150 * MIB}\n")
    host.answer(f"{begin} memory.current", f"{150 * MIB}\n")
    host.answer(
        f"{begin} memory.stat", f"inactive_file {50 * MIB}\ntotal_inactive_file {50 * MIB}\n"
    )
    return made


def written(node: Node) -> list[tuple[str, ...]]:
    """The values that the guest's control groups were given, in order."""
    assert isinstance(node.host, Fake)
    return [argv[4:] for argv in nodes.ran(node.host, "lxc-cgroup") if len(argv) == 6]


def test_more_memory_swap_first_less_memory_swap_last(node: Node, found: Layout) -> None:
    one = found is ONE
    limiting.limit(node, nodes.ID, memory="512M")
    value = str(512 * MIB)
    assert written(node) == (
        [("memory.memsw.limit_in_bytes", value), ("memory.limit_in_bytes", value)]
        if one
        else [("memory.swap.max", "0"), ("memory.max", value)]
    )
    limiting.limit(node, nodes.ID, memory="200M")
    value = str(200 * MIB)
    assert written(node)[2:] == (
        [("memory.limit_in_bytes", value), ("memory.memsw.limit_in_bytes", value)]
        if one
        else [("memory.max", value), ("memory.swap.max", "0")]
    )
    assert listing.inspect(node, nodes.ID)["memory"] == 200 * MIB


def test_none_takes_limits_off(node: Node, found: Layout) -> None:
    limiting.limit(node, nodes.ID, memory="none", cpu="none", pids="none")
    values = dict(written(node))
    assert values == (
        {
            "cpu.cfs_quota_us": "-1",
            "pids.max": "max",
            "memory.memsw.limit_in_bytes": "-1",
            "memory.limit_in_bytes": "-1",
        }
        if found is ONE
        else {
            "cpu.max": "max 100000",
            "pids.max": "max",
            "memory.swap.max": "max",
            "memory.max": "max",
        }
    )
    facts = listing.inspect(node, nodes.ID)
    assert (facts["memory"], facts["cpu"], facts["pids"]) == (None, None, None)
    lifecycle.stop(node, nodes.ID)
    lifecycle.start(node, nodes.ID)
    assert "lxc.cgroup" not in (node.settings.lxcpath / nodes.ID / "config").read_text()


def test_what_stays_is_not_written_again(node: Node) -> None:
    limiting.limit(node, nodes.ID, memory="256M", cpu=1, pids=100)
    assert written(node) == []


def test_less_memory_than_is_held_is_refused_with_the_figures(node: Node) -> None:
    with pytest.raises(Conflict, match="hold 100M of memory: with 104M") as refused:
        limiting.limit(node, nodes.ID, memory="104M", pids=50)
    assert refused.value.mend is not None
    assert "108M or more" in refused.value.mend
    assert written(node) == []
    assert listing.inspect(node, nodes.ID)["pids"] == 100
    limiting.limit(node, nodes.ID, memory="108M")  # the cache goes


def test_what_the_kernel_refuses_is_taken_back(node: Node) -> None:
    assert isinstance(node.host, Fake)
    node.host.prepare_failure("pids.max", err="Device or resource busy")
    with pytest.raises(Conflict, match=r"refuses a limit: .*busy"):
        limiting.limit(node, nodes.ID, cpu=2, pids=50)
    facts = listing.inspect(node, nodes.ID)
    assert (facts["cpu"], facts["pids"]) == (1.0, 100)
    assert [value for _, value in written(node)][-2:] in (
        ["100000", "100"],
        ["100000 100000", "100"],
    )


def test_a_dry_run_checks_and_touches_nothing(node: Node) -> None:
    done = limiting.limit(node, nodes.ID, memory="512M", cpu="none", pids=100, test=True)
    name = f"staging-{nodes.ID[:8]}"
    assert done.changes == [
        f"{name}: memory 256M becomes 512M",
        f"{name}: cpu 1 becomes none",
    ]
    assert written(node) == []
    assert listing.inspect(node, nodes.ID)["memory"] == 256 * MIB
    with pytest.raises(Conflict, match="hold 100M"):
        limiting.limit(node, nodes.ID, memory="64M", test=True)
    assert limiting.limit(node, nodes.ID, memory="256M", test=True).changes == []


@pytest.mark.parametrize("given", [{"size": "none"}, {"pids": "many"}, {"cpu": "all"}])
def test_nonsense_is_refused(node: Node, given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        limiting.limit(node, nodes.ID, **given)  # type: ignore[arg-type]


def test_a_limit_that_the_machine_has_not_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "layout", lambda: Layout(2, 2, 0))
    node, _ = nodes.make(tmp_path)
    with pytest.raises(Unsupported, match="no control groups for pids"):
        making.create(node, id=nodes.ID, pids=100, wait=0)
    assert nodes.left(node) == []
    making.create(node, id=nodes.ID, memory="256M", wait=0)
    with pytest.raises(Unsupported, match="no control groups for pids"):
        limiting.limit(node, nodes.ID, pids=100)
