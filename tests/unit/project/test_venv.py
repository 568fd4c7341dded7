"""The plan of a virtual environment and what is done with it, without pip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, CorpusError, InvalidInput, NotFound
from corpus.project import venv


class Builder(Fake):
    """Make directories in place of venv(1) and cp(1); pip is taken at its word."""

    def execute(self, command: Command) -> Result:
        """Act, then record as the fake does."""
        argv = command.argv
        if "venv" in argv:
            (Path(argv[-1]) / "bin").mkdir(parents=True)
        if argv[0] == "cp":
            target = Path(argv[-1])
            target.mkdir()
            for file in Path(argv[-2]).iterdir():
                if file.is_file():
                    (target / file.name).write_bytes(file.read_bytes())
        return super().execute(command)

    def pips(self) -> int:
        """Return how often packages were installed."""
        return sum("install" in command for command in self.commands)


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """Return a requirements file."""
    path = tmp_path / "requirements.txt"
    path.write_text("flask==3.1.3\n")
    return path


def _plan(requirements: Path, target: str = "run/venv") -> venv.Plan:
    base = requirements.parent
    return venv.plan(base / target, requirements, base / "cache")


def test_the_key_changes_with_what_it_depends_on(requirements: Path, tmp_path: Path) -> None:
    first = _plan(requirements).key
    assert _plan(requirements).key == first
    assert _plan(requirements, "elsewhere/venv").key != first
    other = tmp_path / "python3"
    other.write_text("another interpreter")
    assert venv.plan(tmp_path / "run/venv", requirements, tmp_path / "cache", other).key != first
    requirements.write_text("flask==3.1.2\n")
    assert _plan(requirements).key != first


@pytest.mark.parametrize("line", ["-r more.txt", "--requirement=more.txt", "-c more.txt"])
def test_the_key_covers_included_files(requirements: Path, line: str) -> None:
    more = requirements.parent / "more.txt"
    more.write_text("click==8\n-r requirements.txt\n")
    requirements.write_text(f"{line}\nflask==3.1.3\n")
    first = _plan(requirements).key
    more.write_text("click==7\n")
    assert _plan(requirements).key != first


def test_an_included_file_that_is_absent(requirements: Path) -> None:
    requirements.write_text("-r more.txt\n")
    with pytest.raises(NotFound, match=r"more\.txt") as caught:
        _plan(requirements)
    assert caught.value.where == str(requirements)


def test_absent_files_and_relative_paths(tmp_path: Path, requirements: Path) -> None:
    with pytest.raises(NotFound, match="requirements"):
        _plan(tmp_path / "none.txt")
    with pytest.raises(NotFound, match="Python"):
        venv.plan(tmp_path / "v", requirements, tmp_path / "c", tmp_path / "python9")
    with pytest.raises(InvalidInput):
        venv.plan(Path("run/venv"), requirements, tmp_path / "c")


def test_it_is_built_once_then_comes_from_the_cache(requirements: Path) -> None:
    host, plan = Builder(), _plan(requirements)
    assert venv.install(host, plan) == "built"
    assert venv.install(host, plan) == "present"
    venv._remove(plan.target)
    assert venv.install(host, plan) == "cached"
    assert host.pips() == 1
    assert plan.current == plan.key


def test_changed_requirements_make_a_fresh_one(requirements: Path) -> None:
    host = Builder()
    venv.install(host, _plan(requirements))
    (requirements.parent / "run/venv/leftover").touch()
    requirements.write_text("flask==3.1.2\n")
    assert venv.install(host, _plan(requirements)) == "built"
    assert not (requirements.parent / "run/venv/leftover").exists()
    assert host.pips() == 2


@pytest.mark.parametrize("line", ["-e .", "./wheels/x.whl", "/opt/x", "x @ file:///opt/x"])
def test_what_comes_from_a_local_path_is_built_each_time(requirements: Path, line: str) -> None:
    requirements.write_text(f"{line}\n")
    host = Builder()
    for _ in range(2):
        assert venv.install(host, _plan(requirements)) == "built"
    assert not (requirements.parent / "cache").exists()


@pytest.mark.parametrize("step", ["venv", "install"])
def test_a_failed_build_leaves_nothing_and_shows_the_output(requirements: Path, step: str) -> None:
    host, plan = Builder(), _plan(requirements)
    host.prepare_failure(step, code=1, err="ERROR: No matching distribution found for flsk")
    with pytest.raises(CorpusError, match="No matching distribution") as caught:
        venv.install(host, plan)
    assert caught.value.where == str(requirements)
    assert not plan.target.exists()
    assert not plan.cached.exists()


def test_an_interrupted_copy_is_never_used(requirements: Path) -> None:
    host, plan = Builder(), _plan(requirements)
    host.prepare_failure("cp", code=1, err="No space left on device")
    with pytest.raises(CommandFailed):
        venv.install(host, plan)
    assert not plan.cached.exists()
    half = plan.cache / f".venv-{plan.key}"
    assert half.exists()
    requirements.write_text("flask==3.1.2\n")
    assert venv.install(host, _plan(requirements)) == "built"
    assert not half.exists()


def test_those_used_last_are_kept(requirements: Path) -> None:
    host, keys = Builder(), []
    for number in range(4):
        requirements.write_text(f"flask==3.1.{number}\n")
        plan = _plan(requirements)
        venv.install(host, plan)
        os.utime(plan.cached, (number, number))
        keys.append(plan.key)
        if number == 2:  # the first is used again and so outlives the second
            os.utime(plan.cache / f"venv-{keys[0]}", (9, 9))
    kept = {path.name.removeprefix("venv-") for path in plan.cache.iterdir()}
    assert kept == {keys[0], keys[2], keys[3]}
