"""Manifests of releases: one form, and nothing in it taken on trust."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from corpus.model.deployment import DeploymentId
from corpus.model.errors import InvalidInput
from corpus.model.manifest import Manifest, Part, archive_name, parse

ID = DeploymentId.parse("20261122T215948-9f2181c4-7d90-44ea-92ef-eacff4319716")
MAIN = Part("main", archive_name("demo", ID), "0" * 64, 10, 20, 3)
ASSETS = Part("assets", archive_name("demo", ID, "assets"), "1" * 64, 11, 21, 4)
GOOD = Manifest(
    project="demo", deployment=ID, commit="c" * 40, pillar_commit="", time=1_700_000_000,
    made_at=1_700_000_009, by="Ann Ünger", architecture="x86_64", base="debian-12 python-3.11",
    image="", recipe="python", signer="a-b", parts=(MAIN, ASSETS),
)  # fmt: skip


def test_there_and_back() -> None:
    text = GOOD.to_bytes()
    assert text.isascii()
    assert parse(text) == GOOD
    assert (GOOD.size, GOOD.files, GOOD.archive_size) == (41, 7, 21)
    assert archive_name("demo", ID, "assets") == f"demo-{ID}.assets.tar.zst"


def changed(**more: Any) -> bytes:
    return text_of({**json.loads(GOOD.to_bytes()), **more})


def part(**more: Any) -> bytes:
    return changed(parts=[{**json.loads(GOOD.to_bytes())["parts"][0], **more}])


def text_of(values: Any) -> bytes:
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def without(key: str) -> bytes:
    values = json.loads(GOOD.to_bytes())
    del values[key]
    return text_of(values)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 60_000, b'{"format": ' + b"9" * 9000 + b"}",
        b" " * 70_000, GOOD.to_bytes().rstrip(), GOOD.to_bytes() + b"\n", b" " + GOOD.to_bytes(),
        GOOD.to_bytes().replace(b"\\u00dc", "Ü".encode()),
        GOOD.to_bytes().replace(b'{\n  "arch', b'{\n  "by": "x",\n  "arch', 1),
        changed(surplus=1), without("by"), without("parts"), part(surplus=1),
        changed(format=2), changed(format=True), changed(format="1"), changed(format=1.0),
        changed(project="../x"), changed(project="root"), changed(project=None),
        changed(deployment="x"), changed(deployment=None),
        changed(commit=""), changed(commit="C" * 40), changed(commit="c" * 39),
        changed(pillar_commit="x"), changed(by="a\nb"), changed(by="x" * 201), changed(by=None),
        changed(by="\ud800"), changed(by="\x1b[2J"), changed(signer=""), changed(signer="a b"),
        changed(signer="*"), changed(signer="-n"), changed(signer="a,b"), changed(signer="a\n"),
        changed(architecture="x/y"), changed(time=-1), changed(time=True), changed(time=1.5),
        changed(time=float("nan")), changed(made_at=1 << 60), changed(parts=[]),
        changed(parts={}), changed(parts=None), changed(parts=["main"]),
        part(name="other"), part(name="../x"), part(archive="/etc/passwd"),
        part(archive="demo.tar.zst"), part(sha256="0" * 63), part(sha256="G" * 64),
        part(size=-1), part(size=1 << 60), part(files=1 << 40), part(archive_size="1"),
    ],
)  # fmt: skip
def test_what_is_odd(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse(data)


@pytest.mark.parametrize(
    "parts", [(ASSETS, MAIN), (ASSETS,), (MAIN, MAIN), (MAIN, ASSETS, ASSETS), (MAIN,) * 17]
)
def test_the_order_of_parts(parts: tuple[Part, ...]) -> None:
    with pytest.raises(InvalidInput):
        parse(replace(GOOD, parts=parts).to_bytes())
