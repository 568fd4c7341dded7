"""What only a person can mend is found, told with a way to mend it, and left as it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from corpus.project import layout
from projects import BRANCH
from unit.project.wells import KEY, Well, config, rewrite, wrong
from unit.project.wells import well as well
from unit.project.wells import wells as wells

# What only a person can mend: how it is broken, what is said, how it is put back.
BY_HAND: dict[str, tuple[str, str, Callable[[Well], Any], Callable[[Well], Any]]] = {
    "no data": (
        "permissions",
        "absent",
        lambda w: w.paths.data.rename(w.paths.root / "away"),
        lambda w: (w.paths.root / "away").rename(w.paths.data),
    ),
    "run is a link": (
        "permissions",
        "no directory",
        lambda w: (
            w.paths.run.rename(w.paths.root / "away"), w.paths.run.symlink_to("away"),
        ),
        lambda w: (w.paths.run.unlink(), (w.paths.root / "away").rename(w.paths.run)),
    ),
    "data for all": (
        "permissions",
        "mode 0777",
        lambda w: w.paths.data.chmod(0o777),
        lambda w: w.paths.data.chmod(0o750),
    ),
    "no keys": (
        "keys",
        "no key may push",
        lambda w: (w.place.keys / "demo").unlink(),
        lambda w: layout.initialise(w.project, [KEY]),
    ),
    "key": (
        "keys",
        "line 2 is not a key",
        lambda w: (w.place.keys / "demo").open("a").write("nonsense\n"),
        lambda w: layout.initialise(w.project, [KEY]),
    ),
    "key with a command": (
        "keys",
        "line 2 is not a key",
        lambda w: (w.place.keys / "demo").open("a").write(f'restrict,command="sh" {KEY}\n'),
        lambda w: layout.initialise(w.project, [KEY]),
    ),
    "hooks elsewhere": (
        "repositories",
        "another directory of hooks",
        lambda w: config(w, "core.hooksPath", "/tmp"),
        lambda w: config(w, "--unset-all", "core.hooksPath"),
    ),
    "branch": (
        "repositories",
        "the branch leads to no commit",
        lambda w: rewrite(w.paths.project_git / BRANCH, "1" * 40 + "\n"),
        lambda w: rewrite(w.paths.project_git / BRANCH, f"{w.scratch.ledger[-1].commit}\n"),
    ),
    "deployment": (
        "links",
        "the files of the live deployment are not there",
        lambda w: (w.paths.deploy / w.live).rename(w.paths.root / "away"),
        lambda w: (w.paths.root / "away").rename(w.paths.deploy / w.live),
    ),
    "foreign": (
        "kept",
        "not the platform's",
        lambda w: (w.paths.archives / "demo.bak").mkdir(),
        lambda w: (w.paths.archives / "demo.bak").rmdir(),
    ),
    "torn ledger": (
        "ledger",
        "line 2 was cut short",
        lambda w: w.paths.ledger.open("a").write('{"id": "2026\n'),
        lambda w: w.paths.ledger.write_text(w.paths.ledger.read_text().splitlines()[0] + "\n"),
    ),
    "services": (
        "services",
        "failed",
        lambda w: setattr(w.machine, "state", "failed"),
        lambda w: setattr(w.machine, "state", "active"),
    ),
    "identity": (
        "identity",
        "absent",
        lambda w: w.place.identity.rename(w.scratch.folder / "away"),
        lambda w: (w.scratch.folder / "away").rename(w.place.identity),
    ),
    "unknown platform": (
        "identity",
        "could not be looked at",
        lambda w: w.place.identity.write_text('{"platform": "moon"}'),
        lambda w: w.place.identity.write_text('{"platform": "staging"}'),
    ),
    "no host key": (
        "host_key",
        "absent: nobody can push",
        lambda w: w.host_key.rename(w.scratch.folder / "away"),
        lambda w: (w.scratch.folder / "away").rename(w.host_key),
    ),
    "host key of none": (
        "host_key",
        "it is no private key",
        lambda w: (shutil.copy2(w.host_key, w.scratch.folder / "away"), w.host_key.write_text("x")),
        lambda w: (w.scratch.folder / "away").rename(w.host_key),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_it_is_found_and_left_to_a_person(well: Well, name: str) -> None:
    check, what, damage, put_back = BY_HAND[name]
    damage(well)
    try:
        for mend in (False, True):
            found = wrong(well.examine(mend=mend))
            assert [each["check"] for each in found] == [check]
            assert what in found[0]["what"]
            assert found[0]["mend"] or "could not be looked at" in what
            assert not found[0]["mended"]
    finally:
        put_back(well)


def test_a_ledger_that_cannot_be_read_costs_no_archive(well: Well) -> None:
    """Everything would look like nobody's."""
    orphan = well.orphan()
    text = well.paths.ledger.read_text()
    for damaged in ("", "[]\n", '{"id": "x"}\n', text + "{\n"):
        well.paths.ledger.write_text(damaged)
        found = well.examine(mend=True)
        assert [each["what"] for each in found if each["check"] == "kept"] == [""]
        assert orphan.exists()
    well.paths.ledger.write_text(text)
    well.examine(mend=True)
    assert not orphan.exists()
    assert (well.paths.deploy / well.live).exists()
