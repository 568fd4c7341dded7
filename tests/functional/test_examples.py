"""The examples under Salt itself: every phase renders and compiles, and the build builds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import CorpusError
from corpus.project.configuration import configure, make_common
from corpus.project.phases import EXTRA, PHASES
from corpus.project.place import Place, Project

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Bench:
    """One example in a scratch tree, with Salt ready to run its phases."""

    def __init__(self, name: str, root: Path, over: str = "") -> None:
        from corpus.saltext.engine import Engine
        from corpus.saltext.phases import SaltPhases
        from corpus.saltext.service import minion_options

        self.project = Project.at(Place(prefix=root / "srv", accounts=False), name)
        paths = self.project.paths
        for folder in filter(None, (name, over)):
            shutil.copytree(EXAMPLES / folder, paths.project, dirs_exist_ok=True)
        for folder in (paths.run, paths.data, paths.build):
            folder.mkdir()
        paths.salt_link.parent.mkdir(parents=True)
        paths.salt_link.symlink_to(paths.salt)
        minion = root / "minion"
        minion.write_text(f"root_dir: {root}\nid: test\nfile_client: local\n")
        opts = minion_options(str(minion))
        self.phases = SaltPhases(Engine(opts, root / "engine", root / "srv"), self.project)
        settings = configure(name, [("PILLAR.sample", self.phases.sample())])
        self.common: dict[str, Any] = make_common(
            self.project, settings, deployment="d", commit="c", pillar_commit=""
        )
        self.common["paths"]["dumps"] = str(paths.archives / "d" / "dumps")
        self.phases.pillar()

    def run(self, *names: str) -> list[str]:
        """Run phases and return what they told."""
        told: list[str] = []
        for name in names:
            self.phases.run(name, self.common, told.append)
        return told


@pytest.fixture(params=["guestbook", "static", "guestbook with guestbook-postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Return each example in turn."""
    name, _, over = request.param.partition(" with ")
    made = Bench(name, tmp_path, over)
    yield made
    made.phases.close()


def test_every_phase_renders_and_compiles(bench: Bench) -> None:
    bench.run("gather_variables")
    for phase in (*PHASES, *EXTRA):
        if bench.phases.has(phase):
            bench.phases.check(phase, bench.common)


@pytest.mark.parametrize("bench", ["static"], indirect=True)
def test_the_static_site_is_copied_by_one_state(bench: Bench) -> None:
    bench.run("gather_variables")
    assert len(bench.run("build")) == 1
    assert (bench.project.paths.run / "public" / "index.html").is_file()


@pytest.mark.parametrize("bench", ["guestbook"], indirect=True)
def test_the_guestbook_s_secret_is_written_but_never_told(bench: Bench) -> None:
    bench.common["data"]["secret_key"] = "s3cret-of-the-test"
    told = bench.run("gather_variables", "configure", "post_build")
    file = bench.project.paths.run / "guestbook.env"
    assert "s3cret-of-the-test" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "s3cret-of-the-test" not in "\n".join(told)
    assert (bench.project.paths.run / "systemd" / "guestbook.service").is_file()


@pytest.mark.parametrize("bench", ["guestbook"], indirect=True)
def test_a_requirement_that_does_not_exist_fails_the_build_with_pip_s_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (bench.project.paths.project / "requirements.txt").write_text("no-such-thing-of-ours==1\n")
    bench.run("gather_variables")
    with pytest.raises(CorpusError, match="no-such-thing-of-ours"):
        bench.run("build")
