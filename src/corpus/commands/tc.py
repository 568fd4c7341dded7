"""How fast an interface sends: tc(8), with the disciplines tbf(8) and netem(8)."""

from __future__ import annotations

_LATENCY = "400ms"  # how long a packet may wait for its turn before it is dropped
_LIMIT = 10_000  # packets that are on their way at once
_BURST = 16 << 10  # bytes; a rate of which more than that falls due at once needs more


def clear(device: str) -> list[str]:
    """Return the command that lets ``device`` send at once; it fails where it does already."""
    return ["tc", "qdisc", "delete", "dev", device, "root"]


def slow(device: str, rate: int) -> list[str]:
    """Return the command that has ``device`` send no more than ``rate`` bits a second."""
    burst = max(_BURST, rate // 8 // 100)
    return [*_add(device), "tbf", "rate", f"{rate}bit", "burst", str(burst), "latency", _LATENCY]


def late(device: str, delay: int, rate: int | None = None) -> list[str]:
    """Return the command that has ``device`` send ``delay`` milliseconds late, and slowly too.

    It needs netem, which not every kernel has.
    """
    slow = ["rate", f"{rate}bit"] if rate is not None else []
    return [*_add(device), "netem", "limit", str(_LIMIT), "delay", f"{delay}ms", *slow]


def _add(device: str) -> list[str]:
    return ["tc", "qdisc", "add", "dev", device, "root"]
