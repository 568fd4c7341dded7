"""Memory, CPU and processes of an environment: its control groups, as this machine has them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from corpus.commands import cgroups, lxc
from corpus.commands.cgroups import Layout, Setting
from corpus.model.errors import CommandFailed, Conflict, Unsupported
from corpus.model.size import format_size
from corpus.node.context import Node
from corpus.node.records import Limits, Record

_MARGIN = 8 << 20  # bytes beyond what is held, for the work of taking the rest back


def layout(proc: Path = Path("/proc"), root: Path = Path("/")) -> Layout:
    """Return which control groups this machine has, from its mounts; nothing is tried out."""
    first, second = cgroups.hierarchies((proc / "self/mountinfo").read_text())
    there = root / second.lstrip("/") if second else None
    names = (there / "cgroup.controllers").read_text() if there else ""
    found = cgroups.layout(first, names, swap=False)
    place = root / first["memory"].lstrip("/") if found.memory == 1 else there
    name = cgroups.swap_file(found.memory)
    # The root of version 2 has no limits, the groups within it do.
    swap = bool(name and place and next((p for s in ("", "*/") for p in place.glob(s + name)), ""))
    return cgroups.layout(first, names, swap=swap)


def settings(limits: Limits, found: Layout) -> list[Setting]:
    """Return the settings of every limit that there is."""
    return [
        *(cgroups.memory(found, limits.memory) if limits.memory is not None else []),
        *(cgroups.pids(found, limits.pids) if limits.pids is not None else []),
        *(cgroups.cpu(found, limits.cpu) if limits.cpu is not None else []),
    ]


def check(limits: Limits, found: Layout) -> None:
    """Raise Unsupported when a limit is asked that this machine cannot hold anybody to."""
    for name in cgroups.CONTROLLERS:
        if getattr(limits, name) is not None and not getattr(found, name):
            raise Unsupported(
                f"this machine has no control groups for {name}",
                mend=f"leave the limit of {name} out, or boot the kernel with that controller",
            )


def check_memory(node: Node, record: Record, found: Layout, new: Limits) -> None:
    """Raise Conflict when a running guest holds more memory than it shall have."""
    if new.memory is None or new.memory == record.limits.memory:
        return
    lxcpath = node.settings.lxcpath
    texts = [
        node.host.run(lxc.cgroup(lxcpath, record.id, name)).out
        for name in cgroups.memory_files(found)
    ]
    memory = cgroups.parse_memory(found, *texts)
    if new.memory < memory.held + _MARGIN:
        raise Conflict(
            f"its processes hold {format_size(memory.held)} of memory: with "
            f"{format_size(new.memory)} the kernel would end some of them",
            where=record.name,
            mend=f"ask for {-(-(memory.held + _MARGIN) >> 20)}M or more, or stop services first",
        )


def apply(node: Node, record: Record, found: Layout, new: Limits) -> None:
    """Give a running guest other limits; when one of them fails, it has the old ones again."""
    try:
        _write(node, record.id, _steps(found, record.limits, new))
    except CommandFailed as error:
        for step in _steps(found, new, record.limits):
            with suppress(CommandFailed):
                _write(node, record.id, [step])
        raise Conflict(
            f"the kernel refuses a limit: {error.output.strip()[-300:]}",
            where=record.name,
            mend="a service in it may have a CPUQuota= or hold memory beyond it; all is as before",
        ) from None


def _steps(found: Layout, old: Limits, new: Limits) -> list[Setting]:
    steps: list[Setting] = []
    if new.cpu != old.cpu:
        steps += cgroups.cpu(found, new.cpu)
    if new.pids != old.pids:
        steps += cgroups.pids(found, new.pids)
    if new.memory != old.memory:
        memory = cgroups.memory(found, new.memory)
        grows = new.memory is None or (old.memory is not None and new.memory > old.memory)
        # What bounds the other one goes first where there is more, last where there is less.
        steps += memory[::-1] if grows else memory
    return steps


def _write(node: Node, id: str, steps: list[Setting]) -> None:
    for step in steps:
        node.host.run(lxc.cgroup(node.settings.lxcpath, id, step.key, step.value))
