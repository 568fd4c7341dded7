"""The transaction without Salt: what goes live, and what is seen of it meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.model.errors import CorpusError
from corpus.project import lock, repository
from patience import wait_until
from projects import BRANCH, Phases, Scratch, copy_to_run
from unit.project.endings import version


def test_a_first_deployment(scratch: Scratch) -> None:
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    done = scratch.deploy(commit, Phases(build=copy_to_run))
    assert done.outcome == "live", done.text
    assert (scratch.paths.run / "app").read_text() == "version 1\n"
    assert scratch.paths.current.resolve() == scratch.paths.deploy / done.ending.id
    assert (scratch.paths.current / "app").read_text() == "version 1\n"
    assert repository.deploy_branch(scratch.project) == (BRANCH, commit)
    (entry,) = scratch.ledger
    assert (entry.outcome, entry.commit, entry.by) == ("live", commit, "ann")
    assert entry.runtime["retention"] == {"good": 5, "failed": 2}
    assert len(list(scratch.paths.releases.iterdir())) == 3  # archive, manifest, signature
    log = scratch.paths.log(entry.deployment).read_text().splitlines()
    assert log == done.lines
    scratch.assert_clean()


def test_the_build_is_not_seen_until_the_swap(live: Scratch, tmp_path: Path) -> None:
    seen, go = tmp_path / "seen", tmp_path / "go"

    def build(common: dict[str, Any]) -> None:
        assert list(Path(common["paths"]["run"]).iterdir()) == []
        copy_to_run(common)
        seen.touch()
        wait_until(go.exists)

    commit, old = version(live, "version X\n"), (live.paths.run / "app").read_text()
    pid = live.start(commit, Phases(build=build))
    wait_until(seen.exists)
    during = (live.paths.run / "app").read_text()
    mounts = Path("/proc/self/mountinfo").read_text()
    go.touch()
    assert os.waitpid(pid, 0)[1] == 0
    assert during == old
    assert str(live.paths.run) not in mounts
    assert (live.paths.run / "app").read_text() == "version X\n"


def test_common_is_one_mapping_for_all_phases(scratch: Scratch) -> None:
    def first(common: dict[str, Any]) -> None:
        common["mine"] = ["gather_variables"]

    def later(name: str) -> Callable[[dict[str, Any]], None]:
        return lambda common: common["mine"].append(name)

    def last(common: dict[str, Any]) -> None:
        Path(common["paths"]["data"], "seen").write_text("\n".join(common["mine"]))

    names = ["pre_install", "configure", "build", "post_build", "bundle", "stop", "backup",
             "deploy", "start", "post_deploy", "post_install", "health"]  # fmt: skip
    commit = scratch.commit({".salt/top.sls": ""})
    runner = Phases(None, gather_variables=first, notify=last, **{n: later(n) for n in names})
    assert scratch.deploy(commit, runner).outcome == "live"
    seen = (scratch.paths.data / "seen").read_text().split()
    assert seen == ["gather_variables", *names]


def test_stop_before_build(live: Scratch) -> None:
    order: list[str] = []
    runner = Phases({"stop_before": "build"}, build=copy_to_run)
    runner.phases["stop"] = lambda _common: order.append("stop")

    def build(common: dict[str, Any]) -> None:
        assert order == ["stop"]
        copy_to_run(common)

    runner.phases["build"] = build
    done = live.deploy(version(live, "literal order\n"), runner)
    assert done.outcome == "live", done.text


def test_secrets_are_in_neither_log_nor_ledger(live: Scratch) -> None:
    def tell(common: dict[str, Any]) -> None:
        raise CorpusError(f"cannot connect with {common['data']['password']}")

    runner = Phases({"data": {"password": "hunter22"}}, build=copy_to_run, post_install=tell)
    done = live.deploy(version(live), runner)
    assert "cannot connect with ********" in done.text
    assert "hunter22" not in done.ending.error
    written = [p for p in live.paths.state.rglob("*") if p.is_file()]
    assert [p for p in written if b"hunter22" in p.read_bytes()] == []


def test_the_second_waits_and_says_so(live: Scratch) -> None:
    go = live.folder / "go-on"
    go.unlink(missing_ok=True)
    first = version(live, "first\n")
    second = version(live, "second\n")

    def build(common: dict[str, Any]) -> None:
        wait_until(go.exists)
        copy_to_run(common)

    slow = live.start(first, Phases(build=build))
    wait_until(lambda: "build" in live.begun)
    other = live.start(second, Phases(build=copy_to_run))

    def waiting() -> bool:
        logs = sorted((live.paths.state / "logs").iterdir())
        return any("queued behind" in log.read_text() for log in logs)

    wait_until(waiting)
    assert first[:10] in lock.holder(live.paths.lock)
    go.touch()
    assert os.waitpid(slow, 0)[1] == 0
    assert os.waitpid(other, 0)[1] == 0
    assert [e.commit for e in live.ledger[-2:]] == [first, second]
    log = live.paths.log(live.ledger[-1].deployment).read_text()
    assert f"queued behind deployment {live.ledger[-2].id} of {first[:10]} on master by ann" in log


def test_retention_prunes_what_is_past(scratch: Scratch) -> None:
    runner = Phases({"retention": {"good": 2, "failed": 1}}, build=copy_to_run)
    for number in range(4):
        commit = scratch.commit({"app": f"{number}", ".salt/top.sls": ""})
        assert scratch.deploy(commit, runner).outcome == "live"
    kept = sorted(entry.id for entry in scratch.ledger[-2:])
    assert sorted(p.name for p in scratch.paths.deploy.iterdir() if not p.is_symlink()) == kept
    assert sorted(p.name for p in scratch.paths.archives.iterdir()) == kept
    assert len(list(scratch.paths.releases.iterdir())) == 6
    assert len(scratch.ledger) == 4
