"""What the invariants of the matrix know of rollbacks, which take back what was promised."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faults import invariants
from faults.stand import Asker, Stand
from faults.subject import digest_of, migrated
from faults.visitors import Visitors
from faults.wanted import Wanted

STAND = cast(Stand, SimpleNamespace(mode="cooking", serves=lambda: "1"))
FILE = ["0o100644", "app", digest_of("1\n")]
STATE: dict[str, Any] = {
    "run": {"server.py": FILE},
    "data": {"schema": FILE, "fixed/deep/history": FILE, "entries": FILE},
    "history": "1\n",
    "database": "1\n",
    "entries": ["a"],
    "aside": [],
    "branch": "c1",
    "checkout": "c1\n",
    "current": "d1",
    "unit": "active",
    "bound": False,
    "ledger": [{"id": "d1", "outcome": "live", "commit": "c1", "target": "", "replaces": ""}],
    "releases": ["d1.tar"],
    "offered": ["d1.json"],
}
PRESENT = STATE | {
    "releases": ["d0.tar", "d1.tar", "d2.tar"],
    "offered": ["d1.json", "d2.json"],
    "ledger": [
        *STATE["ledger"],
        {"id": "d2", "outcome": "live", "commit": "c2", "target": "", "replaces": "d0"},
    ],
}
GONE_BACK = STATE | {
    "data": migrated(STATE["data"], "1\n", "1"),
    "entries": ["a", "c"],
    "aside": ["a", "b"],
    "current": "d3",
    "ledger": [
        *PRESENT["ledger"],
        {"id": "d3", "outcome": "live", "commit": "c1", "target": "d1", "replaces": "d2"},
    ],
}


def never() -> Asker:
    raise AssertionError


WANTED = Wanted(never, PRESENT, "1", "c1", "1", {"server.py": FILE[2]}, STATE, "d1")


def test_a_rollback_that_is_live_is_its_target() -> None:
    assert invariants.as_wanted(STAND, WANTED, GONE_BACK) == []
    assert invariants.ledger(WANTED, GONE_BACK, ["live"]) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": STATE["data"]}, "data is not what the version makes of it"),
        ({"database": "2\n"}, "the database was not migrated"),
        ({"entries": ["a", "b"]}, "written since, and still there: b"),
        ({"entries": ["c"]}, "written before, and not there: a"),
        ({"aside": ["a"]}, "nothing that was written since is put aside"),
        ({"offered": PRESENT["offered"]}, "the release of what was gone back from is on offer"),
        ({"offered": []}, "the release of what is live is not on offer"),
        ({"branch": "c2"}, "the branch is at c2"),
        ({"checkout": "c1\n M server.py\n"}, "checked out is"),
        ({"current": "d2"}, "current leads to d2"),
    ],
)
def test_a_rollback_that_is_something_else(change: dict[str, Any], told: str) -> None:
    found = invariants.as_wanted(STAND, WANTED, GONE_BACK | change)
    assert len(found) == 1
    assert told in found[0]


def test_another_version_serves() -> None:
    other = cast(Stand, SimpleNamespace(mode="cooking", serves=lambda: "2"))
    told = ["version 2 serves instead of 1"]
    assert invariants.as_wanted(other, WANTED, GONE_BACK) == told
    assert invariants.as_before(other, WANTED, PRESENT) == told


def test_a_failure_may_push_out_what_was_gone_back_from_and_nothing_else() -> None:
    pruned = PRESENT | {"releases": ["d1.tar", "d2.tar"]}
    assert invariants.as_before(STAND, WANTED, pruned) == []
    for releases in (["d0.tar", "d2.tar"], [*PRESENT["releases"], "d3.tar"]):
        (told,) = invariants.as_before(STAND, WANTED, PRESENT | {"releases": releases})
        assert told.startswith("releases is not as before")


def test_what_a_failed_one_was_to_replace_is_good_and_stays() -> None:
    failed = {"id": "d3", "outcome": "rolled_back", "commit": "c1", "target": "d1"}
    present = PRESENT | {"ledger": [*PRESENT["ledger"], failed | {"replaces": "d2"}]}
    (told,) = invariants.as_before(
        STAND, replace(WANTED, before=present), present | {"releases": ["d0.tar", "d1.tar"]}
    )
    assert told.startswith("releases is not as before")


def test_a_failure_pushes_out_one_at_the_most() -> None:
    left = [{**PRESENT["ledger"][1], "id": f"d{number}", "replaces": f"d{number - 1}"}
            for number in (3, 4)]  # fmt: skip
    before = PRESENT | {"ledger": left, "releases": ["d2.tar", "d3.tar", "d4.tar"]}
    wanted = replace(WANTED, before=before)
    assert invariants.as_before(STAND, wanted, before | {"releases": ["d3.tar", "d4.tar"]}) == []
    assert invariants.as_before(STAND, wanted, before | {"releases": ["d4.tar"]})


def test_what_was_put_aside_is_not_lost() -> None:
    visitors = Visitors(0, "", accepted=["a", "b", "c"], sent={"a", "b", "c"})
    assert visitors.lost(["a", "c"], ["b"]) == []
    assert visitors.lost(["a", "c"]) == []
    assert visitors.lost(["a"], ["b"]) == ["1 entries accepted and lost: c"]
