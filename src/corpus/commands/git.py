"""git's plumbing. Nothing here reads git's English: only exit codes and object names."""

from __future__ import annotations

import re
from pathlib import Path

from corpus.model.errors import InvalidInput

ZERO = "0" * 40
DEPLOY_REFS = ("refs/heads/master", "refs/heads/main")
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


def clone_shared(repository: Path, target: Path) -> list[str]:
    """Return the command that clones with the objects borrowed from ``repository``."""
    return ["git", "clone", "--quiet", "--shared", "--no-checkout", "--", str(repository),
            str(target)]  # fmt: skip


def checkout(target: Path, commit: str) -> list[str]:
    """Return the command that puts the files of ``commit`` into the checkout ``target``."""
    return ["git", "-C", str(target), "-c", "core.hooksPath=/dev/null", "checkout",
            "--quiet", "--force", "--detach", sha(commit)]  # fmt: skip


def clean(target: Path) -> list[str]:
    """Return the command that removes what the checked-out commit does not hold."""
    return ["git", "-C", str(target), "clean", "--quiet", "-ffdx"]


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
