"""One deployment of a project at a time. The lock is the kernel's, so it dies with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.model.errors import Conflict

_DEPLOYMENT, _RECOVERY = "deployment", "recovery"


def text(identity: object, commit: str, branch: str, by: str) -> str:
    """Return what a deployment writes into the lock: people and ``running`` read it."""
    name = branch.removeprefix("refs/heads/")
    return f"{_DEPLOYMENT} {identity} of {commit[:10]} on {name} by {by or 'somebody'}"


def recovery(identity: object) -> str:
    """Return what a recovery writes into the lock."""
    return f"{_RECOVERY} {identity}"


def recovers(path: Path) -> bool:
    """Tell whether who has the lock puts back what it finds: a doctor, say, does not."""
    return is_held(path) and holder(path).startswith((f"{_DEPLOYMENT} ", f"{_RECOVERY} "))


def running(path: Path, commit: str, branch: str) -> str:
    """Return the id of the deployment of ``commit`` on ``branch`` that has the lock, or nothing."""
    said = holder(path) if commit and is_held(path) else ""
    identity = said.split()[1] if len(said.split()) > 1 else ""
    same = said.startswith(text(identity, commit, branch, "").removesuffix("somebody"))
    return identity if identity and same else ""


@contextmanager
def held(
    path: Path, holder: str, waiting: Callable[[str], None], patience: float = 3600.0
) -> Iterator[None]:
    """Hold the lock at ``path`` as ``holder``.

    While another has it, ``waiting`` is called once with each holder's text. Raises
    Conflict after ``patience`` seconds.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(handle, path, waiting, time.monotonic() + patience)
        with contextlib.suppress(OSError):  # a full disk: the lock counts, not its text
            os.ftruncate(handle, 0)
            os.pwrite(handle, holder.encode(), 0)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the deployment has ended, whatever the disk says
                os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, waiting: Callable[[str], None], deadline: float) -> None:
    told = ""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            ahead = holder(path)
            if ahead and ahead != told:  # none: somebody only asks whether it is held
                waiting(ahead)
                told = ahead
            if time.monotonic() > deadline:
                raise Conflict(
                    f"gave up waiting behind {ahead or 'another deployment'}",
                    where=str(path),
                    mend="push again later",
                ) from None
            time.sleep(0.05)


def holder(path: Path) -> str:
    """Return what the present holder of the lock wrote, or an empty text."""
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""


def is_held(path: Path) -> bool:
    """Tell whether some process holds the lock at ``path``."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared: two who ask at the same time must not take each other for a holder.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)
