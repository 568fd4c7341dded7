"""The matrix as a table: steps of each way to deploy, faults, and why some cells are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

STEPS = {
    "editable": "checkout preflight hold bind start health live".split(),
    "cooking": "checkout preflight build bundle hold data dump swap start health live".split(),
    "final": "checkout fetch preflight unpack hold data dump swap start health live".split(),
    "rollback": "checkout preflight take hold data dump swap revert start health live".split(),
}
"""A push in each mode, and a rollback by hand with its data."""
MODES = {way: way for way in STEPS} | {"rollback": "cooking"}
"""The mode of the environment that each way is played in."""
WAY_BACK = ["rollback", "resume"]
"""What the journal says on the way back of a deployment whose migration failed."""

FAILS, KILL, SLAY, STOP, FULL, DROP, CORRUPT, RESTORE, ERROR = FAULTS = (
    "state fails",
    "kill -9",
    "service killed",
    "container stopped",
    "disk full",
    "SSH dropped",
    "corrupt release",
    "failing restore",
    "I/O error",
)
MOMENTS = {KILL: ("begin", "end"), ERROR: ("begin", "end")}
"""The moments of a step at which a fault is tried; the beginning alone where none are named."""
VARIANTS = {
    "fetch": (
        "truncated",
        "a byte flipped",
        "unknown signer",
        "other architecture",
        "truncated, the copy here",
    ),
    "unpack": (
        "a byte flipped, the copy here",
        "path traversal",
        "absolute link",
        "escaping link",
        "device",
        "setuid",
        "too large",
    ),
}
"""What a corrupt release is: staging's own is changed, or what was fetched of it."""
HEALED = {"truncated, the copy here"}
"""What is fetched anew."""


@dataclass(frozen=True)
class Cell:
    """One step, one fault; ``moment`` tells the two ends of a step apart."""

    way: str
    step: str
    fault: str
    moment: str = "begin"
    variant: str = ""

    @property
    def name(self) -> str:
        """The cell as people write it."""
        ends = f" ({self.moment})" if self.fault in MOMENTS else ""
        return f"{self.way}: {self.step}: {self.fault}{ends}" + (
            f": {self.variant}" if self.variant else ""
        )

    @property
    def mode(self) -> str:
        """The mode of the environment that it is played in."""
        return MODES[self.way]

    @property
    def held(self) -> bool:
        """Whether the step comes after traffic was held: its failure is rolled back."""
        steps = STEPS[self.way]
        return self.step in WAY_BACK or steps.index(self.step) >= steps.index("hold")

    @property
    def after_hold(self) -> bool:
        """Whether traffic is held already when the step begins."""
        return self.held and self.step != "hold"

    @property
    def outcome(self) -> str:
        """How the deployment ends, in the ledger's words; several may be right: none."""
        if self.fault == ERROR and (self.step, self.moment) in _ENDS:
            return _ENDS[self.step, self.moment]
        if self.variant in HEALED:
            return "live"
        if (self.fault == DROP and self.step not in WAY_BACK) or self.step == "live":
            return "live"
        if self.fault == RESTORE:
            return "rollback_failed"
        if self.fault == FULL and self.step not in WAY_BACK:
            return ""  # what does not need the room gets through
        return "rolled_back" if self.held else "refused"

    @property
    def keeps_journal(self) -> bool:
        """Whether only the next start of the service ends the journal, which could not be."""
        return (self.fault, self.step, self.moment) == (ERROR, "resume", "end")

    @property
    def why_not(self) -> str:
        """Why there is nothing to try, or an empty text."""
        return _REASONS.get((self.fault, self.step)) or _general(self)


_ENDS = {
    ("live", "begin"): "rolled_back",  # nobody knows whether the record is on the disk
    ("rollback", "begin"): "rolled_back",  # the mark alone is not worth giving up for
    ("rollback", "end"): "rollback_failed",
    ("resume", "begin"): "rollback_failed",
    ("resume", "end"): "rolled_back",
}
NO_PHASE = "the step runs no phase, so there is no state of the project's in it"
_REASONS = {
    **{(FAILS, step): NO_PHASE for step in ("data", "swap", "fetch")},
    (FAILS, "take"): "the step runs a phase in final mode alone; this is played in cooking mode",
    **{(FAILS, step): "a state that fails is what has led to the way back" for step in WAY_BACK},
    **{
        (RESTORE, step): "an injected failure is how every cell of this column begins"
        for step in WAY_BACK
    },
    (RESTORE, "live"): "past this point a deployment is completed and nothing is restored",
}


def _general(cell: Cell) -> str:
    if cell.fault == CORRUPT and cell.way == "rollback":
        return "a rollback reads no release: it copies what the target's deployment left"
    if cell.fault == CORRUPT and cell.way != "final":
        return f"{cell.way} mode reads no release"
    if cell.fault == CORRUPT and cell.step not in VARIANTS:
        return "the release was verified and unpacked before, or is not looked at yet"
    if cell.fault == RESTORE and not cell.held:
        return "nothing was touched before hold, so nothing is put back"
    return ""


def cells(ways: list[str], steps: list[str], faults: list[str]) -> Iterator[Cell]:
    """Yield the cells of the chosen ways, steps and faults, those that are none too."""
    for way in ways:
        for step in [*STEPS[way], *WAY_BACK]:
            for fault in FAULTS:
                if step in steps and fault in faults:
                    yield from _of(way, step, fault)


def _of(way: str, step: str, fault: str) -> Iterator[Cell]:
    if fault == CORRUPT and way == "final" and step in VARIANTS:
        for variant in VARIANTS[step]:
            yield Cell(way, step, fault, variant=variant)
        return
    for moment in MOMENTS.get(fault, ("begin",)):
        yield Cell(way, step, fault, moment)
