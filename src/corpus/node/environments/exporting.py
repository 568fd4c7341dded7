"""An environment to a file, from a copy of one moment: it goes on meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.hosts import beneath
from corpus.hosts.members import Unfit
from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound
from corpus.model.size import format_size
from corpus.node.context import Node
from corpus.node.environments import archives, guest, lifecycle, stillness
from corpus.node.records import Record
from corpus.node.storage import copies, images, packing

Say = Callable[[str], None]
"""Called with a line for people, now and then, while something long is done."""
_WHERE = "file"  # beside the copy: which file it is written to
_EVERY = 5.0  # seconds between two such lines


def plan(node: Node, id: str, file: str | Path) -> tuple[Record, Path]:
    """Return whose export goes where. Raises NotFound, InvalidInput, Conflict."""
    record, path = lifecycle.ready(node, node.records.resolve(id)), Path(file)
    if record.shares:
        raise InvalidInput(
            f"environment {record.name} shares directories of this machine, which are not its own",
            mend="push its project to another environment instead",
        )
    if not path.is_absolute() or not path.parent.is_dir() or not path.name.strip("."):
        raise InvalidInput(f"not a place for a file: {ascii(str(path))[:200]}",
                           mend="give an absolute path in a directory that is there")  # fmt: skip
    if path.is_symlink() or path.exists():
        raise Conflict(f"there is a file {path}", mend="remove it, or choose another name")
    return record, path


def changes(node: Node, id: str, file: str | Path, *, freeze: bool = True) -> list[str]:
    """Tell what ``export`` would do. Raises what it would raise."""
    record, path = plan(node, id, file)
    stillness.check(node, record, wanted=freeze)
    return [f"export {record.name} to {path}"]


def export(
    node: Node, id: str, file: str | Path, *, freeze: bool = True, say: Say = lambda line: None
) -> dict[str, Any]:
    """Write an environment, which may run, to a new file; return what that says of itself.

    The file is whole, or absent. ``freeze`` halts a running one for the instant of the copy that
    is written. Raises InvalidInput, Conflict, NotFound, CorpusError.
    """
    tidy(node, lifecycle.ready(node, node.records.resolve(id)))  # also where it is refused
    record, path = plan(node, id, file)
    partial = _partial(path, record.id)
    with _alone(node, record):
        place = staged(node, record.id)
        try:
            with node.lock(record.id):
                record, _ = plan(node, record.id, path)
                _clear(node, record)  # what a crash left
                place.mkdir(mode=0o700)
                (place / _WHERE).write_bytes(os.fsencode(path))
                with _room(node, record), stillness.still(node, record, wanted=freeze):
                    copies.put_aside(node, guest.home(node.settings, record.id), place, record)
            digest = _write(node, record, place, partial, freeze, say)
            plan(node, record.id, path)  # somebody else may have made such a file
            partial.rename(path)
        except Unfit as error:
            raise CorpusError(f"{record.name} cannot be exported: {error}") from None
        except OSError as error:
            raise CorpusError(
                f"{record.name} cannot be exported: {error.strerror or error}", str(path),
                "make room there, or choose another place",
            ) from None  # fmt: skip
        finally:
            partial.unlink(missing_ok=True)
            with suppress(CorpusError, OSError), node.lock(record.id):
                _clear(node, record)
        with beneath.opened(path.parent) as folder:
            os.fsync(folder)
    return {"file": str(path), "size": path.stat().st_size, "digest": digest}


@contextmanager
def _alone(node: Node, record: Record) -> Iterator[None]:
    """Let no other export of it run: a long one holds no lock that others wait for."""
    name = f"export-{record.id}"
    with node.lock(name, wait=False):
        try:
            yield
        finally:
            (node.settings.locks / name).unlink(missing_ok=True)


def staged(node: Node, id: str) -> Path:
    """Return where the copy lies that is being written."""
    return guest.home(node.settings, id) / "export"


def tidy(node: Node, record: Record) -> None:
    """Remove what a crash left of an export, unless one is under way."""
    with suppress(Conflict), _alone(node, record), node.lock(record.id):
        _clear(node, record)
        copies.settle(node, node.records.get(record.id))


def discard(node: Node, id: str) -> None:
    """Remove what there is of the file that an export had begun to write. Raises OSError."""
    with suppress(FileNotFoundError):
        where = (staged(node, id) / _WHERE).read_bytes()
        _partial(Path(os.fsdecode(where)), id).unlink()


def _partial(path: Path, id: str) -> Path:
    return path.with_name(f".{id}.partial")  # its own: others may go to the same name


def _clear(node: Node, record: Record) -> None:
    if staged(node, record.id).exists():
        discard(node, record.id)  # first: with the copy goes what tells where it is
        with _room(node, record):
            copies.delete(node, staged(node, record.id))


def _room(node: Node, record: Record) -> AbstractContextManager[None]:
    return copies.room(node, node.records.get(record.id))  # it may have been enlarged meanwhile


def _write(node: Node, record: Record, place: Path, partial: Path, freeze: bool, say: Say) -> str:
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        parts = []
        for name in copies.PARTS:
            start = os.lseek(handle, 0, os.SEEK_END)
            os.lseek(handle, start + len(archives.header(name, 0)), os.SEEK_SET)
            packed = packing.pack(place / name, handle, progress(say, name))
            parts.append(replace(archives.close_member(handle, name, start), packed=packed))
        digest = archives.write_manifest(handle, record, _image(node, record), freeze, parts)
        os.fsync(handle)
    finally:
        os.close(handle)
    return digest


def _image(node: Node, record: Record) -> str:
    try:
        return images.find(node, record.image).digest
    except NotFound:
        return record.image


def progress(say: Say, name: str, total: int | None = None) -> packing.Tell:
    """Return what tells people now and then how far a volume is."""
    last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            whole = "" if total is None else f" of {format_size(total)}"
            say(f"{name}: {format_size(done)}{whole}")

    return tell
