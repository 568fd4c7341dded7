"""git, as far as a deployment uses it, without a process: commits are files of JSON.

A checkout is not atomic and leaves its lock behind when it dies, as git's is.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from corpus.commands.git import ZERO


class Git:
    """Answer git's command lines; ``objects`` holds the commits of every repository."""

    def __init__(self, objects: Path) -> None:
        self._objects = objects
        objects.mkdir()

    def commit(self, files: Mapping[str, str], parent: str | None) -> str:
        """Store a commit and return its name."""
        text = json.dumps({"files": dict(files), "parent": parent}, sort_keys=True)
        sha = hashlib.sha1(text.encode()).hexdigest()
        (self._objects / sha).write_text(text)
        return sha

    def files(self, sha: str) -> dict[str, str]:
        """Return what a commit holds."""
        files: dict[str, str] = json.loads((self._objects / sha).read_text())["files"]
        return files

    def run(self, argv: Sequence[str], stdin: str = "") -> str | None:
        """Return what a command prints, or None when it fails."""
        self._stdin = stdin
        words = [word for word in argv if not word.startswith("-")]
        folder = next((word[10:] for word in argv if word.startswith("--git-dir=")), "")
        for option, value in itertools.pairwise(argv):
            if option in ("-C", "-c"):
                words.remove(value)
                folder = value if option == "-C" else folder
        return getattr(self, f"_{words[0].replace('-', '_')}")(Path(folder), *words[1:])

    def _init(self, _folder: Path, path: str) -> str:
        Path(path).mkdir(exist_ok=True)
        Path(path, "HEAD").write_text("")
        return ""

    def _config(self, *_words: object) -> str:
        return ""

    def _rev_parse(self, folder: Path, name: str) -> str | None:
        name = name.removesuffix("^{commit}")
        place = folder / ".git/HEAD" if name == "HEAD" else folder / name
        return place.read_text() if place.exists() else None

    def _merge_base(self, _folder: Path, old: str, new: str) -> str | None:
        sha: str | None = new
        while sha and sha != old:
            sha = json.loads((self._objects / sha).read_text())["parent"]
        return "" if sha else None

    def _update_ref(self, folder: Path, ref: str, new: str, old: str = "") -> str | None:
        if ref == "HEAD":
            (folder / ".git/HEAD").write_text(new)
            return ""
        place = folder / ref
        if (place.read_text() if place.exists() else ZERO) != old:
            return None
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = place.with_name("lock")
        lock.write_text(new)
        lock.rename(place)
        return ""

    def _log(self, _folder: Path, sha: str) -> str | None:
        return "1700000000\na change" if (self._objects / sha).exists() else None

    def _clone(self, _folder: Path, _source: str, target: str) -> str | None:
        if Path(target).exists() and any(Path(target).iterdir()):
            return None
        Path(target, ".git").mkdir(parents=True)
        return ""

    def _checkout(self, folder: Path, sha: str) -> str | None:
        lock = folder / ".git/index.lock"
        try:
            lock.touch(exist_ok=False)
        except FileExistsError:
            return None
        try:
            for name, text in self.files(sha).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            (folder / ".git/HEAD").write_text(sha)
        finally:
            lock.unlink()
        return ""

    # What a work tree with edits takes besides; its index is the name of a commit.

    def _status(self, folder: Path) -> str:
        head = (folder / ".git/HEAD").read_text()
        changed = [name for name, text in self.files(head).items() if _text(folder / name) != text]
        return "".join(f" M {name}\0" for name in changed)

    def _diff_tree(self, _folder: Path, old: str, new: str) -> str:
        before, after = self.files(old), self.files(new)
        return "".join(
            f":100644 100644 {_object(before[name])} {_object(after[name])} M\0{name}\0"
            for name in before
            if before[name] != after[name]
        )

    def _hash_object(self, folder: Path, name: str) -> str:
        return _object(_text(folder / name))

    def _read_tree(self, folder: Path, sha: str) -> str:
        (folder / ".git/index").write_text(sha)
        return ""

    def _checkout_index(self, folder: Path) -> str:
        files = self.files((folder / ".git/index").read_text())
        for name in filter(None, self._stdin.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(files[name])
        return ""

    def _update_index(self, _folder: Path) -> str:
        return ""

    def _cat_file(self, _folder: Path, name: str) -> str | None:
        return "" if (self._objects / name.removesuffix("^{commit}")).exists() else None

    def _clean(self, folder: Path) -> str:
        head = folder / ".git/HEAD"
        wanted = {folder / name for name in self.files(head.read_text())}
        for path in sorted(folder.rglob("*"), reverse=True):
            if ".git" in path.relative_to(folder).parts or path in wanted:
                continue
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.rmdir()
            else:
                path.unlink()
        return ""


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _object(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()
