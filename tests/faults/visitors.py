"""The held traffic: visitors who read and write through the proxy all the time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count

from faults.subject import HOLD
from load import Load

RATE = 20.0  # requests a second, every other one a POST
_numbers = count(1)


@dataclass
class Visitors:
    """Come and go around one cell; what they were promised is remembered from cell to cell."""

    port: int
    host_name: str
    accepted: list[str] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)

    def come(self) -> None:
        """Begin to ask."""
        prefix = f"c{next(_numbers)}-"
        load = Load(self.port, self.host_name, RATE, limit=600, prefix=prefix, patience=HOLD + 20)
        self._load = load.start()

    def leave(self) -> None:
        """Ask no more, and wait for the last answers."""
        load = self._load
        load.finish()
        self.accepted += load.posted
        self.sent |= {f"{load.prefix}{number}" for number in range(load.sent)}

    def complaints(self, spare_posts: bool, broke: tuple[float, float] | None) -> list[str]:
        """Return what went wrong for them.

        ``spare_posts``: the application's own disk was full, its writes may fail.
        ``broke``: from when to when (time.monotonic) the environment was stopped; what was
        under way then may have broken.
        """
        found = []
        for failure in self._load.broken:
            spared = spare_posts and failure.text.startswith("POST")
            if broke and failure.asked < broke[1] and failure.ended > broke[0]:
                spared = True
            if not spared:
                after = failure.ended - failure.asked
                found.append(f"a visitor: {failure.text} after {after:.2f} s")
        return found

    def lost(self, entries: list[str], aside: Collection[str] = ()) -> list[str]:
        """Return what is not right about the entries that are kept.

        Those that were put ``aside`` for data of before are not looked for in them any more.
        """
        kept = Counter(entries)
        self.accepted = [entry for entry in self.accepted if entry in kept or entry not in aside]
        wrong = {
            "executed twice": sorted(entry for entry, times in kept.items() if times > 1),
            "accepted and lost": sorted(set(self.accepted) - set(kept)),
            "sent by nobody": sorted(set(kept) - self.sent),
        }
        return [
            f"{len(those)} entries {what}: {', '.join(those[:5])}"
            for what, those in wrong.items()
            if those
        ]


def now() -> float:
    """Return the time that failures are told in."""
    return time.monotonic()
