"""What the doctor of a project looks at, and what it says of mounts, the disk and the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.hosts import kernel
from corpus.model.deployment import Outcome
from corpus.model.errors import NotFound
from corpus.model.finding import Finding, State, is_well
from corpus.project import binding, lock
from corpus.project.doctor.examine import ENVIRONMENT, LOCK, PROJECT, examine
from corpus.project.ledger import Ledger
from projects import Scratch, entry, ids
from unit.project.wells import Well, wrong
from unit.project.wells import well as well
from unit.project.wells import wells as wells


def test_one_that_is_well(well: Well) -> None:
    found = well.examine()
    assert {each["check"] for each in found} == {*PROJECT, *ENVIRONMENT, LOCK}
    assert is_well(found)
    assert set(found[0]) == {"project", "check", "state", "what", "where", "mend", "mended"}
    before = well.scratch.digests()
    assert wrong(well.examine(mend=True)) == []
    assert well.scratch.digests() == before
    assert not lock.is_held(well.paths.lock)


def test_all_projects(well: Well) -> None:
    assert {each["project"] for each in examine(well.place)} == {"", "demo"}
    with pytest.raises(NotFound):
        examine(well.place, "absent")


def test_a_mount_that_is_left(well: Well) -> None:
    kernel.bind_mount(well.paths.releases, well.paths.releases)
    for mend in (False, True):
        (found,) = (each for each in wrong(well.examine(mend=mend)) if each["check"] == "mounts")
        assert (found["state"], found["where"]) == ("warn", str(well.paths.releases))
        assert not found["mended"]
    kernel.unmount(well.paths.releases)


def test_a_project_that_is_bound(tmp_path: Path) -> None:
    """As in editable mode: what is lost of the binding is made again."""
    scratch = Scratch(tmp_path)

    def found(*, mend: bool = False) -> list[tuple[str, bool]]:
        all_of_it = examine(scratch.place, "demo", mend=mend)
        return [
            (each["what"], each["mended"])
            for each in all_of_it
            if each["check"] in ("mounts", "permissions") and each["state"] != "ok"
        ]

    (scratch.paths.project / "app").write_text("1")
    binding.bind(scratch.project)
    try:
        assert found() == []
        kernel.unmount(scratch.paths.project)
        assert found(mend=True) == [("they are not bound", True)]
        assert found() == []
        for unit in scratch.place.units.glob("*.mount"):
            unit.unlink()
        assert found(mend=True) == [("they are bound until the next boot only", True)]
        assert found() == []
        assert (scratch.paths.project / "app").read_text() == "1"
    finally:
        binding.unbind(scratch.project)
    Ledger(scratch.paths.ledger).append(entry(next(iter(ids(1))), Outcome.LIVE, mode="editable"))
    what = "the live version is editable, and they are two directories"
    assert found(mend=True) == [(what, False)]


def test_a_service_that_is_down(well: Well) -> None:
    well.hang_up()
    (found,) = wrong(well.examine(mend=True))
    assert (found["check"], found["state"], found["mended"]) == ("service", "bad", True)
    assert well.machine.asked[-1][-3:] == ("start", "--", "corpus-deploy.service")
    well.listen()


def test_a_disk_that_is_full(well: Well, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("corpus.project.room.free", lambda _project: 1 << 20)
        (found,) = wrong(well.examine())
        assert (found["check"], found["state"], found["what"]) == ("disk", "bad", "1M are free")


def test_a_node_that_is_away(well: Well) -> None:
    well.place.node_socket.parent.mkdir()
    (found,) = wrong(well.examine())
    assert (found["check"], found["state"]) == ("disk", "warn")
    assert "the node does not say how much room there is" in found["what"]
    well.place.node_socket.parent.rmdir()


def test_a_mend_that_fails_hides_no_other() -> None:
    def fail() -> None:
        raise OSError("it is read-only")

    found = Finding("links", State.BAD, "broken", repair=fail).mended_now()
    assert found.what == "broken; mending it failed: it is read-only"
    assert not found.mended
    assert not is_well([found.as_dict(project="demo")])
