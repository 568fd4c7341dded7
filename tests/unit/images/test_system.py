from pathlib import Path

import pytest

from corpus.images import system
from corpus.model.errors import InvalidInput

FILES = Path(system.__file__).parent / "files"


def test_directives() -> None:
    found = system.parse("# why\nmask a.timer # not here\n\nenable b.service\nmask c.service\n")
    assert system.commands(found) == [
        ["systemctl", "--quiet", "enable", "b.service"],
        ["systemctl", "--quiet", "mask", "a.timer", "c.service"],
    ]


@pytest.mark.parametrize("line", ["mask", "mask a b", "remove /x", "link relative /x"])
def test_bad_directives_say_where(line: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        system.parse(f"mask a\n{line}\n", "common.setup")
    assert caught.value.where == "common.setup:2"


def test_links_directories_permissions(tmp_path: Path) -> None:
    text = "link /usr/bin/x /opt/x\ndirectory /etc/keys 0700\nmode /etc 0711\n"
    system.apply(system.parse(text), tmp_path)
    system.apply(system.parse(text), tmp_path)
    assert (tmp_path / "usr/bin/x").readlink() == Path("/opt/x")
    assert (tmp_path / "etc/keys").stat().st_mode & 0o7777 == 0o700
    assert (tmp_path / "etc").stat().st_mode & 0o7777 == 0o711


def test_programs_may_be_run() -> None:
    assert system.mode_of("/usr/local/bin/x", b"") == 0o755
    assert system.mode_of("/etc/x", b"#!/bin/sh\n") == 0o755
    assert system.mode_of("/etc/x", b"x") == 0o644


@pytest.mark.parametrize("name", ["common", "environment", "node"])
def test_ours_are_read(name: str) -> None:
    system.read(name, FILES)
    assert all(path.startswith("/") for path in system.files(name, FILES))


def test_the_common_files_are_there() -> None:
    assert {"/etc/salt/minion", "/etc/locale.conf"} <= set(system.files("common", FILES))
    assert system.read("absent", FILES) == []
