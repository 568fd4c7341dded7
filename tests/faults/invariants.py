"""What holds after every cell, against what was there before."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from faults.stand import Stand
from faults.subject import migrated
from faults.wanted import State, Wanted


def files(tree: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the digests of the plain files of a tree."""
    return {path: found[2] for path, found in tree.items() if found[0].startswith("0o100")}


def settled(stand: Stand, before: State) -> bool:
    """Tell whether what began after ``before`` has ended and nothing is open."""
    busy = stand.control("busy")
    return (
        len(busy["entries"]) > len(before["ledger"])
        and not busy["locked"]
        and not busy["journal"]
        and busy["service"] == "active"
    )


def stuck(stand: Stand) -> bool:
    """Tell whether a rollback has failed and nobody works on it any more."""
    busy = stand.control("busy")
    return busy["entries"][-1:] == ["rollback_failed"] and not busy["locked"]


def leftovers(stand: Stand, patience: float = 20.0) -> list[str]:
    """Return what is left; what is just about to go is waited for."""
    deadline = time.monotonic() + patience
    while (left := stand.control("leftovers")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return list(left)


_CODE = ("run", "checkout", "branch", "current", "unit", "bound")
PUT_BACK = {
    "editable": (*_CODE, "releases"),
    "cooking": (*_CODE, "data", "database", "releases", "offered"),
    # A release that was fetched and verified stays: the next attempt need not fetch it.
    "final": (*_CODE, "data", "database"),
}
"""What a deployment that did not get live leaves as it was, in each mode."""


def as_before(stand: Stand, wanted: Wanted, after: State) -> list[str]:
    """Return what differs after a deployment that did not get live."""
    told, before = _answers(stand, wanted.served), wanted.before
    for key in PUT_BACK[stand.mode]:
        was, is_ = before[key], after[key]
        if key == "data":
            was, is_ = without_entries(was), without_entries(is_)
        if key == "releases":
            was = _unpruned(before, is_)
        if was != is_:
            told.append(f"{key} is not as before: {_difference(was, is_)}")
    return told


def _unpruned(before: State, is_: Collection[str]) -> list[str]:
    """Return the releases of before, without that of one that may have been pruned.

    What was rolled back from counts with what failed, and one more that fails pushes the oldest
    of them out. All others stay.
    """
    ledger = before["ledger"]
    left = [one["replaces"] for one in ledger if one["outcome"] == "live" and one["replaces"]]
    gone = [bad for bad in left if not any(bad in name for name in is_)]
    there = [bad for bad in gone if any(bad in name for name in before["releases"])]
    return [name for name in before["releases"] if not any(bad in name for bad in there[:1])]


def without_entries(data: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the tree of data/ without the digest of what visitors write."""
    return {path: found[:2] if path == "entries" else found for path, found in data.items()}


def as_wanted(stand: Stand, wanted: Wanted, after: State) -> list[str]:
    """Return what is not as the version that got live wants it."""
    told = _answers(stand, wanted.version)
    base, version, last = wanted.base, wanted.version, after["ledger"][-1]["id"]
    run = files(after["run"])
    if run != wanted.run:
        told.append(f"run is not that of the version: {_difference(wanted.run, run)}")
    if after["database"].strip() != version:
        told.append(f"the database was not migrated to {version}: {after['database']!r}")
    data = without_entries(migrated(base["data"], base["history"], version))
    if without_entries(after["data"]) != data:
        wrong = _difference(data, without_entries(after["data"]))
        told.append(f"data is not what the version makes of it: {wrong}")
    if after["current"] != ("../run" if stand.mode == "editable" else last):
        told.append(f"current leads to {after['current']}, live is {last}")
    if after["branch"] != wanted.commit:
        told.append(f"the branch is at {after['branch']}, live is {wanted.commit}")
    if after["checkout"].split() != [wanted.commit]:
        told.append(f"checked out is {after['checkout']!r}, live is {wanted.commit}")
    if stand.mode == "cooking" and not _offers(after, wanted.target or last):
        told.append("the release of what is live is not on offer")
    if after["unit"] != "active":
        told.append(f"the service is {after['unit']}")
    return told + (_not_gone_back(wanted, after) if wanted.target else [])


def _not_gone_back(wanted: Wanted, after: State) -> list[str]:
    """Return what is still there of the version that was gone back from."""
    told = []
    written = set(after["aside"]) - set(wanted.base["entries"])
    if not written:
        told.append("nothing that was written since is put aside")
    if lost := sorted(set(wanted.base["entries"]) - set(after["entries"])):
        told.append(f"written before, and not there: {', '.join(lost[:5])}")
    if back := sorted(written & set(after["entries"])):
        told.append(f"written since, and still there: {', '.join(back[:5])}")
    if _offers(after, wanted.before["ledger"][-1]["id"]):
        told.append("the release of what was gone back from is on offer")
    return told


def _answers(stand: Stand, version: str) -> list[str]:
    answer = stand.serves()
    return [] if answer == version else [f"version {answer} serves instead of {version}"]


def _offers(state: State, deployment: str) -> bool:
    return any(deployment in name for name in state["offered"])


def ledger(wanted: Wanted, after: State, outcomes: list[str]) -> list[str]:
    """Return what the ledger does not tell right."""
    past = wanted.before["ledger"]
    new = after["ledger"][len(past) :]
    told = []
    if after["ledger"][: len(past)] != past:
        told.append("the past of the ledger was changed")
    if [entry["outcome"] for entry in new] != outcomes:
        told.append(f"the ledger says {[e['outcome'] for e in new]} instead of {outcomes}")
    one = len({entry["id"] for entry in new}) == 1
    if not one or {(e["commit"], e["target"]) for e in new} != {(wanted.commit, wanted.target)}:
        told.append("the ledger tells of another deployment")
    return told


def _difference(was: object, is_: object) -> str:
    if isinstance(was, Mapping) and isinstance(is_, Mapping):
        names = {*was, *is_}
        return "; ".join(
            f"{name}: {was.get(name)} -> {is_.get(name)}"
            for name in sorted(names)
            if was.get(name) != is_.get(name)
        )
    return f"{was!r} -> {is_!r}"
