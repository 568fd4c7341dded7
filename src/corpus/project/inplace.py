"""What phases changed where somebody edits, told from what he edited, and put back alone.

A file's change time is the kernel's: no program sets it. Of a file changed while a phase ran
it lies between the phase's beginning and its end, or its last sign of life when it was cut off.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from corpus.commands import copying
from corpus.hosts import kernel
from corpus.model.paths import Archive
from corpus.project.journal import Journal
from corpus.project.place import Project

States = Mapping[str, os.stat_result]
Spans = Sequence[tuple[int, int]]
"""Beginnings and ends of phases, in the kernel's nanoseconds; an end of 0 is none yet."""
CUT_OFF = 2_000_000_000
"""Nanoseconds that a phase may have written after its last sign of life."""
_SPANS, _ALIVE, _BEAT = "spans", "alive", 1.0


def begin(archive: Archive) -> None:
    """Remember that what changes from now on is a phase's or somebody's edit."""
    archive.root.mkdir(parents=True, exist_ok=True)
    begun(archive).touch()


def begun(archive: Archive) -> Path:
    """Return the file that says of ``archive.run`` that it is a copy of what somebody edits."""
    return archive.root / "edited"


@contextmanager
def phase(journal: Journal, archive: Archive) -> Iterator[None]:
    """Remember when a phase ran, whatever ends it, the machine's going down too."""
    before = journal.fact(_SPANS) or []
    began = _now(archive)
    journal.facts(durable=True, **{_SPANS: [*before, (began, 0)]})
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with suppress(OSError):
                _now(archive)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        journal.facts(durable=True, **{_SPANS: [*before, (began, _now(archive))]})


def _now(archive: Archive) -> int:
    """Write down the time as the kernel writes that of files, and return it."""
    sign = archive.root / _ALIVE
    sign.touch()
    return sign.stat().st_mtime_ns


def put_back(project: Project, archive: Archive, journal: Journal) -> list[str]:
    """Make what phases changed in ``run/`` what it is in ``archive.run``; return what is left.

    What they made goes to ``archive.run_failed``, what they removed comes back. What changed
    while none ran is somebody's edit and left as it is, git's own files too: the names of
    those that differ from the copy are returned, sorted. Raises CommandFailed, OSError.
    """
    run, kept = project.paths.run, archive.run
    spans = _spans(archive, journal)
    since = begun(archive).stat().st_mtime_ns
    spared = (kept / ".git").exists() and (run / ".git").exists()
    now, before = _states(run, spared), _states(kept, spared)
    changed = _changed(now, before, since)
    made = {path for path, time in changed.items() if _within(spans, time)}
    edits = {path for path in changed if path not in made and not _is_dir(now[path])}
    _take_out(run, now, before, made, archive.run_failed)
    wanted = [
        path
        for path in before
        if (path in made or path not in now) and not _is_barred(run, path, before[path], edits)
    ]
    archive.run_failed.mkdir(exist_ok=True)
    command = copying.listed(kept, run, aside=archive.run_failed)
    project.host.run(command, stdin=b"".join(os.fsencode(path) + b"\0" for path in wanted))
    kernel.sync(run)
    return sorted(path for path in edits if not _is_same(now[path], before.get(path)))


def _spans(archive: Archive, journal: Journal) -> Spans:
    """Return when phases ran; one that was cut off did so until its last sign of life."""
    spans = journal.fact(_SPANS) or []
    last = (archive.root / _ALIVE).stat().st_mtime_ns + CUT_OFF if spans else 0
    return [(began, ended or last) for began, ended in spans]


def _within(spans: Spans, changed: int) -> bool:
    return any(began <= changed <= ended for began, ended in spans)


def _changed(now: States, before: States, since: int) -> dict[str, int]:
    """Return what changed after ``since``, and when; what moved with its directory did then."""
    changed: dict[str, int] = {}
    for path, found in now.items():
        if found.st_ctime_ns > since:
            changed[path] = found.st_ctime_ns
        elif not _is_same(found, before.get(path)):
            folder = str(Path(path).parent)
            changed[path] = changed.get(folder, found.st_ctime_ns)
    return changed


def _states(folder: Path, without_git: bool) -> dict[str, os.stat_result]:
    """Return the state of all below ``folder``, a directory before what it contains."""
    found = {}
    for place, names, files in os.walk(folder):
        if without_git and Path(place) == folder:
            names[:] = [name for name in names if name != ".git"]
            files = [name for name in files if name != ".git"]
        for name in (*names, *files):
            path = Path(place, name)
            with suppress(FileNotFoundError):
                found[str(path.relative_to(folder))] = path.lstat()
    return found


def _take_out(run: Path, now: States, before: States, made: set[str], aside: Path) -> None:
    """Move away what phases made that was not there before, or was a directory."""
    for path in reversed(list(now)):  # what is within comes first
        new = path not in before or _is_dir(before[path]) != _is_dir(now[path])
        if new and _is_dir(now[path]):
            with suppress(OSError):  # it holds an edit
                (run / path).rmdir()
        elif new and path in made:
            _move(run / path, aside / path)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a developer's directory, on another filesystem
            raise
        if source.is_symlink() or source.is_file():  # the others hold nothing
            shutil.copy2(source, target, follow_symlinks=False)
        source.unlink()


def _is_barred(run: Path, path: str, kept: os.stat_result, edits: set[str]) -> bool:
    """Tell whether an edit is in the way: a file above, or within what was no directory."""
    above = any(str(folder) in edits for folder in Path(path).parents)
    place = run / path
    return above or (not _is_dir(kept) and place.is_dir() and not place.is_symlink())


def _is_dir(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode)


def _is_same(now: os.stat_result, before: os.stat_result | None) -> bool:
    """Tell whether a path is as it was, such as one that was put back already."""
    if before is None or now.st_mode != before.st_mode:
        return False
    sizes = (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    return sizes or _is_dir(now)
