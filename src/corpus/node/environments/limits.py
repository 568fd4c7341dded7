"""What an environment may use, checked once."""

from __future__ import annotations

import os

from corpus.model.errors import InvalidInput
from corpus.model.size import format_size, parse_share, parse_size
from corpus.node.records import Limits
from corpus.node.settings import Settings

_LEAST_SIZE = 64 << 20
_LEAST_MEMORY = 32 << 20
_LEAST_PIDS = 20


def parse(
    size: str | int,
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | None = None,
    size_limit: str | int | None = None,
) -> Limits:
    """Return the limits; None means none. Raises InvalidInput.

    ``size``, ``size_limit`` and ``memory`` are sizes such as ``5G``, ``cpu`` a number of CPUs
    such as 0.5.
    """
    bytes_, ram = parse_size(size), None if memory is None else parse_size(memory)
    _at_least("size", bytes_, _LEAST_SIZE)
    if ram is not None:
        _at_least("memory", ram, _LEAST_MEMORY)
    if pids is not None and (isinstance(pids, bool) or int(pids) < _LEAST_PIDS):
        raise InvalidInput(f"too few processes: {pids}", mend=f"give {_LEAST_PIDS} or more")
    most = None if size_limit is None else parse_size(size_limit)
    if most is not None and most < bytes_:
        raise InvalidInput(
            f"the size {format_size(bytes_)} is above the size_limit {format_size(most)}",
            mend="give a larger size_limit too, or a smaller size",
        )
    return Limits(bytes_, ram, _cpus(cpu), None if pids is None else int(pids), most)


def defaults(
    settings: Settings, memory: str | int | None, pids: int | None
) -> tuple[str | int | None, int | None]:
    """Return memory and processes of a new environment: what is given, or what the node says."""
    if memory is None and settings.default_memory:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = parse_share(settings.default_memory, whole)
    if pids is None and settings.default_pids:
        pids = settings.default_pids
    return memory, pids


def _at_least(what: str, value: int, least: int) -> None:
    if value < least:
        raise InvalidInput(
            f"the {what} {format_size(value)} is too small for a system",
            mend=f"give {format_size(least)} or more",
        )


def _cpus(cpu: float | str | None) -> float | None:
    if cpu is None:
        return None
    try:
        count = float(cpu)
    except ValueError:
        count = 0.0
    if not 0.05 <= count <= 1024:
        raise InvalidInput(f"not a number of CPUs: {cpu!r:.40}", mend="give 0.05 to 1024")
    return count
