"""Whether a release is what a trusted environment made, and made for a system like this one."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from corpus.model.deployment import DeploymentId
from corpus.model.errors import InvalidInput, NotFound, ReleaseRefused
from corpus.model.manifest import Manifest, Part
from corpus.project.place import Project
from corpus.project.releases import shelf, signing, system

_PIECE = 1 << 20  # bytes that are digested at once
_AHEAD = 8  # pieces: with fewer, reading and digesting wait for each other
_MAX_SIGNATURE = 4096  # bytes; one by an ed25519 key has some 300
_AGAIN = "fetch or copy the release again"


def verify(project: Project, deployment: DeploymentId, *, archives: bool = True) -> Manifest:
    """Return the manifest of a release that may be deployed here. Raises ReleaseRefused, NotFound.

    A trusted environment signed it; it was made for this architecture and base; every archive
    has its size and, unless ``archives`` is false, its digest. ``unpack`` looks at the digests
    in any case: who unpacks at once saves reading the archives twice.
    """
    where = str(project.paths.manifest(deployment))
    try:
        manifest, text = shelf.read(project, deployment)
        with project.paths.signature(deployment).open("rb") as file:
            signature = file.read(_MAX_SIGNATURE)
    except FileNotFoundError as error:
        raise NotFound(
            f"no release {deployment} of {project.name}, or not all of it: {error.filename}",
            mend="mc_project.releases lists those that are here",
        ) from None
    except InvalidInput as error:
        raise ReleaseRefused(error.what, where=where, mend=_AGAIN) from None
    with ThreadPoolExecutor(1) as meanwhile:
        digests = meanwhile.submit(_look, project, manifest, archives)
        signing.check(project, text, signature, manifest.signer)  # what it refuses is told first
        check_system(manifest, where)
        for part, digest in zip(manifest.parts, digests.result(), strict=False):
            check_digest(part, digest, project.paths.releases / part.archive)
    return manifest


def _look(project: Project, manifest: Manifest, digests: bool) -> list[str]:
    """Return the digests of the archives, if asked for; raise ReleaseRefused for a wrong size."""
    found = []
    for part in manifest.parts:
        with opened(project, part) as handle:
            if digests:
                found.append(digest_of(handle))
    return found


def check_system(manifest: Manifest, where: str) -> None:
    """Raise ReleaseRefused when a release was made for another system than this one."""
    for what, made, here in (
        ("architecture", manifest.architecture, system.architecture()),
        ("base", manifest.base, system.base()),
    ):
        if made != here:
            raise ReleaseRefused(
                f"the release was made for another {what}: {made}, and this is {here}",
                where=where,
                mend="make the release in an environment of the same image as this one",
            )


@contextmanager
def opened(project: Project, part: Part) -> Iterator[int]:
    """Yield a descriptor of an archive that has the size it should. Raises ReleaseRefused."""
    path = project.paths.releases / part.archive
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ReleaseRefused(
            f"an archive of the release cannot be read: {error.strerror}",
            where=str(path),
            mend=_AGAIN,
        ) from None
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_size != part.archive_size:
            raise ReleaseRefused(
                f"an archive of the release is not whole: {state.st_size} bytes "
                f"and not {part.archive_size}",
                where=str(path),
                mend=_AGAIN,
            )
        yield handle
    finally:
        os.close(handle)


def digest_of(handle: int) -> str:
    """Return the SHA-256 of an open file in hex.

    A thread reads some pieces ahead of the one that is digested: both let go of the interpreter,
    so that the slower of the two is all that one waits for.
    """
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)  # the disk reads ahead meanwhile
    digest, places = hashlib.sha256(), count(0, _PIECE)
    with ThreadPoolExecutor(1) as reader:
        coming = deque(
            (piece, reader.submit(_fill, handle, piece, next(places)))
            for piece in (memoryview(bytearray(_PIECE)) for _ in range(_AHEAD))
        )
        while size := coming[0][1].result():
            piece, _ = coming.popleft()
            digest.update(piece[:size])
            coming.append((piece, reader.submit(_fill, handle, piece, next(places))))
    return digest.hexdigest()


def _fill(handle: int, piece: memoryview, at: int) -> int:
    """Read a file into ``piece``; return how many bytes: fewer than it has at the end only."""
    filled = 0
    while filled < len(piece) and (size := os.preadv(handle, [piece[filled:]], at + filled)):
        filled += size
    return filled


def check_digest(part: Part, digest: str, path: Path) -> None:
    """Raise ReleaseRefused unless ``digest`` is that of the manifest."""
    if digest != part.sha256:
        raise ReleaseRefused(
            f"an archive of the release is damaged or not the one that was signed: "
            f"its SHA-256 is {digest} and not {part.sha256}",
            where=str(path),
            mend=_AGAIN,
        )
