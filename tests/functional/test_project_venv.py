"""The state project_venv.installed through Salt's own loader, with pip and packages of ours."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.local import Local
from corpus.project import releases
from corpus.project.place import Project
from projects import ids, place_at
from releasing import FACTS

State = Callable[..., dict[str, Any]]


def _wheel(folder: Path, name: str, version: str) -> None:
    """Write the smallest package there is: one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"def main():\n    print({version!r})\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")


@pytest.fixture(scope="module")
def opts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the options of a masterless minion in a scratch directory."""
    import salt.config

    root = tmp_path_factory.mktemp("minion")
    settings = salt.config.minion_config(None, defaults=dict(salt.config.DEFAULT_MINION_OPTS))
    places = {"root_dir": "", "cachedir": "cache", "pki_dir": "pki", "conf_file": "minion"}
    settings.update({key: str(root / place) for key, place in places.items()})
    settings.update(id="test", file_client="local", test=False, grains={})
    return settings


def _load(opts: dict[str, Any], *, test: bool) -> State:
    import salt.loader

    settings = {**opts, "test": test}
    states = salt.loader.states(settings, salt.loader.minion_mods(settings), {}, {})
    return states["project_venv.installed"]


@pytest.fixture
def state(opts: dict[str, Any]) -> State:
    """Return the state as Salt loads it from our entry point."""
    return _load(opts, test=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a requirements file and the wheels it may name."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("1.0", "2.0"):
        _wheel(wheels, "tinything", version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    (tmp_path / "requirements.txt").write_text("tinything==1.0\n")
    return tmp_path


def _call(state: State, place: Path) -> dict[str, Any]:
    return state(
        name=str(place / "run" / "venv"),
        requirements=str(place / "requirements.txt"),
        cache=str(place / "cache"),
    )


def _says(place: Path) -> str:
    return Local().run([str(place / "run" / "venv" / "bin" / "tinything")]).out.strip()


def test_built_then_present_then_from_the_cache(state: State, place: Path) -> None:
    done = _call(state, place)
    assert done["result"] is True, done["comment"]
    assert done["changes"]["how"] == "built"
    assert _says(place) == "1.0"

    assert _call(state, place)["changes"] == {}

    (place / "run").rename(place / "run-before")
    assert _call(state, place)["changes"]["how"] == "cached"
    assert _says(place) == "1.0"


def test_a_changed_requirements_file_gives_a_fresh_one(state: State, place: Path) -> None:
    _call(state, place)
    (place / "requirements.txt").write_text("tinything==2.0\n")
    done = _call(state, place)
    assert done["changes"]["how"] == "built"
    assert done["changes"]["key"]["old"] != done["changes"]["key"]["new"]
    assert _says(place) == "2.0"


def test_nothing_is_done_with_test_true(opts: dict[str, Any], place: Path) -> None:
    done = _call(_load(opts, test=True), place)
    assert done["result"] is None
    assert done["changes"]["key"]["old"] is None
    assert not (place / "run").exists()
    assert not (place / "cache").exists()


def test_what_pip_says_reaches_the_person_who_pushed(state: State, place: Path) -> None:
    (place / "requirements.txt").write_text("tinything==1.0\nno-such-thing-of-ours\n")
    done = _call(state, place)
    assert done["result"] is False
    assert "no-such-thing-of-ours" in done["comment"]
    assert "to mend:" in done["comment"]
    assert not (place / "run" / "venv").exists()


def test_the_same_bytes_from_scratch(state: State, place: Path) -> None:
    """Made at another time, from nothing: what a release has of it is the same."""
    project = Project.at(place_at(place / "project"), "demo")
    project.paths.root.mkdir(parents=True)
    digests = []
    for number, deployment in enumerate(ids(2)):
        if number:
            shutil.rmtree(place / "run")
            shutil.rmtree(place / "cache")
            for path in (*(place / "wheels").iterdir(), place / "requirements.txt"):
                os.utime(path, (1, 1))
        assert _call(state, place)["changes"]["how"] == "built"
        made = releases.make(project, deployment, place / "run", FACTS, {})
        digests.append(made.parts[0].sha256)
    assert len(set(digests)) == 1


def test_a_module_changed_by_hand_is_compiled_anew(state: State, place: Path) -> None:
    _call(state, place)
    (module,) = (place / "run/venv").glob("lib/*/site-packages/tinything.py")
    assert list(module.parent.glob("__pycache__/tinything.*.pyc"))
    module.write_text("def main():\n    print('mended')\n")
    os.utime(module, (315532800, 315532800))
    assert _says(place) == "mended"
