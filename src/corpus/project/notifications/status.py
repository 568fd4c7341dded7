"""What there is to tell of an ended deployment."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from corpus.model.deployment import Kind, Outcome
from corpus.project.ledger import Entry


@dataclass(frozen=True)
class Status:
    """How a deployment ended; secrets are masked in ``error`` already.

    ``ended`` is in Unix seconds, ``seconds`` is how long it took and ``held`` how long visitors
    waited; ``previous`` is the commit that was live before, empty when none was. The last four
    are filled in when it is sent.
    """

    project: str
    deployment: str
    outcome: Outcome
    kind: Kind
    mode: str
    commit: str
    branch: str
    by: str
    error: str
    ended: float
    seconds: float
    held: float
    previous: str
    subject: str = ""
    platform: str = ""
    environment: str = ""
    environment_name: str = ""

    @classmethod
    def of(cls, project: str, entry: Entry, branch: str, previous: str) -> Status:
        """Return what the ledger's ``entry`` has to tell."""
        return cls(
            project=project,
            deployment=entry.id,
            outcome=entry.outcome,
            kind=entry.kind,
            mode=entry.mode,
            commit=entry.commit,
            branch=branch,
            by=entry.by,
            error=entry.error,
            ended=entry.ended,
            seconds=round(entry.ended - entry.started, 3),
            held=entry.held,
            previous=previous,
        )

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Status:
        """Return what ``as_dict`` gave. Raises ValueError, TypeError, KeyError."""
        given = {key: value for key, value in dict(values).items() if key != "live"}
        given |= {"outcome": Outcome(given["outcome"]), "kind": Kind(given["kind"])}
        return cls(**given)

    @property
    def id(self) -> str:
        """What this ending is known by; the same however often it is told."""
        return f"{self.deployment}-{self.outcome}"

    @property
    def live(self) -> str:
        """The commit that is live now; empty when none is, or when that is not certain."""
        if self.outcome is Outcome.ROLLBACK_FAILED:
            return ""
        return self.commit if self.outcome is Outcome.LIVE else self.previous

    @property
    def tag(self) -> str:
        """The tag of the event on Salt's bus."""
        return f"corpus/deployment/{self.project}/{self.outcome}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as web hooks and events carry them."""
        return {
            **asdict(self),
            "outcome": str(self.outcome),
            "kind": str(self.kind),
            "live": self.live,
        }


def one_line(text: str, most: int = 200) -> str:
    """Return the text of others as one line that a terminal or a header shows and nothing more."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
