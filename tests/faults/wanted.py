"""What is wanted of a cell: what is begun, and what must be there once that is live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from faults.stand import Asker, Stand
from faults.subject import AGAIN

State = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """A deployment that was not begun yet, of a version with its ``commit`` and files of ``run``.

    ``before`` is what is there, of the version that ``served``. ``base`` is the state whose data
    the version migrates: that of before, or what ``target`` left, which is gone back to.
    """

    begin: Callable[[], Asker]
    before: State
    served: str
    commit: str
    version: str
    run: Mapping[str, str]
    base: State
    target: str = ""


def push(stand: Stand, **bad: Any) -> Wanted:
    """Commit the next version, which is to be pushed."""
    before, served = stand.probe(), stand.serves()
    commit = stand.write(**bad)
    run, version = stand.expected_run(), stand.subject.version
    return Wanted(stand.push, before, served, commit, version, run, before)


def rollback(stand: Stand, **bad: Any) -> Wanted:
    """Have a version live and then another one; it is the former that is gone back to.

    It was good when it was pushed: ``bad`` is what it is when it comes again.
    """
    commit = stand.deploy(again=True, **bad)
    run, version, base = stand.expected_run(), stand.subject.version, stand.probe()
    stand.deploy()
    before, served = stand.probe(), stand.serves()
    stand.control("run", ["touch", AGAIN.format(name=stand.subject.name)])
    target = base["ledger"][-1]["id"]
    return Wanted(stand.roll_back, before, served, commit, version, run, base, target)
