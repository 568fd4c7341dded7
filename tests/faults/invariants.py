"""What holds after every cell, against what was there before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from faults.stand import Stand

State = Mapping[str, Any]
LIVE = "live"


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


def as_before(stand: Stand, before: State, after: State) -> list[str]:
    """Return what differs after a deployment that did not get live."""
    told = []
    for key in PUT_BACK[stand.mode]:
        was, is_ = before[key], after[key]
        if key == "data":
            was, is_ = without_entries(was), without_entries(is_)
        if was != is_:
            told.append(f"{key} is not as before: {_difference(was, is_)}")
    return told


def without_entries(data: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the tree of data/ without the digest of what visitors write."""
    return {path: found[:2] if path == "entries" else found for path, found in data.items()}


def as_pushed(stand: Stand, commit: str, before: State, after: State) -> list[str]:
    """Return what is not as the version that was pushed wants it."""
    told = []
    version = stand.subject.version
    run = files(after["run"])
    if run != stand.expected_run():
        told.append(f"run is not what was pushed: {_difference(stand.expected_run(), run)}")
    if after["database"].strip() != version:
        told.append(f"the database was not migrated to {version}: {after['database']!r}")
    history = files(before["data"]).get("fixed/deep/history", "")
    if files(after["data"]).get("fixed/deep/history", "") == history:
        told.append("data was not migrated")
    last = after["ledger"][-1]["id"]
    if after["current"] != ("../run" if stand.mode == "editable" else last):
        told.append(f"current leads to {after['current']}, live is {last}")
    if after["branch"] != commit:
        told.append(f"the branch is at {after['branch']}, live is {commit}")
    if stand.mode == "cooking" and not any(last in name for name in after["offered"]):
        told.append("the release of what is live is not on offer")
    if after["unit"] != "active":
        told.append(f"the service is {after['unit']}")
    return told


def ledger(before: State, after: State, commit: str, outcomes: list[str]) -> list[str]:
    """Return what the ledger does not tell right."""
    new = after["ledger"][len(before["ledger"]) :]
    told = []
    if after["ledger"][: len(before["ledger"])] != before["ledger"]:
        told.append("the past of the ledger was changed")
    if [entry["outcome"] for entry in new] != outcomes:
        told.append(f"the ledger says {[e['outcome'] for e in new]} instead of {outcomes}")
    if {entry["commit"] for entry in new} != {commit} or len({entry["id"] for entry in new}) != 1:
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
