"""A deployment that fails, in whatever phase: code and data are those of before."""

from __future__ import annotations

import os
from typing import Any

import pytest

from projects import Phase, Phases, Scratch, copy_to_run, fail
from unit.project.endings import assert_as_before, damage, damage_and_fail, state_of, version


class Once:
    """A phase that does something the first time only."""

    def __init__(self, phase: Phase) -> None:
        self.phase: Phase | None = phase

    def __call__(self, common: dict[str, Any]) -> None:
        phase, self.phase = self.phase, None
        if phase:
            phase(common)


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        ("gather_variables", "refused"),
        ("pre_install", "refused"),
        ("configure", "refused"),
        ("build", "refused"),
        ("post_build", "refused"),
        ("bundle", "refused"),
        ("stop", "rolled_back"),
        ("backup", "rolled_back"),
        ("deploy", "rolled_back"),
        ("start", "rolled_back"),
        ("post_deploy", "rolled_back"),
        ("post_install", "rolled_back"),
        ("health", "rolled_back"),
    ],
)
def test_a_phase_fails(live: Scratch, phase: str, outcome: str) -> None:
    before = state_of(live)
    phases: dict[str, Phase] = {"build": copy_to_run, "post_install": damage, phase: fail}
    if phase == "post_install":
        phases[phase] = damage_and_fail
    if phase == "stop":  # fails once: a stop that always fails cannot be rolled back
        phases[phase] = Once(fail)
    done = live.deploy(version(live), Phases(None, **phases))
    assert done.outcome == outcome, done.text
    assert "it was told to fail" in done.text
    assert ".salt/top.sls, line 1" in live.ledger[-1].error
    assert_as_before(live, before, outcome)


def test_what_failed_is_kept_for_inspection(live: Scratch) -> None:
    done = live.deploy(version(live), Phases(build=copy_to_run, post_install=damage_and_fail))
    archive = live.paths.archive(live.ledger[-1].deployment)
    assert (archive.run_failed / "app").read_text() == "version 2\n"
    assert (archive.data_failed / "db").read_text() == "damaged by version 2\n"
    assert (archive.data / "db").read_text() == "of version 1\n"
    assert live.ledger[-1].id == done.ending.id


def test_data_of_the_failed_version_is_not_lost(live: Scratch) -> None:
    live.deploy(version(live), Phases(build=copy_to_run, post_install=damage_and_fail))
    identity = live.ledger[-1].deployment
    assert (live.paths.archive(identity).data_failed / "new").read_text() == "of version 2\n"


def test_dumps_are_reloaded_only_when_something_could_change_them(live: Scratch) -> None:
    asked = live.folder / "asked"
    asked.unlink(missing_ok=True)

    def restore(_common: dict[str, Any]) -> None:
        asked.touch()

    live.deploy(version(live), Phases(build=copy_to_run, backup=fail, restore=restore))
    assert not asked.exists()
    live.deploy(version(live), Phases(build=copy_to_run, deploy=fail, restore=restore))
    assert asked.exists()


def test_a_release_that_was_refused_is_gone(live: Scratch) -> None:
    before = sorted(live.paths.releases.iterdir())
    done = live.deploy(version(live), Phases(build=copy_to_run, bundle=fail))
    assert done.outcome == "refused"
    assert sorted(live.paths.releases.iterdir()) == before


def test_an_error_of_our_own_goes_the_same_way_back(live: Scratch) -> None:
    before = state_of(live)

    def build(_common: dict[str, Any]) -> None:
        raise ZeroDivisionError

    assert live.deploy(version(live), Phases(build=build)).outcome == "refused"
    assert_as_before(live, before, "refused")


def test_a_build_that_copies_attributes_too(live: Scratch) -> None:
    """The label by which recovery knows the new run/ is an attribute of the directory."""
    before = state_of(live)

    def build(common: dict[str, Any]) -> None:
        copy_to_run(common)
        os.removexattr(common["paths"]["run"], "user.corpus.label")

    done = live.deploy(version(live), Phases(build=build, post_install=damage_and_fail))
    assert done.outcome == "rolled_back", done.text
    assert_as_before(live, before, "rolled_back")


def test_a_rollback_that_fails_is_loud_and_keeps_everything(live: Scratch) -> None:
    before = state_of(live)
    broken = Phases(build=copy_to_run, post_install=damage_and_fail, restore=fail)
    done = live.deploy(version(live), broken)
    assert done.outcome == "rollback_failed"
    assert "THE ROLLBACK FAILED" in done.text
    assert "systemctl restart corpus-deploy" in done.text
    assert live.paths.journal.exists()
    archive = live.paths.archive(live.ledger[-1].deployment)
    assert (archive.data / "db").read_text() == "of version 1\n"
    # No deployment begins on top of it ...
    again = live.deploy(version(live), broken)
    assert again.outcome == "refused"
    assert "could not be finished" in again.text
    assert len(live.ledger) == before.entries + 1
    # ... until its cause is mended.
    ending = live.recover(Phases(build=copy_to_run, restore=lambda _common: None))
    assert ending is not None
    assert ending.outcome == "rolled_back"
    assert live.digests() == before.digests
    assert [e.outcome for e in live.ledger[-2:]] == ["rollback_failed", "rolled_back"]
    assert state_of(live).checkout == before.checkout
