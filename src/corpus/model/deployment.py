"""Deployments as values: their ids and how they end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from corpus.model.errors import InvalidInput

_ID = re.compile(r"(\d{8}T\d{6})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)


class Outcome(StrEnum):
    """How a deployment ended. ``REFUSED``: before anything was touched."""

    LIVE = "live"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    REFUSED = "refused"

    @property
    def exit_code(self) -> int:
        """What ``git push`` and the command lines exit with."""
        return {"live": 0, "refused": 10, "rolled_back": 12, "rollback_failed": 13}[self.value]


class Kind(StrEnum):
    """What brought a deployment about.

    ``DEPLOY``: a commit was pushed. ``PROMOTE``: a release was chosen. ``ROLLBACK``: a former
    deployment was.
    """

    DEPLOY = "deploy"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True, order=True)
class DeploymentId:
    """``<DATETIME>-<UUID>``; ids sort by time (UTC).

    The UUID begins with the fraction of the second: the newest release is the last one by name,
    also of those that a fast machine makes within one second. 90 bits of it are random.
    """

    stamp: str
    uuid: str

    def __str__(self) -> str:
        return f"{self.stamp}-{self.uuid}"

    @classmethod
    def make(cls, now: datetime, uuid: UUID) -> DeploymentId:
        """Return the id of a deployment that begins ``now``; ``uuid`` is a random one."""
        fraction = f"{(now.microsecond << 32) // 1_000_000:08x}"
        return cls(now.astimezone(UTC).strftime("%Y%m%dT%H%M%S"), fraction + str(uuid)[8:])

    @classmethod
    def parse(cls, text: str) -> DeploymentId:
        """Return the id written ``text``; raises InvalidInput."""
        found = _ID.fullmatch(text)
        if not found:
            raise InvalidInput(f"not a deployment id: {ascii(text)[:80]}")
        return cls(found[1], found[2])

    @classmethod
    def within(cls, name: str) -> DeploymentId | None:
        """Return the id that the name of a file or directory bears, if any."""
        found = _ID.search(name)
        return cls(found[1], found[2]) if found else None
