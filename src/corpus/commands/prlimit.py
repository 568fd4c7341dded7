"""prlimit(1): commands that may not have as much as they like."""

from __future__ import annotations

from collections.abc import Sequence


def files(size: int, argv: Sequence[str]) -> list[str]:
    """Return ``argv`` run so that no file grows beyond ``size`` bytes by it, else it is ended."""
    return ["prlimit", f"--fsize={size}", *argv]
