"""What a doctor finds, of a project or of a node, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from corpus.model.errors import CorpusError


class State(StrEnum):
    """How bad it is. ``WARN``: all serves, but something will not, or is not as it was made."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing found: which ``check``, ``what`` it is, ``where``, how to ``mend`` it.

    ``repair`` does what ``mend`` says, where that is safe; done twice it ends the same.
    """

    check: str
    state: State
    what: str
    where: str = ""
    mend: str = ""
    repair: Callable[[], object] | None = None
    mended: bool = False

    def mended_now(self) -> Finding:
        """Repair it, when it can be, and return what is to be said of it then."""
        if self.repair is None:
            return self
        try:
            self.repair()
        except Exception as error:  # one that cannot be mended must not hide the others
            return replace(self, what=f"{self.what}; mending it failed: {error}")
        return replace(self, mended=True)

    def as_dict(self, **of: str) -> dict[str, Any]:
        """Return plain values; ``of`` says whose finding it is."""
        return {
            **of,
            "check": self.check,
            "state": str(self.state),
            "what": self.what,
            "where": self.where,
            "mend": self.mend,
            "mended": self.mended,
        }


def asked(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; one that finds nothing, or trips, says so."""
    found = False
    try:
        for finding in look():
            found = True
            yield finding
    except CorpusError as error:
        found = True
        what = f"could not be looked at: {error.what}"
        yield Finding(check, State.BAD, what, error.where or "", error.mend or "")
    except Exception as error:
        found = True
        yield Finding(check, State.BAD, f"could not be looked at: {error or type(error).__name__}")
    if not found:
        yield Finding(check, State.OK, "")


def is_well(found: Iterable[dict[str, Any]]) -> bool:
    """Tell whether nothing bad is left."""
    return all(each["state"] != State.BAD or each["mended"] for each in found)
