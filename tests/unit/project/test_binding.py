"""run/ and project/ one directory: real bind mounts, taken off again; cut off anywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from corpus.hosts import kernel, mounts
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.model.errors import Conflict, CorpusError
from corpus.project import binding
from corpus.project.place import Project
from instants import Killed
from projects import digest, place_at, share, unmounted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")

CLONE = {"app.py": "print()\n", ".git/HEAD": "ref", "deep/er/file": "x", ".salt/top.sls": ""}


def filled(folder: Path, name: str = "demo") -> Project:
    """Return a project with a clone, and another version in run/."""
    project = Project.at(place_at(folder), name)
    for path in (project.paths.project, project.paths.run, project.paths.state):
        path.mkdir(parents=True)
    for path, text in CLONE.items():
        file = project.paths.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (project.paths.project / "link").symlink_to("app.py")
    (project.paths.run / "app.py").write_text("other.\n")  # as long as the clone's
    (project.paths.run / "stale").write_text("of the former version\n")
    same = (project.paths.project / "app.py").stat()
    os.utime(project.paths.run / "app.py", ns=(same.st_atime_ns, same.st_mtime_ns))
    return project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with unmounted(tmp_path):
        yield filled(tmp_path)


def text(project: Project, end: str) -> str:
    return (project.paths.root / end).read_text()


def test_run_and_project_become_one(project: Project) -> None:
    before = digest(project.paths.project)
    assert not binding.is_bound(project)
    binding.bind(project)
    assert binding.is_bound(project)
    assert not binding.is_shared(project)
    assert digest(project.paths.run) == digest(project.paths.project) == before
    (project.paths.project / "app.py").write_text("edited\n")
    assert text(project, "run/app.py") == "edited\n"
    assert project.paths.run.stat().st_mode & 0o777 == 0o755
    assert not (project.paths.root / ".project.wiped").exists()


def test_the_files_live_in_run(project: Project) -> None:
    binding.bind(project)
    kernel.unmount(project.paths.project)
    assert list(project.paths.project.iterdir()) == []
    assert text(project, "run/app.py") == "print()\n"


def test_a_binding_is_left_as_it_is(project: Project) -> None:
    binding.bind(project)
    (project.paths.run / "edit").write_text("")
    binding.bind(project)
    assert (project.paths.run / "edit").exists()
    points = mounts.parse(Path("/proc/self/mountinfo").read_text())
    assert points.count(project.paths.project) == 1


def test_unbinding_leaves_the_files_in_run(project: Project) -> None:
    binding.bind(project)
    before = digest(project.paths.run)
    binding.unbind(project)
    assert not binding.is_bound(project)
    assert list(project.paths.project.iterdir()) == []
    assert digest(project.paths.run) == before
    assert not [path for path in project.place.units.rglob("*") if not path.is_dir()]
    binding.unbind(project)


def test_a_lost_binding_is_made_again_and_no_edit_is_lost(project: Project) -> None:
    binding.bind(project)
    (project.paths.run / "edit").write_text("of today\n")
    kernel.unmount(project.paths.project)
    assert binding.rebind(project)
    assert text(project, "project/edit") == "of today\n"


def test_what_was_put_below_a_lost_binding_is_not_hidden(project: Project) -> None:
    binding.bind(project)
    kernel.unmount(project.paths.project)
    (project.paths.project / "mine").write_text("")
    with pytest.raises(Conflict, match="while it was not bound"):
        binding.rebind(project)
    assert (project.paths.project / "mine").exists()


def test_without_a_binding_none_is_made_again(project: Project) -> None:
    assert not binding.rebind(project)


def test_a_writer_that_never_ends_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Local.execute

    def busy(self: Local, command: Any) -> Any:
        if "--dry-run" in command.argv:
            (project.paths.project / "log").write_text(os.urandom(8).hex())
        return execute(self, command)

    monkeypatch.setattr(Local, "execute", busy)
    before = sorted(project.paths.project.iterdir())
    with pytest.raises(CorpusError, match="change while they are moved"):
        binding.bind(project)
    assert {*before} < {*project.paths.project.iterdir()}


# -- a directory of the developer's


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Project]:
    with unmounted(tmp_path):
        project = filled(tmp_path)
        host = tmp_path / "laptop"
        project.paths.project.rename(host)
        share(host, project)
        yield project


def test_a_shared_directory_is_bound_and_nothing_moves(shared: Project, tmp_path: Path) -> None:
    before = digest(tmp_path / "laptop")
    assert binding.is_shared(shared)
    assert binding.is_bound(shared)
    assert binding.is_recorded(shared)
    binding.bind(shared)
    binding.unbind(shared)
    assert binding.is_bound(shared)
    assert digest(shared.paths.run) == digest(tmp_path / "laptop") == before
    (tmp_path / "laptop" / "app.py").write_text("on the laptop\n")
    assert text(shared, "run/app.py") == text(shared, "project/app.py") == "on the laptop\n"
    assert not [path for path in shared.place.units.rglob("*") if not path.is_dir()]


def test_a_shared_directory_that_was_taken_off_run_comes_back(shared: Project) -> None:
    kernel.unmount(shared.paths.run)
    assert not binding.is_bound(shared)
    assert binding.is_shared(shared)
    assert binding.rebind(shared)
    assert text(shared, "run/app.py") == "print()\n"


def test_a_directory_that_is_shared_no_more(shared: Project) -> None:
    kernel.unmount(shared.paths.run)
    kernel.unmount(shared.paths.project)
    assert not binding.rebind(shared)


# -- cut off


def cut_off(work: Callable[[], object], after: int) -> bool:
    """Call ``work`` and kill it before its call number ``after`` of another module of ours."""
    left = after
    modules = ("/hosts/", "/project/trees.py")

    def trace(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal left
        caller = frame.f_back
        if caller is None or not caller.f_code.co_filename.endswith("/binding.py"):
            return
        if any(part in frame.f_code.co_filename for part in modules):
            left -= 1
            if left < 0:
                raise Killed

    sys.settrace(trace)
    try:
        work()
    except Killed:
        return True
    finally:
        sys.settrace(None)
    return False


def kinds() -> Iterator[tuple[str, Callable[[Project], None]]]:
    yield "bind", binding.bind
    yield "unbind", binding.unbind


@pytest.mark.parametrize("again", [name for name, _ in kinds()])
def test_binding_cut_off_anywhere_loses_nothing(tmp_path: Path, again: str) -> None:
    for after in range(100):
        folder = tmp_path / str(after)
        with unmounted(folder):
            project = filled(folder)
            before = digest(project.paths.project)
            cut = cut_off(lambda p=project: binding.bind(p), after)  # type: ignore[misc]
            whole = [digest(path) for path in (project.paths.project, project.paths.run)]
            assert before in whole
            dict(kinds())[again](project)
            assert binding.is_bound(project) == (again == "bind")
            assert not (project.paths.root / ".project.wiped").exists()
            left = [digest(path) for path in (project.paths.project, project.paths.run)]
            assert before in left
            if again == "bind":
                assert left == [before, before]
        if not cut:
            assert after > 8
            return
    raise AssertionError("it never ended")


def test_unbinding_cut_off_anywhere_loses_nothing(tmp_path: Path) -> None:
    for after in range(100):
        folder = tmp_path / str(after)
        with unmounted(folder):
            project = filled(folder)
            binding.bind(project)
            before = digest(project.paths.run)
            cut = cut_off(lambda p=project: binding.unbind(p), after)  # type: ignore[misc]
            binding.unbind(project)
            assert not binding.is_bound(project)
            assert digest(project.paths.run) == before
        if not cut:
            assert after > 2
            return
    raise AssertionError("it never ended")


# -- systemd


def test_systemd_is_asked_to_mount_now_and_at_boot(project: Project) -> None:
    paths = project.paths
    fake = Fake()

    def start(_argv: object) -> str:
        kernel.bind_mount(paths.run, paths.project)
        return ""

    fake.answer("systemctl --no-ask-password --no-pager --quiet start", start)
    for entry in paths.project.iterdir():
        entry.rename(paths.run / entry.name) if entry.name != "app.py" else entry.unlink()
    asked = Project(replace(project.place, systemd=True, host=fake), paths)
    binding.bind(asked)
    assert fake.commands[0][-1] == "daemon-reload"
    (unit,) = project.place.units.glob("*.mount")
    assert fake.commands[1][-3:] == ("start", "--", unit.name)
    assert (project.place.units / "local-fs.target.wants" / unit.name).resolve() == unit
    assert f"What={paths.run}\nWhere={paths.project}\n" in unit.read_text()
    assert unit.stat().st_mode & 0o777 == 0o644
    fake.calls.clear()
    binding.bind(asked)
    assert fake.commands == []
    binding.unbind(asked)
    assert fake.commands[0][-3:-1] == ("stop", "--")
    assert fake.commands[-1][-1] == "daemon-reload"


# -- putting back


@pytest.mark.parametrize("bound", [True, False])
def test_what_was_put_aside_comes_back_and_nothing_is_lost(
    project: Project, tmp_path: Path, bound: bool
) -> None:
    if bound:
        binding.bind(project)
    run, kept, failed = project.paths.run, tmp_path / "kept", tmp_path / "archive" / "run.failed"
    Local().run(["cp", "--archive", str(run), str(kept)])
    before = digest(run)
    (run / "app.py").write_text("broken\n")
    (run / "new").write_text("edited meanwhile\n")
    (run / "link").unlink(missing_ok=True)
    (run / "link").mkdir()
    (run / "link" / "inner").write_text("")
    os.utime(run / "app.py", ns=(0, 0))
    binding.put_back(project, kept, failed)
    assert digest(run) == before
    assert binding.is_bound(project) == bound
    assert (failed / "app.py").read_text() == "broken\n"
    assert (failed / "new").read_text() == "edited meanwhile\n"


def test_commits_made_meanwhile_stay(project: Project, tmp_path: Path) -> None:
    binding.bind(project)
    kept = tmp_path / "kept"
    Local().run(["cp", "--archive", str(project.paths.run), str(kept)])
    (project.paths.run / ".git" / "HEAD").write_text("a newer commit")
    binding.put_back(project, kept, tmp_path / "failed")
    assert text(project, "run/.git/HEAD") == "a newer commit"


def test_a_version_that_was_no_work_tree_comes_back_whole(project: Project, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    Local().run(["cp", "--archive", str(project.paths.run), str(kept)])
    binding.bind(project)
    binding.unbind(project)
    binding.put_back(project, kept, tmp_path / "failed")
    assert digest(project.paths.run) == digest(kept)
