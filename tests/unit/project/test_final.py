"""Final mode: nothing is built, a release that staging baked goes live or nothing changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pairs import Pair, carry
from projects import Phases, copy_to_run, digest, fail, git
from unit.project.endings import app


def never(common: dict[str, Any]) -> None:
    """Be a phase that may not be called."""
    raise AssertionError("it was called")


def settings(common: dict[str, Any]) -> None:
    """Be a ``configure`` that writes what is of this environment alone."""
    Path(common["paths"]["run"], "settings").write_text(common["platform"])


PROD: dict[str, Callable[[dict[str, Any]], object]] = {
    "configure": settings,
    "build": never,
    "post_build": never,
    "bundle": never,
}


class Both(Pair):
    """A pair whose staging environment deploys for real."""

    def bake(self, text: str) -> str:
        """Deploy in staging; return the commit."""
        commit = self.staging.commit({"app": text, "lib/code": text, ".salt/top.sls": ""})
        done = self.staging.deploy(commit, Phases(build=copy_to_run, configure=settings))
        assert done.outcome == "live", done.text
        return commit

    def push(self, commit: str) -> None:
        """Bring the commit to production's repository, as a push does."""
        git("-C", self.staging.work, "push", "--quiet", "--force", self.prod.paths.project_git,
            f"{commit}:refs/heads/incoming")  # fmt: skip

    @property
    def baked(self) -> Any:
        return self.staging.ledger[-1].deployment


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    """Return a paired staging and production, version 1 live in both."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    made = Both(tmp_path, monkeypatch)
    made.pair()
    commit = made.bake("version 1\n")
    made.push(commit)
    done = made.prod.deploy(commit, Phases(**PROD))
    assert done.outcome == "live", done.text
    (made.prod.paths.data / "db").write_text("of production\n")
    return made


def test_what_staging_baked_is_what_runs(both: Both) -> None:
    prod, staging = both.prod.paths, both.staging.paths
    assert (prod.run / "settings").read_text() == "prod"
    assert (staging.run / "settings").read_text() == "staging"
    assert digest(prod.current.resolve()) == digest(staging.current.resolve())
    entry = both.prod.ledger[-1]
    assert (entry.mode, entry.release) == ("final", str(both.baked))
    both.prod.assert_clean()


def test_a_sync_is_strict(both: Both) -> None:
    both.staging.commit({"app": "x"}, fresh=True)
    commit = both.bake("version 2\n")
    git("-C", both.staging.work, "rm", "-q", "lib/code")
    git("-C", both.staging.work, "commit", "-qm", "less")
    commit = both.staging.commit({"app": "version 3\n"})
    done = both.staging.deploy(commit, Phases(build=copy_to_run))
    assert done.outcome == "live"
    both.push(commit)
    assert both.prod.deploy(commit, Phases(**PROD)).outcome == "live"
    assert not (both.prod.paths.run / "lib").exists()
    assert app(both.prod) == "version 3\n"


def test_no_release_of_the_commit(both: Both) -> None:
    before = both.prod.digests()
    commit = both.staging.commit({"app": "never baked\n"})
    both.push(commit)
    done = both.prod.deploy(commit, Phases(**PROD))
    assert done.outcome == "refused"
    assert f"no release of commit {commit[:10]}: there are" in done.text
    assert both.prod.digests() == before
    both.prod.assert_clean()


@pytest.mark.parametrize("phase", ["configure", "deploy", "post_install", "health"])
def test_a_failure_changes_nothing(both: Both, phase: str) -> None:
    before = both.prod.digests()
    commit = both.bake("version 2\n")
    both.push(commit)
    done = both.prod.deploy(commit, Phases(**(PROD | {phase: fail})))
    assert done.outcome == ("refused" if phase == "configure" else "rolled_back"), done.text
    assert both.prod.digests() == before
    both.prod.assert_clean()
    assert both.prod.deploy(commit, Phases(**PROD)).outcome == "live"
    assert app(both.prod) == "version 2\n"


def test_without_staging_in_sight(both: Both) -> None:
    commit = both.bake("version 2\n")
    both.push(commit)
    carry(both.staging.project, both.prod.project, both.baked)
    both.trouble("dead")
    done = both.prod.deploy(commit, Phases(**PROD))
    assert done.outcome == "live", done.text
    assert app(both.prod) == "version 2\n"


@pytest.mark.parametrize("trouble", ["dead", "damaged", "longer"])
def test_what_does_not_arrive_whole_is_refused(both: Both, trouble: str) -> None:
    before = both.prod.digests()
    commit = both.bake("version 2\n")
    both.push(commit)
    both.trouble(trouble)
    done = both.prod.deploy(commit, Phases(**PROD))
    assert done.outcome == "refused", done.text
    assert both.prod.digests() == before
    both.prod.assert_clean()


def test_changed_by_hand(both: Both) -> None:
    (both.prod.paths.run / "app").write_text("hot fix\n")
    commit = both.bake("version 2\n")
    both.push(commit)
    done = both.prod.deploy(commit, Phases(**PROD))
    assert "run/ was changed by hand" in done.text
    assert "  changed app" in done.text
    kept = both.prod.paths.archive(both.prod.ledger[-1].deployment).run
    assert (kept / "app").read_text() == "hot fix\n"


def test_promote(both: Both) -> None:
    commit = both.bake("version 2\n")
    done = both.prod.promote(Phases(**PROD))
    assert done.outcome == "live", done.text
    assert app(both.prod) == "version 2\n"
    entry = both.prod.ledger[-1]
    assert (entry.kind, entry.commit, entry.release) == ("promote", commit, str(both.baked))
    assert entry.target == ""


def test_promote_a_certain_release(both: Both) -> None:
    first = both.bake("version 2\n")
    wanted = str(both.baked)
    both.bake("version 3\n")
    assert both.prod.promote(Phases(**PROD), wanted).outcome == "live"
    assert both.prod.ledger[-1].commit == first
    assert both.prod.promote(Phases(**PROD), "20200101T000000-" + "0" * 8).outcome == "refused"


def test_back_to_a_former_release(both: Both) -> None:
    both.bake("version 2\n")
    assert both.prod.promote(Phases(**PROD)).outcome == "live"
    (both.prod.paths.data / "db").write_text("of version 2\n")
    done = both.prod.rollback(Phases(**PROD), with_data=True)
    assert done.outcome == "live", done.text
    assert app(both.prod) == "version 1\n"
    assert (both.prod.paths.run / "settings").read_text() == "prod"
    assert (both.prod.paths.data / "db").read_text() == "of production\n"


def test_what_was_rolled_back_from_is_not_promoted_again(both: Both) -> None:
    both.bake("version 2\n")
    bad = str(both.baked)
    assert both.prod.promote(Phases(**PROD)).outcome == "live"
    assert both.prod.rollback(Phases(**PROD)).outcome == "live"
    done = both.prod.promote(Phases(**PROD))
    assert f"release {bad} was rolled back from" in done.text
    assert app(both.prod) == "version 1\n"
    assert both.prod.promote(Phases(**PROD), bad).outcome == "live"
    assert app(both.prod) == "version 2\n"
    assert both.prod.promote(Phases(**PROD)).outcome == "live"
    assert app(both.prod) == "version 2\n"


def test_releases_of_what_is_kept_are_kept(both: Both) -> None:
    first = both.baked
    for number in range(2, 9):
        both.bake(f"version {number}\n")
        assert both.prod.promote(Phases(**PROD)).outcome == "live"
    kept = {entry.release for entry in both.prod.ledger[-5:]}
    there = {
        path.name.split(".")[0].removeprefix("demo-") for path in both.prod.paths.releases.iterdir()
    }
    assert there == kept
    assert str(first) not in there


def test_staging_does_not_promote(both: Both) -> None:
    refused = both.staging.promote(Phases(build=copy_to_run))
    assert refused.outcome == "refused"
    assert "final mode" in refused.text
