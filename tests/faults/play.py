"""Play one cell: a push, the fault in its middle, what is there afterwards, a good push."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from corpus.lab import salt
from faults import invariants
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
from faults.stand import Broken, Push, Stand, wait_for
from faults.subject import STUCK, UNWELL
from faults.visitors import Visitors, now

WHAT = {KILL: "kill", SLAY: "slay", ERROR: "raise", RESTORE: "raise"}
"""What is ordered of the deploy service for a fault."""
HERE = ", the copy here"


@dataclass
class Played:
    """One cell while it is played."""

    stand: Stand
    cell: Cell
    before: dict[str, Any] = field(default_factory=dict)
    commit: str = ""
    told: list[str] = field(default_factory=list)
    push: Push | None = None
    broke: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The project's name."""
        return self.stand.subject.name

    @property
    def pauses(self) -> bool:
        """Whether the deployment pauses, for what cannot be ordered of it."""
        late = self.cell.step == "unpack" and self.cell.variant.endswith(HERE)
        return self.cell.fault in (STOP, FULL, DROP) or late or self.unwell_late

    @property
    def unwell_late(self) -> bool:
        """Whether no version may start any more once this step has started the new one."""
        cell = self.cell
        ran = cell.mode == "editable" and cell.step in ("start", "health")
        return cell.fault == RESTORE and ran


def play(stand: Stand, visitors: Visitors, cell: Cell) -> list[str]:
    """Play a cell and return what does not hold; nothing when all is well."""
    played = Played(stand, cell)
    played.before = stand.probe()
    served = stand.subject.version
    told: list[str] = []
    visitors.come()
    try:
        _prepare(played)
        played.push = stand.push()
        _strike(played)
        outcomes = _end(played)
        told += [f"never came about: {order}" for order in stand.control("pending")]
        after = stand.probe()
        told += _check(played, after, outcomes, served)
        stand.control("order", [])
        stand.deploy()
    finally:
        stand.control("order", [])
        stand.control("go")
        visitors.leave()
    told += visitors.complaints(cell.fault == FULL, played.broke)
    left = invariants.leftovers(stand)
    told += [f"left: {what}" for what in left]
    end = stand.probe()
    told += invariants.as_pushed(stand, end["branch"], after, end)
    told += visitors.lost(end["entries"])
    return told


def _prepare(played: Played) -> None:
    """Commit the version that the cell needs, and order what is to happen to it."""
    cell, stand = played.cell, played.stand
    fails = "start" if cell.step in WAY_BACK else cell.step if cell.fault == FAILS else ""
    wrecks = cell.outcome not in ("live", "")
    played.commit = stand.write(fails=fails, wrecks=wrecks)
    here = cell.variant.endswith(HERE)
    if cell.fault == CORRUPT and not here:
        stand.tamper(cell.variant)
    elif cell.fault == CORRUPT and cell.step == "fetch":
        salt.call(stand.environment.host, "mc_project.fetch_release", played.name)
        stand.tamper(cell.variant.removesuffix(HERE), here=True)
    if cell.fault == RESTORE and not played.unwell_late:
        _break_way_back(played)
    moment = "end" if cell.fault == RESTORE else cell.moment
    what = ["pause"] if played.pauses else []
    what += [WHAT[cell.fault]] if cell.fault in WHAT else []
    orders = [{"step": cell.step, "moment": moment, "what": act} for act in what]
    stand.control("order", orders)


def _break_way_back(played: Played) -> None:
    """Have the ``restore`` macro fail where it is called, else the previous version's start."""
    cell = played.cell
    reloads = cell.mode != "editable" and cell.step in ("start", "health")
    flag = (STUCK if reloads else UNWELL).format(name=played.name)
    played.stand.control("run", ["touch", flag])


def _strike(played: Played) -> None:
    """Do from outside what cannot be ordered, while the deployment pauses."""
    cell, stand, push = played.cell, played.stand, played.push
    assert push is not None
    if not played.pauses:
        return
    wait_for(lambda: push.ended or stand.control("reached"), f"a pause at {cell.step}")
    if push.ended:
        raise Broken("git ended before the pause:\n" + "\n".join(push.lines))
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
        push.drop()
    stand.control("go")


def _end(played: Played) -> list[str]:
    """Wait until it has ended and return the outcomes that the ledger must tell."""
    cell, stand, push = played.cell, played.stand, played.push
    assert push is not None
    if cell.outcome == "rollback_failed":
        wait_for(lambda: invariants.stuck(stand), "the way back fails")
        push.wait()
        _mend(played)
    elif cell.keeps_journal:
        push.wait()
        _restart(stand)
    wait_for(lambda: invariants.settled(stand, played.before), "the deployment ends")
    if cell.fault == STOP and not push.ended:
        push.drop()
    code = push.wait()
    ends = [str(outcome) for outcome in stand.control("busy")["entries"]]
    if cell.fault == FULL:
        stand.control("free")
    outcome = ends[-1]
    if cell.outcome and cell.outcome != "rollback_failed" and outcome != cell.outcome:
        played.told.append(f"it ended {outcome} instead of {cell.outcome}")
    if cell.fault not in (STOP, DROP) and (code == 0) != (outcome == "live"):
        played.told.append(f"git push ended with {code} and the deployment {outcome}")
    if outcome == "rollback_failed" and cell.fault != RESTORE:
        played.told.append("the way back failed")
    return ["rollback_failed", "rolled_back"] if cell.outcome == "rollback_failed" else [outcome]


def _mend(played: Played) -> None:
    """See that a failed rollback is loud and stays, then mend it as the how-to says.

    An error that was ordered acts once: there is nothing to mend and nothing that stays.
    """
    stand = played.stand
    assert played.push is not None
    if "THE ROLLBACK FAILED" not in "\n".join(played.push.lines):
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


def _check(played: Played, after: dict[str, Any], outcomes: list[str], served: str) -> list[str]:
    """Return what is wrong once the deployment has ended, before anything else is pushed."""
    stand, before = played.stand, played.before
    told = list(played.told)
    told += invariants.ledger(before, after, played.commit, outcomes)
    live = outcomes[-1] == "live"
    if live:
        served = stand.subject.version
        told += invariants.as_pushed(stand, played.commit, before, after)
    else:
        told += invariants.as_before(stand, before, after)
    answer = version(stand)
    if answer != served:
        told.append(f"version {answer} serves instead of {served}")
    return told


def version(stand: Stand) -> str:
    """Return the version that answers a visitor."""
    port, host_name = stand.http
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/version", headers={"Host": host_name}
    )
    with urllib.request.urlopen(request, timeout=70) as answer:
        return str(json.load(answer)["version"])
