"""What an environment may use, checked once."""

from __future__ import annotations

import os
from typing import Any

from corpus.commands.cgroups import Layout
from corpus.model.errors import InvalidInput
from corpus.model.size import format_size, parse_share, parse_size
from corpus.node.records import Allotment, Limits
from corpus.node.settings import Settings

NONE = "none"  # what takes a limit away
LEAST_SIZE = 64 << 20
_LEAST_MEMORY = 32 << 20
_LEAST_PIDS = 20


def parse(
    size: str | int,
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | str | None = None,
    size_limit: str | int | None = None,
) -> Limits:
    """Return the limits; None and ``none`` mean that there is none. Raises InvalidInput.

    ``size``, ``size_limit`` and ``memory`` are sizes such as ``5G``, ``cpu`` a number of CPUs
    such as 0.5. Without a ``size`` there is no environment.
    """
    memory, size_limit = _limited(memory), _limited(size_limit)
    bytes_, ram = parse_size(size), None if memory is None else parse_size(memory)
    _at_least("size", bytes_, LEAST_SIZE)
    if ram is not None:
        _at_least("memory", ram, _LEAST_MEMORY)
    most = None if size_limit is None else parse_size(size_limit)
    if most is not None and most < bytes_:
        raise InvalidInput(
            f"the size {format_size(bytes_)} is above the size_limit {format_size(most)}",
            mend="give a larger size_limit too, or a smaller size",
        )
    return Limits(bytes_, ram, _cpus(_limited(cpu)), _processes(_limited(pids)), most)


def _limited(given: Any) -> Any:
    return None if given == NONE else given


def given_size(given: str | int | None, old: int | None) -> int | None:
    """Return the size that is asked for: ``old`` for None, no limit for ``none``.

    Raises InvalidInput.
    """
    if given is None or given == NONE:
        return old if given is None else None
    size = parse_size(given)
    _at_least("size", size, LEAST_SIZE)
    return size


def changed(old: Limits, **given: Any) -> Limits:
    """Return other limits, as ``parse`` does: what is None stays."""
    return parse(
        **{name: getattr(old, name) if value is None else value for name, value in given.items()}
    )


def defaults(
    settings: Settings, found: Layout, memory: str | int | None, pids: int | str | None
) -> tuple[str | int | None, int | str | None]:
    """Return memory and processes of a new environment: what is given, or what the node says.

    None is what the machine has no control groups for.
    """
    if memory is None and settings.default_memory and found.memory:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = parse_share(settings.default_memory, whole)
    if pids is None and settings.default_pids and found.pids:
        pids = settings.default_pids
    return memory, pids


def _at_least(what: str, value: int, least: int) -> None:
    if value < least:
        raise InvalidInput(
            f"the {what} {format_size(value)} is too small for a system",
            mend=f"give {format_size(least)} or more",
        )


def _processes(pids: int | str | None) -> int | None:
    if pids is None:
        return None
    if isinstance(pids, bool) or not str(pids).isdecimal() or int(pids) < _LEAST_PIDS:
        raise InvalidInput(f"too few processes: {pids!r:.40}", mend=f"give {_LEAST_PIDS} or more")
    return int(pids)


def _cpus(cpu: float | str | None) -> float | None:
    if cpu is None:
        return None
    try:
        count = float(cpu)
    except (ValueError, OverflowError):
        count = 0.0
    if not 0.05 <= count <= 1024:
        raise InvalidInput(f"not a number of CPUs: {cpu!r:.40}", mend="give 0.05 to 1024")
    return count


def difference(what: str, old: Limits | Allotment, new: Limits | Allotment) -> list[str]:
    """Return what of limits changes, a sentence each."""
    before, after = vars(old), vars(new)
    return [
        f"{what}: {key} {_said(key, before[key])} becomes {_said(key, after[key])}"
        for key in before
        if before[key] != after[key]
    ]


def _said(key: str, value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if key in ("cpu", "pids") else format_size(int(value))
