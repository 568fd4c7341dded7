"""Random pushes and random faults at random instants, one after the other, on and on.

What is chosen depends on the seed alone; what an instant hits depends on the machine. After
each the invariants of the matrix are looked at.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from corpus.lab.machine import Lab
from corpus.model.errors import InvalidInput
from faults import invariants, report, wanted
from faults.cells import DROP, FAILS, KILL, SLAY, STEPS, STOP, Cell
from faults.stand import Asker, Broken, Stand, wait_for
from faults.subject import PHASE_OF
from faults.visitors import Visitors, now
from faults.wanted import Wanted

AT_ONCE = 2
LONGEST = 1.6  # seconds after a push began within which its instant lies
WEIGHTS = {KILL: 5, SLAY: 3, DROP: 2, STOP: 2, FAILS: 1}


@dataclass(frozen=True)
class Throw:
    """What is done in one turn: the version that is pushed, and what befalls it, and when.

    ``twice`` is how long after the first the same befalls what puts things back; 0 for never.
    """

    fails: str
    fault: str
    instant: float
    twice: float = 0.0

    def __str__(self) -> str:
        push = f"a push whose {self.fails} fails" if self.fails else "a good push"
        if self.fault == FAILS:
            return push
        again = f", and {self.twice:.3f} s later again" if self.twice else ""
        return f"{push}: {self.fault} after {self.instant:.3f} s{again}"


def throw(dice: random.Random, mode: str) -> Throw:
    """Choose one turn."""
    phases = [step for step in STEPS[mode] if step in PHASE_OF and step != "live"]
    fault = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    fails = dice.choice(phases) if fault == FAILS or dice.random() < 0.3 else ""
    instant = dice.random() * LONGEST
    twice = dice.random() if fault in (KILL, SLAY) and dice.random() < 0.25 else 0.0
    return Throw(fails, fault, instant, twice)


def length(text: str) -> tuple[int, float]:
    """Return how many turns and how many seconds ``200`` or ``600s`` mean."""
    try:
        if text.endswith("s"):
            return 10**9, float(text[:-1])
        return int(text), float("inf")
    except ValueError:
        raise InvalidInput(f"not a length of a soak: {text!r}", mend="200 or 600s") from None


def turn(stand: Stand, visitors: Visitors, what: Throw) -> tuple[str, list[str]]:
    """Do one turn; return how the deployment ended and what does not hold."""
    begun = wanted.push(stand, fails=what.fails, wrecks=bool(what.fails))
    visitors.come()
    try:
        push = begun.begin()
        broke = _befall(stand, push, what)
        wait_for(lambda: _quiet(stand, push, what), "everything is quiet again")
        push.wait()
        after = stand.probe()
    finally:
        visitors.leave()
    told = visitors.complaints(False, broke)
    told += [f"left: {left}" for left in _unexpected(invariants.leftovers(stand, 3.0))]
    told += _judged(stand, what, begun, after)
    outcome = (_outcomes(begun, after) or ["never begun"])[-1]
    return outcome, told + visitors.lost(stand.probe()["entries"])


def _unexpected(left: list[str]) -> list[str]:
    """Return what is left but the one download that the next promotion goes on from."""
    downloads = [path for path in left if fnmatch(path, "*/releases/.*.partial")]
    return [path for path in left if path not in downloads[:1]]


def _outcomes(begun: Wanted, after: dict[str, Any]) -> list[str]:
    return [str(entry["outcome"]) for entry in after["ledger"][len(begun.before["ledger"]) :]]


def _judged(stand: Stand, what: Throw, begun: Wanted, after: dict[str, Any]) -> list[str]:
    told, outcomes = [], _outcomes(begun, after)
    outcome = outcomes[-1] if outcomes else ""
    # The environment's systemd is killed first: a way back that needs it just then says so, and
    # dies. It is gone on with after the start.
    cut_off = what.fault == STOP and outcomes == ["rollback_failed", "rolled_back"]
    if outcomes:
        told += invariants.ledger(begun, after, outcomes if cut_off else [outcome])
    if outcome == "live":
        told += invariants.as_wanted(stand, begun, after)
        told += [f"a version whose {what.fails} fails got live"] if what.fails else []
    else:
        told += invariants.as_before(stand, begun, after)
    if outcome == "rollback_failed":
        told.append("the way back failed")
    return told


def _befall(stand: Stand, push: Asker, what: Throw) -> tuple[float, float] | None:
    """Do what befalls the deployment; return when the environment was away, if it was."""
    if what.fault == FAILS:
        return None
    time.sleep(what.instant)
    if what.fault == DROP:
        push.drop()
    elif what.fault == STOP:
        began = now()
        stand.kill_container()
        return began, now()
    else:
        stand.control("strike", what.fault == SLAY)
        if what.twice:
            time.sleep(what.twice)
            stand.control("strike", what.fault == SLAY)
    return None


def _quiet(stand: Stand, push: Asker, what: Throw) -> bool:
    if what.fault == STOP and not push.ended and _idle(stand):
        push.drop()
    if not push.ended or not _idle(stand):
        return False
    time.sleep(0.3)  # a recovery may be about to begin
    return _idle(stand)


def _idle(stand: Stand) -> bool:
    busy = stand.control("busy")
    return not busy["locked"] and not busy["journal"] and busy["service"] == "active"


class Soaker(threading.Thread):
    """Does turns on a stand of each of its modes."""

    def __init__(
        self, lab: Lab, folder: Path, modes: list[str], seed: str, turns: int, until: float
    ) -> None:
        super().__init__(name=seed)
        self.lab, self.folder, self.modes = lab, folder, modes
        self.dice = random.Random(seed)
        self.turns, self.until = turns, until
        self.outcomes: Counter[str] = Counter()
        self.broken: list[str] = []
        self.stands: dict[str, tuple[Stand, Visitors]] = {}

    def run(self) -> None:
        """Do turns until there were enough, or one broke something."""
        try:
            while self.outcomes.total() < self.turns and time.monotonic() < self.until:
                mode = self.dice.choice(self.modes)
                what = throw(self.dice, mode)
                try:
                    outcome, told = turn(*self._stand(mode), what)
                except Exception:
                    outcome, told = "unknown", [traceback.format_exc()]
                self.outcomes[outcome] += 1
                number = f"{self.name}, turn {self.outcomes.total()}, {mode}"
                print(f"{'fail' if told else 'pass'}  {number}: {what}: {outcome}", flush=True)
                if told:
                    self._keep(mode, number, what, told)
                    return
            for stand, _ in self.stands.values():
                stand.deploy()
        except Broken as error:
            self.broken.append(str(error))
        finally:
            for stand, _ in self.stands.values():
                stand.close()

    def _stand(self, mode: str) -> tuple[Stand, Visitors]:
        if mode not in self.stands:
            name = f"{mode}{self.name.rpartition('-')[2]}"
            stand = Stand.make(self.lab, mode, name, self.folder / name)
            self.stands[mode] = stand, Visitors(*stand.http)
        stand, visitors = self.stands[mode]
        stand.said = stand.said[-2:]
        return stand, visitors

    def _keep(self, mode: str, number: str, what: Throw, told: list[str]) -> None:
        row = report.Row(Cell(mode, "soak", str(what), variant=number), "fail", "\n".join(told))
        lines = self.stands[mode][0].told() if mode in self.stands else []
        self.broken.append(f"{number}: {what}\n{row.why}\nkept: {report.write_log(row, lines)}")


def run(lab: Lab, folder: Path, modes: list[str], seed: int, turns: int, seconds: float) -> int:
    """Soak; print the seed and what happened; return how many turns broke something."""
    print(f"seed {seed}: the same choices again: --soak N --seed {seed}", flush=True)
    until = time.monotonic() + seconds
    share = [turns // AT_ONCE + (number < turns % AT_ONCE) for number in range(AT_ONCE)]
    soakers = [
        Soaker(lab, folder, modes, f"{seed}-{number}", share[number], until)
        for number in range(AT_ONCE)
    ]
    for soaker in soakers:
        soaker.start()
    for soaker in soakers:
        soaker.join()
    outcomes = sum((soaker.outcomes for soaker in soakers), Counter[str]())
    broken = [text for soaker in soakers for text in soaker.broken]
    print("\n".join(broken))
    ends = ", ".join(f"{number} {name}" for name, number in sorted(outcomes.items()))
    print(f"seed {seed}: {outcomes.total()} turns ({ends}), {len(broken)} broken")
    report.write_soak(seed, outcomes.total(), len(broken))
    return len(broken)
