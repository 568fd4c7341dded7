"""Unpacking a release into a directory of its own.

The archive passes through here once: a thread reads and digests it and feeds the
decompressor, while its members are checked and made, each before the next one is looked at.
The target is nobody's yet, so that whatever is refused on the way, the digest at the end
included, is refused by removing it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from corpus.commands import copying
from corpus.hosts import kernel, pipeline
from corpus.hosts.extracting import Tree
from corpus.hosts.members import Unfit, members
from corpus.model.errors import CommandFailed, ReleaseRefused
from corpus.model.manifest import Manifest, Part
from corpus.model.size import format_size
from corpus.project import trees
from corpus.project.place import Project
from corpus.project.releases.rules import Rules
from corpus.project.releases.verifying import check_digest, digest_of, opened

_CHUNK: Final = 1 << 20
_TIMEOUT: Final = 3600
_MEMBER: Final = 4096  # bytes that a member takes besides its content, at the most


def unpack(project: Project, manifest: Manifest, target: Path) -> None:
    """Make ``target`` hold what the release's archives hold, whole or not at all.

    The manifest is one that ``verify`` returned. What ``target`` held is removed first. Owners
    are the numbers that the archive tells, but for the project's own accounts, which go by
    their names. Raises ReleaseRefused; ``target`` is then absent.
    """
    needed = manifest.size + manifest.files * _MEMBER
    trees.remove(target)
    free = trees.free_bytes(target.parent)
    if free < needed:
        raise ReleaseRefused(
            f"the release unpacks to {format_size(needed)} and {format_size(free)} are free",
            where=str(target.parent),
            mend="enlarge the environment, or lower retention",
        )
    trees.make(target)
    try:
        tree = Tree(target, Rules(project.paths.root), _owners(project))
        for part in manifest.parts:
            _unpack(project, part, tree)
        tree.finish()
        kernel.sync(target)
    except OSError as error:
        trees.remove(target)
        raise ReleaseRefused(
            f"the release could not be unpacked: {error.strerror or error}", where=str(target)
        ) from None
    except BaseException:
        trees.remove(target)
        raise


def _owners(project: Project) -> frozenset[bytes]:
    return frozenset(name.encode() for name in (project.user, project.application) if name)


def _unpack(project: Project, part: Part, tree: Tree) -> None:
    path = project.paths.releases / part.archive
    with opened(project, part) as archive:
        try:
            with (
                pipeline.fed(_pieces(archive)) as (source, digest),
                pipeline.output_of([copying.decompress()], source, timeout=_TIMEOUT) as output,
            ):
                _take(output, part, tree)
                found = digest()
        except (Unfit, CommandFailed) as error:
            check_digest(part, digest_of(archive), path)  # a damaged one is called that
            raise ReleaseRefused(
                f"the release is refused: {error}",
                where=str(path),
                mend="do not deploy it; ask who made it",
            ) from None
    check_digest(part, found, path)


def _pieces(archive: int) -> Iterator[bytes]:
    with open(archive, "rb", 0, closefd=False) as source:
        while data := source.read(_CHUNK):
            yield data


def _take(output: IO[bytes], part: Part, tree: Tree) -> None:
    tree.begin(part)
    for member in members(output):
        tree.add(member, output)
    tree.end()
