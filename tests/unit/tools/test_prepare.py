"""What `make prepare` finds missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from corpus.hosts.fake import Fake

TOOL = Path(__file__).resolve().parents[3] / "tools" / "prepare.py"


@pytest.fixture
def prepare() -> ModuleType:
    """Return the tool as a module."""
    spec = importlib.util.spec_from_file_location("prepare", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _machine(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, shown: str) -> Fake:
    fake = Fake()
    fake.answer("dpkg-query", shown)
    monkeypatch.setattr(prepare, "Local", lambda: fake)
    return fake


def test_where_all_is_there_no_package_source_is_asked(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = "".join(f"{name} installed\n" for name in prepare.PACKAGES)
    fake = _machine(prepare, monkeypatch, shown)
    assert prepare.main() == 0
    assert [command[0] for command in fake.commands] == ["dpkg-query"]


def test_what_is_missing_or_half_removed_is_installed(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name in prepare.PACKAGES if name not in ("lxc", "rsync")]
    shown = "".join(f"{name} installed\n" for name in names) + "rsync config-files\n"
    fake = _machine(prepare, monkeypatch, shown)
    monkeypatch.setattr(prepare.os, "geteuid", lambda: 0)
    assert prepare.main() == 0
    assert fake.commands[1][-1] == "update"
    assert fake.commands[2][-2:] == ("lxc", "rsync")


def test_without_root_it_says_what_to_run(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = _machine(prepare, monkeypatch, "")
    monkeypatch.setattr(prepare.os, "geteuid", lambda: 1000)
    assert prepare.main() == 1
    assert "apt-get install" in capsys.readouterr().err
    assert len(fake.commands) == 1
