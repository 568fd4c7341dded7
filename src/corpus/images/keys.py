"""What a layer depends on, as one hash: the name under which it is cached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

FORMAT = 1
"""Counted up when layers are made otherwise than before from the same inputs."""

_NOT_SOURCE = {"__pycache__", ".mypy_cache"}


def key(name: str, **inputs: object) -> str:
    """Return the SHA-256 of a layer's name and inputs (plain values)."""
    text = json.dumps([FORMAT, name, inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def source_files(folder: Path) -> list[Path]:
    """Return the files below ``folder`` that belong to the source, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not _NOT_SOURCE.intersection(path.parts)
        and path.suffix != ".pyc"
        and not any(part.endswith(".egg-info") for part in path.parts)
    )


def digest_of(files: Iterable[Path], root: Path) -> str:
    """Return the SHA-256 of the files' names below ``root`` and of what they hold."""
    total = hashlib.sha256()
    for path in files:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root)}\0{content}\n".encode())
    return total.hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of one file, which may be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
