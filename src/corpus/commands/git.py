"""git's plumbing. Nothing here reads git's English: only exit codes and object names."""

from __future__ import annotations

import re
from pathlib import Path

from corpus.model.errors import InvalidInput

ZERO = "0" * 40
DEPLOY_REFS = ("refs/heads/master", "refs/heads/main")
LOCKS = ("index.lock", "HEAD.lock")
"""What a checkout that is killed may leave in ``.git``, and no other one gets past."""
CONFIG_LOCK = "config.lock"
"""What a change of settings that is killed may leave in a repository."""
_SHA = re.compile(r"[0-9a-f]{40}", re.ASCII)
_REF = re.compile(r"refs/[A-Za-z0-9][A-Za-z0-9._/+@-]{0,200}", re.ASCII)


def sha(text: object) -> str:
    """Return ``text`` when it is a full object name; raises InvalidInput."""
    if not isinstance(text, str) or not _SHA.fullmatch(text):
        raise InvalidInput(f"not a commit: {ascii(text)[:60]}", mend="give the 40 hex digits")
    return text


def ref(text: object) -> str:
    """Return ``text`` when it is a full name of a ref; raises InvalidInput."""
    if not isinstance(text, str) or not _REF.fullmatch(text) or ".." in text:
        raise InvalidInput(f"not a ref: {ascii(text)[:60]}", mend="push to refs/heads/master")
    return text


def init_bare(path: Path, branch: str = "master") -> list[str]:
    """Return the command that makes a bare repository, or leaves one as it is."""
    return ["git", "init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}",
            str(path)]  # fmt: skip


def config(repository: Path, key: str, value: str, *, add: bool = False) -> list[str]:
    """Return the command that sets a value, or makes it one of several values."""
    only = [f"^{re.escape(value)}$"] if add else []
    return ["git", f"--git-dir={repository}", "config", "--replace-all", key, value, *only]


def settings(repository: Path) -> list[str]:
    """Return the command that prints the repository's own settings for ``parse_settings``."""
    return ["git", f"--git-dir={repository}", "config", "--local", "--null", "--list"]


def parse_settings(text: str) -> dict[str, list[str]]:
    """Return the values of each setting, in order; git writes the keys in lower case."""
    found: dict[str, list[str]] = {}
    for entry in text.split("\0"):
        key, _, value = entry.partition("\n")
        if key:
            found.setdefault(key, []).append(value)
    return found


def clone_shared(repository: Path, target: Path) -> list[str]:
    """Return the command that clones with the objects borrowed from ``repository``."""
    return ["git", "clone", "--quiet", "--shared", "--no-checkout", "--", str(repository),
            str(target)]  # fmt: skip


def borrow(repository: Path, target: Path) -> list[str]:
    """Return the command that makes a bare twin: what it fetches, ``repository`` does not get."""
    return ["git", "clone", "--quiet", "--shared", "--bare", "--", str(repository),
            str(target)]  # fmt: skip


def checkout(target: Path, commit: str) -> list[str]:
    """Return the command that puts the files of ``commit`` into the checkout ``target``."""
    return ["git", "-C", str(target), "-c", "core.hooksPath=/dev/null", "checkout",
            "--quiet", "--force", "--detach", sha(commit)]  # fmt: skip


def clean(target: Path) -> list[str]:
    """Return the command that removes what the checked-out commit does not hold."""
    return ["git", "-C", str(target), "clean", "--quiet", "-ffdx"]


# What a work tree in which somebody edits is asked: no daemon, no lock, no hook of its own.
_TREE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


def _in_tree(target: Path, *words: str) -> list[str]:
    return ["git", "--no-optional-locks", "-C", str(target), *_TREE, *words]


def status(target: Path) -> list[str]:
    """Return the command that lists the tracked files that differ from HEAD, NUL-separated."""
    return _in_tree(target, "status", "--porcelain=v1", "-z", "--untracked-files=no",
                    "--no-renames", "--ignore-submodules=none")  # fmt: skip


def parse_status(text: str) -> list[str]:
    """Return the paths that ``status`` lists, sorted."""
    return sorted(entry[3:] for entry in text.split("\0") if len(entry) > 3)


def switch(target: Path, commit: str) -> list[str]:
    """Return the command that checks ``commit`` out and fails before it overwrites an edit.

    Ignored files count as edits too.
    """
    return _in_tree(target, "checkout", "--quiet", "--detach", "--no-overwrite-ignore",
                    sha(commit))  # fmt: skip


def changes(target: Path, old: str, new: str) -> list[str]:
    """Return the command that prints how the files of two commits differ, for ``parse_changes``."""
    return _in_tree(target, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev",
                    sha(old), sha(new))  # fmt: skip


def parse_changes(text: str) -> dict[str, tuple[str, str]]:
    """Return by path what the file is in the old and in the new commit, as ``MODE OBJECT``.

    The text is empty where a commit has no such file.
    """
    fields = text.split("\0")
    found = {}
    for facts, path in zip(fields[::2], fields[1::2], strict=False):
        modes = facts.removeprefix(":").split(" ")
        sides = (f"{mode} {name}" for mode, name in zip(modes[:2], modes[2:4], strict=True))
        old, new = ("" if side.startswith("000000 ") else side for side in sides)
        found[path] = (old, new)
    return found


def object_of(target: Path, path: str, *, link: bool = False) -> list[str]:
    """Return the command that prints the object that a file would be; a link's text is given."""
    return _in_tree(target, "hash-object", *(["--stdin"] if link else ["--", path]))


def read_tree(target: Path, commit: str) -> list[str]:
    """Return the command that makes the index that of ``commit`` and touches no file."""
    return _in_tree(target, "read-tree", "--reset", sha(commit))


def set_head(target: Path, commit: str) -> list[str]:
    """Return the command that points a detached HEAD at ``commit`` and touches no file."""
    return _in_tree(target, "update-ref", "--no-deref", "HEAD", sha(commit))


def restore(target: Path) -> list[str]:
    """Return the command that writes the files whose paths it is given, NUL-separated, anew."""
    return _in_tree(target, "checkout-index", "--quiet", "--force", "-z", "--stdin")


def refresh(target: Path) -> list[str]:
    """Return the command that notes which files are unchanged; it fails when some are not."""
    return _in_tree(target, "update-index", "-q", "--refresh")


def branches_with(target: Path, commit: str) -> list[str]:
    """Return the command that prints the branches of a work tree that hold ``commit``."""
    return _in_tree(target, "for-each-ref", f"--contains={sha(commit)}", "refs/heads")


def tip(repository: Path, branch: str) -> list[str]:
    """Return the command that prints the commit of ``branch``; it fails when there is none."""
    return ["git", f"--git-dir={repository}", "rev-parse", "--quiet", "--verify",
            f"{ref(branch)}^{{commit}}"]  # fmt: skip


def head(target: Path) -> list[str]:
    """Return the command that prints the commit that is checked out in ``target``."""
    return ["git", "-C", str(target), "rev-parse", "--quiet", "--verify", "HEAD^{commit}"]


def is_ancestor(repository: Path, old: str, new: str) -> list[str]:
    """Return the command that succeeds when ``new`` descends from ``old``."""
    return ["git", f"--git-dir={repository}", "merge-base", "--is-ancestor", sha(old), sha(new)]


def update_ref(repository: Path, branch: str, new: str, old: str) -> list[str]:
    """Return the command that moves ``branch`` from ``old`` (zeros: absent) to ``new``."""
    return ["git", f"--git-dir={repository}", "update-ref", ref(branch), sha(new), sha(old)]


def describe(repository: Path, commit: str) -> list[str]:
    """Return the command that prints a commit's time (Unix seconds) and subject, a line each."""
    return ["git", f"--git-dir={repository}", "log", "-1", "--format=%ct%n%s", sha(commit)]


def fetch(repository: Path, url: str, commit: str) -> list[str]:
    """Return the command that brings a commit with its history, over SSH alone, under no name."""
    settings = ["fetch.fsckObjects=true", "protocol.allow=never", "protocol.ssh.allow=always"]
    options = [word for setting in settings for word in ("-c", setting)]
    return ["git", f"--git-dir={repository}", *options, "fetch", "--quiet", "--no-tags",
            "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
            "--refmap=", "--", url, sha(commit)]  # fmt: skip


def has(repository: Path, commit: str) -> list[str]:
    """Return the command that succeeds when the commit is there."""
    return ["git", f"--git-dir={repository}", "cat-file", "-e", f"{sha(commit)}^{{commit}}"]
