from pathlib import Path

import pytest

from corpus.images import setup
from corpus.model.errors import InvalidInput

FILES = Path(setup.__file__).parent / "files"


def test_directives() -> None:
    found = setup.parse("# why\nmask a.timer # not here\n\nenable b.service\nmask c.service\n")
    assert setup.commands(found) == [
        ["systemctl", "--quiet", "enable", "b.service"],
        ["systemctl", "--quiet", "mask", "a.timer", "c.service"],
    ]


@pytest.mark.parametrize("line", ["mask", "mask a b", "remove /x", "link relative /x"])
def test_bad_directives_say_where(line: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        setup.parse(f"mask a\n{line}\n", "common.setup")
    assert caught.value.where == "common.setup:2"


def test_links_directories_permissions(tmp_path: Path) -> None:
    text = "link /usr/bin/x /opt/x\ndirectory /etc/keys 0700\nmode /etc 0711\n"
    setup.apply(setup.parse(text), tmp_path)
    setup.apply(setup.parse(text), tmp_path)
    assert (tmp_path / "usr/bin/x").readlink() == Path("/opt/x")
    assert (tmp_path / "etc/keys").stat().st_mode & 0o7777 == 0o700
    assert (tmp_path / "etc").stat().st_mode & 0o7777 == 0o711


def test_programs_may_be_run() -> None:
    assert setup.mode_of("/usr/local/bin/x", b"") == 0o755
    assert setup.mode_of("/etc/x", b"#!/bin/sh\n") == 0o755
    assert setup.mode_of("/etc/x", b"x") == 0o644


@pytest.mark.parametrize("name", ["common", "environment", "node"])
def test_ours_are_read(name: str) -> None:
    setup.read(name, FILES)
    assert all(path.startswith("/") for path in setup.files(name, FILES))


def test_the_common_files_are_there() -> None:
    assert {"/etc/salt/minion", "/etc/locale.conf"} <= set(setup.files("common", FILES))
    assert setup.read("absent", FILES) == []
