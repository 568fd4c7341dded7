"""Play one cell: a push or a rollback, the fault in its middle, what is there, a good push."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from corpus.lab import salt
from faults import invariants, wanted
from faults.cells import (
    CORRUPT,
    DROP,
    ERROR,
    FAILS,
    FULL,
    KILL,
    RESTORE,
    SLAY,
    STOP,
    WAY_BACK,
    Cell,
)
from faults.stand import Asker, Broken, Stand, wait_for
from faults.subject import AGAIN, STUCK, UNWELL
from faults.visitors import Visitors, now
from faults.wanted import Wanted

WHAT = {KILL: "kill", SLAY: "slay", ERROR: "raise", RESTORE: "raise"}
"""What is ordered of the deploy service for a fault."""
HERE = ", the copy here"


@dataclass
class Played:
    """One cell while it is played."""

    stand: Stand
    cell: Cell
    wanted: Wanted
    told: list[str] = field(default_factory=list)
    asker: Asker | None = None
    broke: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The project's name."""
        return self.stand.subject.name

    @property
    def pauses(self) -> bool:
        """Whether the deployment pauses, for what cannot be ordered of it."""
        late = self.cell.step == "unpack" and self.cell.variant.endswith(HERE)
        return self.cell.fault in (STOP, FULL, DROP) or late or self.breaks_late

    @property
    def reloads(self) -> bool:
        """Whether the way back from this step calls the ``restore`` macro."""
        return self.cell.mode != "editable" and self.cell.step in ("revert", "start", "health")

    @property
    def breaks_late(self) -> bool:
        """Whether the way back may be broken only once the step is done, which needs the same.

        In editable mode that is the start; a rollback has called the ``restore`` macro too.
        """
        started = self.cell.step in ("start", "health")
        needs = {"editable": started, "rollback": self.reloads}
        return self.cell.fault == RESTORE and needs.get(self.cell.way, False)


def play(stand: Stand, visitors: Visitors, cell: Cell) -> list[str]:
    """Play a cell and return what does not hold; nothing when all is well."""
    played = Played(stand, cell, _wanted(stand, cell))
    told: list[str] = []
    visitors.come()
    try:
        _prepare(played)
        played.asker = played.wanted.begin()
        _strike(played)
        outcomes = _end(played)
        told += [f"never came about: {order}" for order in stand.control("pending")]
        after = stand.probe()
        told += _check(played, after, outcomes)
        stand.control("order", [])
        good = wanted.push(stand)
        stand.get_live(good.begin())
    finally:
        stand.control("order", [])
        stand.control("go")
        stand.control("run", ["rm", "-f", AGAIN.format(name=played.name)])
        visitors.leave()
    told += visitors.complaints(cell.fault == FULL, played.broke)
    left = invariants.leftovers(stand)
    told += [f"left: {what}" for what in left]
    end = stand.probe()
    told += invariants.as_wanted(stand, good, end)
    gone_back = played.wanted.target and outcomes[-1] == "live"
    since = set(after["aside"]) - set(played.wanted.base["entries"])
    told += visitors.lost(end["entries"], since if gone_back else ())
    return told


def _wanted(stand: Stand, cell: Cell) -> Wanted:
    """Have the version that the cell needs, to be pushed or to be gone back to."""
    fails = "start" if cell.step in WAY_BACK else cell.step if cell.fault == FAILS else ""
    wrecks = cell.outcome not in ("live", "")
    begun = wanted.rollback if cell.way == "rollback" else wanted.push
    return begun(stand, fails=fails, wrecks=wrecks)


def _prepare(played: Played) -> None:
    """Order what is to happen to the deployment."""
    cell, stand = played.cell, played.stand
    here = cell.variant.endswith(HERE)
    if cell.fault == CORRUPT and not here:
        stand.tamper(cell.variant)
    elif cell.fault == CORRUPT and cell.step == "fetch":
        salt.call(stand.environment.host, "mc_project.fetch_release", played.name)
        stand.tamper(cell.variant.removesuffix(HERE), here=True)
    if cell.fault == RESTORE and not played.breaks_late:
        _break_way_back(played)
    moment = "end" if cell.fault == RESTORE else cell.moment
    what = ["pause"] if played.pauses else []
    what += [WHAT[cell.fault]] if cell.fault in WHAT else []
    orders = [{"step": cell.step, "moment": moment, "what": act} for act in what]
    stand.control("order", orders)


def _break_way_back(played: Played) -> None:
    """Have the ``restore`` macro fail where it is called, else the previous version's start."""
    flag = (STUCK if played.reloads else UNWELL).format(name=played.name)
    played.stand.control("run", ["touch", flag])


def _strike(played: Played) -> None:
    """Do from outside what cannot be ordered, while the deployment pauses."""
    cell, stand, asker = played.cell, played.stand, played.asker
    assert asker is not None
    if not played.pauses:
        return
    wait_for(lambda: asker.ended or stand.control("reached"), f"a pause at {cell.step}")
    if asker.ended:
        raise Broken("it ended before the pause:\n" + "\n".join(asker.lines))
    if cell.fault == STOP:
        began = now()
        stand.kill_container()
        played.broke = (began, now())
        return
    if cell.fault == FULL:
        stand.control("fill")
    elif cell.fault == CORRUPT:
        stand.tamper(cell.variant.removesuffix(HERE), here=True)
    elif cell.fault == RESTORE:
        _break_way_back(played)
    else:
        asker.drop()
    stand.control("go")


def _end(played: Played) -> list[str]:
    """Wait until it has ended and return the outcomes that the ledger must tell."""
    cell, stand, asker = played.cell, played.stand, played.asker
    assert asker is not None
    if cell.outcome == "rollback_failed":
        wait_for(lambda: invariants.stuck(stand), "the way back fails")
        asker.wait()
        _mend(played)
    elif cell.keeps_journal:
        asker.wait()
        _restart(stand)
    wait_for(lambda: invariants.settled(stand, played.wanted.before), "the deployment ends")
    if cell.fault == STOP and not asker.ended:
        asker.drop()
    code = asker.wait()
    ends = [str(outcome) for outcome in stand.control("busy")["entries"]]
    if cell.fault == FULL:
        stand.control("free")
    outcome = ends[-1]
    if cell.outcome and cell.outcome != "rollback_failed" and outcome != cell.outcome:
        played.told.append(f"it ended {outcome} instead of {cell.outcome}")
    if cell.fault not in (STOP, DROP) and (code == 0) != (outcome == "live"):
        played.told.append(f"who asked was told {code} and the deployment ended {outcome}")
    if outcome == "rollback_failed" and cell.fault != RESTORE:
        played.told.append("the way back failed")
    return ["rollback_failed", "rolled_back"] if cell.outcome == "rollback_failed" else [outcome]


def _mend(played: Played) -> None:
    """See that a failed rollback is loud and stays, then mend it as the how-to says.

    An error that was ordered acts once: there is nothing to mend and nothing that stays.
    """
    stand = played.stand
    assert played.asker is not None
    if "THE ROLLBACK FAILED" not in "\n".join(played.asker.lines):
        played.told.append("a failed rollback was not told loudly")
    if played.cell.fault == RESTORE:
        stand.write()
        refused = stand.push()
        if refused.wait() == 0 or "rollback" not in "\n".join(refused.lines):
            played.told.append("a push was not refused on top of a failed rollback")
    for flag in (STUCK, UNWELL):
        stand.control("run", ["rm", "-f", flag.format(name=played.name)])
    _restart(stand)


def _restart(stand: Stand) -> None:
    stand.control("run", ["systemctl", "restart", "corpus-deploy.service"])


def _check(played: Played, after: dict[str, Any], outcomes: list[str]) -> list[str]:
    """Return what is wrong once the deployment has ended, before anything else is pushed."""
    told = [*played.told, *invariants.ledger(played.wanted, after, outcomes)]
    judge = invariants.as_wanted if outcomes[-1] == "live" else invariants.as_before
    return told + judge(played.stand, played.wanted, after)
