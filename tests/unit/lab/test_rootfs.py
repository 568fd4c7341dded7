from __future__ import annotations

from pathlib import Path

import pytest

from corpus.lab import marker, rootfs


class FakeImage:
    digest = "abc"
    layers = ("base", "code")

    def unpack(self, store: Path, target: Path) -> None:
        raise AssertionError

    def top_files(self) -> list[str]:
        return ["b", "a", "a"]


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    root, source = tmp_path / "root", tmp_path / "source"
    for tree in (root, source):
        (tree / "lib/corpus").mkdir(parents=True)
        (tree / "lib/corpus/kept.py").write_text("same")
    return root, source


def test_an_update_replaces_adds_and_removes_and_says_what(trees: tuple[Path, Path]) -> None:
    root, source = trees
    (root / "lib/corpus/changed.py").write_text("old")
    (source / "lib/corpus/changed.py").write_text("new")
    (root / "lib/corpus/gone").mkdir()
    (root / "lib/corpus/gone/__pycache__").mkdir()
    (root / "lib/corpus/gone/__pycache__/x.pyc").write_text("made by Python")
    (root / "lib/corpus/gone/x.py").write_text("old")
    (source / "lib/corpus/added").mkdir()
    (source / "lib/corpus/added/y.py").write_text("new")
    (source / "lib/link").symlink_to("corpus")
    (root / "lib/own").write_text("the machine's own")
    names = {"lib", "lib/link", "lib/corpus", "lib/corpus/kept.py", "lib/corpus/changed.py",
             "lib/corpus/gone", "lib/corpus/gone/x.py", "lib/corpus/added",
             "lib/corpus/added/y.py"}  # fmt: skip
    with (root / "lib/corpus/changed.py").open() as running:
        changed = rootfs.update(root, source, names)
        assert running.read() == "old"
    assert changed == ["lib/corpus/added/y.py", "lib/corpus/changed.py", "lib/corpus/gone/x.py",
                       "lib/link"]  # fmt: skip
    assert (root / "lib/corpus/changed.py").read_text() == "new"
    assert (root / "lib/corpus/added/y.py").read_text() == "new"
    assert not (root / "lib/corpus/gone").exists()
    assert (root / "lib/link").readlink() == Path("corpus")
    assert (root / "lib/own").exists()
    assert rootfs.update(root, source, names) == []


def test_a_directory_with_files_of_the_machine_stays(trees: tuple[Path, Path]) -> None:
    root, source = trees
    (root / "lib/d").mkdir()
    (root / "lib/d/old").write_text("")
    (root / "lib/d/own").write_text("")
    assert rootfs.update(root, source, {"lib/d", "lib/d/old"}) == ["lib/d/old"]
    assert (root / "lib/d/own").exists()


def test_identity_is_carried_and_nothing_else(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for tree in (old, new):
        (tree / "etc/ssh").mkdir(parents=True)
        (tree / "etc/ssh/sshd_config").write_text(tree.name)
        (tree / "etc/machine-id").write_text("")
    (old / "etc/machine-id").write_text("0123")
    (old / "etc/ssh/ssh_host_ed25519_key").write_text("secret")
    (old / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)
    (old / "etc/ssh/ssh_host_link_key").symlink_to("/etc/shadow")
    rootfs.carry(old, new)
    assert (new / "etc/machine-id").read_text() == "0123"
    assert (new / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    assert (new / "etc/ssh/sshd_config").read_text() == "new"
    assert not (new / "etc/ssh/ssh_host_link_key").exists()


def test_units_that_reach_the_host_are_masked(tmp_path: Path) -> None:
    for _ in range(2):
        rootfs.mask(tmp_path)
    unit = tmp_path / "etc/systemd/system/systemd-sysctl.service"
    assert unit.readlink() == Path("/dev/null")


def test_a_root_without_marker_is_half_made(tmp_path: Path) -> None:
    assert marker.read(tmp_path) is None
    assert marker.read(tmp_path / "absent") is None
    marker.write(tmp_path, FakeImage())
    assert marker.read(tmp_path) == marker.Marker("abc", ("base", "code"), ("a", "b"))
    (tmp_path / "var/lib/corpus-lab-image.json").write_text('{"digest": "ab')
    assert marker.read(tmp_path) is None
