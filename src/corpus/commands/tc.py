"""How fast an interface sends: tc(8), with the disciplines tbf(8) and netem(8)."""

from __future__ import annotations

_LATENCY = "400ms"  # how long a packet may wait for its turn before it is dropped
_LIMIT = 10_000  # packets that are on their way at once
_BURST = 16 << 10  # bytes; a rate of which more than that falls due at once needs more


def clear(device: str) -> list[str]:
    """Return the command that lets ``device`` send at once; it fails where it does already."""
    return ["tc", "qdisc", "delete", "dev", device, "root"]


def shape(device: str, *, delay: int | None, rate: int | None) -> list[str]:
    """Return the command that has ``device`` send late, slowly, or both.

    ``delay`` in milliseconds, ``rate`` in bits a second. Only a delay needs netem, which not
    every kernel has.
    """
    add = ["tc", "qdisc", "add", "dev", device, "root"]
    if delay is None:
        burst = max(_BURST, (rate or 0) // 8 // 100)
        return [*add, "tbf", "rate", f"{rate}bit", "burst", str(burst), "latency", _LATENCY]
    slow = ["rate", f"{rate}bit"] if rate is not None else []
    return [*add, "netem", "limit", str(_LIMIT), "delay", f"{delay}ms", *slow]
