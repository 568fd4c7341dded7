"""useradd(8) and groupadd(8)."""

from __future__ import annotations


def add_group(name: str, id: int | None = None) -> list[str]:
    """Return the command that makes a system group, or leaves one as it is."""
    given = [] if id is None else [f"--gid={id}"]
    return ["groupadd", "--force", "--system", *given, name]


def add(name: str, home: str, group: str, id: int | None = None) -> list[str]:
    """Return the command that makes an account that may only use git over SSH.

    It has no password ("*", not "!": sshd refuses keys of locked accounts without PAM). With an
    ``id`` its own group is there already.
    """
    own = ["--user-group"] if id is None else [f"--uid={id}", f"--gid={name}"]
    return ["useradd", "--home-dir", home, "--no-create-home", *own, "--groups", group,
            "--shell", "/usr/bin/git-shell", "--password", "*", name]  # fmt: skip


def add_application(name: str, home: str) -> list[str]:
    """Return the command that makes an account that nobody logs in to."""
    return ["useradd", "--system", "--home-dir", home, "--no-create-home", "--user-group",
            "--shell", "/usr/sbin/nologin", name]  # fmt: skip


def add_reader(name: str) -> list[str]:
    """Return the command that makes a system account for forced commands over SSH.

    sshd starts them by the account's shell, so there is one; no key is without a command.
    """
    return ["useradd", "--system", "--home-dir", "/", "--no-create-home", "--user-group",
            "--shell", "/bin/sh", "--password", "*", name]  # fmt: skip


def remove(name: str) -> list[str]:
    """Return the command that removes an account with the group of its own, and no file."""
    return ["userdel", name]


def remove_group(name: str) -> list[str]:
    """Return the command that removes a group that is nobody's first one."""
    return ["groupdel", name]
