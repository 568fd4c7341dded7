"""Releases: only what a trusted environment signed, whole, and for a system like this one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import NotFound, ReleaseRefused
from corpus.model.manifest import Manifest
from corpus.project import releases
from corpus.project.place import Place, Project
from corpus.project.releases import signing
from projects import ids, place_at
from releasing import A, describe, member, put, sign, tar, zstd

ARCHIVE = zstd(tar(member("./", b"5"), (member("./a"), b"x")))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project that has a release, signed by its own environment."""
    made = Project.at(place_at(tmp_path), "demo")
    made.paths.root.mkdir(parents=True)
    put(made, ARCHIVE, 1, 2)
    sign(made)
    return made


def refused(project: Project, why: str) -> None:
    before = sorted(project.paths.root.rglob("*"))
    with pytest.raises(ReleaseRefused, match=why) as error:
        releases.verify(project, A)
    assert error.value.exit_code == 10
    assert error.value.where
    assert sorted(project.paths.root.rglob("*")) == before


def test_a_good_one(project: Project) -> None:
    manifest = releases.verify(project, A)
    assert (manifest.deployment, manifest.files, manifest.size) == (A, 2, 1)


def test_none(project: Project) -> None:
    _, other = ids(2)
    with pytest.raises(NotFound, match="no release"):
        releases.verify(project, other)
    project.paths.signature(A).unlink()
    with pytest.raises(NotFound, match="not all of it"):
        releases.verify(project, A)


def another(tmp_path: Path, name: str = "staging") -> Place:
    folder = tmp_path / "other"
    place = place_at(folder)
    place.etc.mkdir(parents=True, exist_ok=True)
    place.identity.write_text(json.dumps({"id": name}))
    return place


def by_another(project: Project, place: Place, says: str) -> None:
    text = replace(describe(project, ARCHIVE, 1, 2), signer=says).to_bytes()
    project.paths.manifest(A).write_bytes(text)
    project.paths.signature(A).write_bytes(signing.sign(place, text))


def trust(project: Project, name: str, key: str, namespaces: str = "corpus-release") -> None:
    project.place.signers.write_text(f'demo@{name} namespaces="{namespaces}" {key}\n')


def test_a_trusted_signer(project: Project, tmp_path: Path) -> None:
    place = another(tmp_path)
    by_another(project, place, "staging")
    refused(project, "not signed by an environment that is trusted here")
    trust(project, "staging", signing.public_key(place))
    assert releases.verify(project, A).signer == "staging"


def test_a_signer_who_says_another_name(project: Project, tmp_path: Path) -> None:
    place = another(tmp_path)
    trust(project, "other", signing.public_key(place))
    by_another(project, place, "staging")
    refused(project, "trusted")
    by_another(project, place, signing.signer_of(project.place))
    refused(project, "trusted")


def test_a_signature_for_something_else(project: Project, tmp_path: Path) -> None:
    place = another(tmp_path)
    trust(project, "staging", signing.public_key(place), namespaces="git")
    by_another(project, place, "staging")
    refused(project, "trusted")


@pytest.mark.parametrize("signature", [b"", b"nonsense", b"x" * 9000])
def test_no_signature(project: Project, signature: bytes) -> None:
    project.paths.signature(A).write_bytes(signature)
    refused(project, "sign")


def test_a_manifest_that_was_changed(project: Project) -> None:
    text = project.paths.manifest(A).read_bytes()
    project.paths.manifest(A).write_bytes(text.replace(b'"ann"', b'"bob"'))
    refused(project, "not signed")
    project.paths.manifest(A).write_bytes(text.replace(b"  ", b" "))
    refused(project, "canonical")


CHANGES: dict[str, tuple[Callable[[Manifest], Manifest], str]] = {
    "architecture": (lambda m: replace(m, architecture="sparc64"), "another architecture: sparc64"),
    "base": (lambda m: replace(m, base="debian-11 python-3.9"), "another base: debian-11"),
    "project": (lambda m: _of(m, "other"), "of another release"),
    "digest": (lambda m: _part(m, sha256="0" * 64), "damaged"),
    "size": (lambda m: _part(m, archive_size=5), "not whole"),
}


def _part(manifest: Manifest, **more: Any) -> Manifest:
    return replace(manifest, parts=(replace(manifest.parts[0], **more),))


def _of(manifest: Manifest, name: str) -> Manifest:
    archive = manifest.parts[0].archive.replace("demo", name)
    return replace(_part(manifest, archive=archive), project=name)


@pytest.mark.parametrize("name", CHANGES)
def test_another(project: Project, name: str) -> None:
    change, why = CHANGES[name]
    sign(project, change(describe(project, ARCHIVE, 1, 2)).to_bytes())
    refused(project, why)


def test_a_damaged_archive(project: Project) -> None:
    archive = project.paths.release(A)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    refused(project, "damaged")
    assert releases.verify(project, A, archives=False)  # left to unpack
    archive.write_bytes(data[:-1])
    refused(project, "not whole")
    archive.unlink()
    refused(project, "cannot be read")


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_an_archive_that_is_no_file(project: Project, kind: str) -> None:
    archive = project.paths.release(A)
    archive.unlink()
    if kind == "link":
        archive.symlink_to("/etc/passwd")
    else:
        archive.mkdir()
    refused(project, "cannot be read|not whole")


def test_the_key(project: Project) -> None:
    key = project.place.release_key
    assert key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in project.place.etc.iterdir()] == ["release_key"]
    before = key.read_bytes()
    assert signing.own_key(project.place) == key
    assert key.read_bytes() == before
    assert signing.public_key(project.place).startswith("ssh-ed25519 AAAA")


def test_listed(project: Project) -> None:
    (manifest,) = releases.listed(project)
    assert manifest.deployment == A
    project.paths.manifest(A).write_text("{")
    assert releases.listed(project) == []
    assert releases.deployments(project) == {A}
    releases.remove(project, A)
    assert releases.deployments(project) == set()
