"""The forced command of paired environments: it knows three requests and one project."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from corpus.project import serve
from projects import BRANCH, Scratch, git, ids

OLD, NEW = ids(2)


def ask(root: Path, request: str | None) -> subprocess.CompletedProcess[bytes]:
    """Ask as sshd would, with nothing in the environment but what it sets."""
    environment = {"PATH": "/nowhere", "PYTHONPATH": str(root)}
    if request is not None:
        environment["SSH_ORIGINAL_COMMAND"] = request
    command = ["/usr/bin/python3", "-IS", str(Path(serve.__file__)), str(root)]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


def offer(root: Path) -> Path:
    """Make a project's directory with two releases, as plain files."""
    (root / "releases").mkdir(parents=True)
    for identity in (OLD, NEW):
        stem = root / "releases" / f"demo-{identity}"
        Path(f"{stem}.manifest.json").write_text(f"manifest {identity}\n")
        Path(f"{stem}.manifest.json.sig").write_text(f"signature {identity}\n")
        Path(f"{stem}.tar.zst").write_bytes(bytes(range(256)) * 5000)
        Path(f"{stem}.docs.tar.zst").write_bytes(b"docs")
    return root


@pytest.fixture
def offered(tmp_path: Path) -> Path:
    return offer(tmp_path / "projects/demo")


def test_what_is_listed_is_signed_and_the_newest_first(offered: Path) -> None:
    done = ask(offered, "list")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [
        {"manifest": f"manifest {id}\n", "signature": f"signature {id}\n"} for id in (NEW, OLD)
    ]


def test_what_is_not_listed(offered: Path) -> None:
    releases = offered / "releases"
    (releases / f"demo-{OLD}.manifest.json.sig").unlink()
    secret = offered.parent / "secret"
    secret.write_text("secret")
    manifest = releases / f"demo-{NEW}.manifest.json"
    manifest.unlink()
    manifest.symlink_to(secret)
    assert ask(offered, "list").stdout == b""
    manifest.unlink()
    manifest.write_text("x" * (serve.TEXT + 1))
    assert ask(offered, "list").stdout == b""
    manifest.unlink()
    os.mkfifo(manifest)
    assert ask(offered, "list").stdout == b""


def test_files_from_an_offset(offered: Path) -> None:
    whole = bytes(range(256)) * 5000
    assert ask(offered, f"get demo-{NEW}.tar.zst").stdout == whole
    assert ask(offered, f"get demo-{NEW}.tar.zst 1000000").stdout == whole[1000000:]
    assert ask(offered, f"get demo-{NEW}.tar.zst 99999999").stdout == b""
    assert ask(offered, f"get demo-{NEW}.docs.tar.zst 1").stdout == b"ocs"
    assert ask(offered, f"get demo-{NEW}.manifest.json.sig").stdout == f"signature {NEW}\n".encode()


HOSTILE = [
    None,
    "",
    "sh",
    "bash -i",
    "list; sh",
    "list\nsh",
    "list ",
    "LIST",
    "get",
    "get ../../other/releases/other-{id}.tar.zst",
    "get /etc/passwd",
    "get demo-{id}.tar.zst; id",
    "get demo-{id}.tar.zst\n",
    "get 'demo-{id}.tar.zst'",
    "get demo-{id}.tar.zst -1",
    "get demo-{id}.tar.zst 1e9",
    "get demo-{id}.tar.zst ١",
    "get demo-{id}.tar.zst 1 2",
    "get demo-{id}.tar.zst 9999999999999999",
    "get demo-{id}./../x.tar.zst",
    "get demo-{id}.a/b.tar.zst",
    "get .demo-{id}.tar.zst.partial",
    "get demo-{id}",
    "get other-{id}.tar.zst",
    "get other-{id}.manifest.json",
    "put demo-{id}.tar.zst",
    "git-receive-pack '/srv/projects/demo/git/project.git'",
    "git receive-pack x",
    "git-upload-archive x",
    "git-shell",
    "scp -f /etc/passwd",
    "/usr/lib/openssh/sftp-server",
    "internal-sftp",
    "rsync --server",
    "$(id)",
    "`id`",
    "get " + "x" * 100_000,
]


@pytest.mark.parametrize("request_", HOSTILE, ids=lambda text: ascii(text)[:40])
def test_all_else_is_refused(offered: Path, request_: str | None) -> None:
    other = offered.parent / "other/releases"
    other.mkdir(parents=True)
    (other / f"other-{NEW}.tar.zst").write_text("of another project")
    (offered / "releases" / f"other-{NEW}.tar.zst").write_text("of another project")
    asked = None if request_ is None else request_.replace("{id}", str(NEW))
    done = ask(offered, asked)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"refused: ")
    assert len(done.stderr) < 200


def test_a_file_is_served_through_no_link(offered: Path) -> None:
    secret = offered.parent / "secret"
    secret.write_text("secret")
    (offered / "releases" / f"demo-{NEW}.x.tar.zst").symlink_to(secret)
    (offered / "releases" / f"demo-{NEW}.y.tar.zst").mkdir()
    for part in ("x", "y", "z"):
        done = ask(offered, f"get demo-{NEW}.{part}.tar.zst")
        assert (done.returncode, done.stdout) == (1, b"")


def client(scratch: Scratch) -> Path:
    """Return a program that git takes for ssh: it asks the forced command."""
    path = scratch.folder / "ssh"
    command = f"exec /usr/bin/python3 -IS {Path(serve.__file__)} {scratch.paths.root}"
    # git gives host and command last; options come before.
    text = f'#!/bin/sh\nfor word; do last=$word; done\nSSH_ORIGINAL_COMMAND="$last" {command}\n'
    path.write_text(text)
    path.chmod(0o755)
    return path


def with_git(scratch: Scratch, *words: str) -> subprocess.CompletedProcess[str]:
    where = scratch.folder / "clone"
    if not where.exists():
        git("init", "--quiet", where)
    program = ["-c", f"core.sshCommand={client(scratch)}", "-c", "ssh.variant=ssh"]
    return git("-C", where, *program, *words, check=False)


def test_commits_are_fetched_whatever_path_is_asked(scratch: Scratch) -> None:
    first = scratch.commit({"a": "1"})
    tip = scratch.commit({"a": "2"})
    for path in ("demo", "../../etc", "/srv/projects/other/git/project.git"):
        done = with_git(scratch, "fetch", "--quiet", f"ssh://x@example/{path}", first)
        assert done.returncode == 0, done.stderr
    assert git("-C", scratch.folder / "clone", "cat-file", "-e", first).returncode == 0
    assert tip not in with_git(scratch, "rev-list", "--all").stdout


def test_nothing_is_pushed(scratch: Scratch) -> None:
    commit = scratch.commit({"a": "1"})
    with_git(scratch, "fetch", "--quiet", "ssh://x@example/demo", commit)
    done = with_git(scratch, "push", "ssh://x@example/demo", f"{commit}:{BRANCH}")
    assert done.returncode != 0
    assert "refused: " in done.stderr
