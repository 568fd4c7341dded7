"""A person's shell in an environment, at a terminal. The node's journal says who, and when."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

from corpus.commands import journal, lxc
from corpus.hosts.local import interactive
from corpus.model.errors import InvalidInput
from corpus.node.context import Node
from corpus.node.environments import lifecycle

TAG = "corpus-console"
_ACCOUNT = 32  # characters of a Unix account's name at the most


def attach(node: Node, id: str, user: str = "root") -> int:
    """Give this process's terminal to a login shell of ``user``; return the shell's code.

    Raises NotFound, Conflict when the environment does not run, InvalidInput.
    """
    if not user or len(user) > _ACCOUNT or user.startswith("-") or not user.isprintable():
        raise InvalidInput(f"not an account: {ascii(user)[:60]}")
    record = lifecycle.runs(node, node.records.resolve(id))
    lifecycle.check_awake(node, record)
    who = f"{caller()} as {user} in {record.name} ({record.id})"
    node.host.run(journal.note(TAG, f"opened by {who}"))
    begun = time.monotonic()
    code = -1
    try:
        shell = ["su", "--login", user]
        code = interactive(lxc.attach(node.settings.lxcpath, record.id, shell))
    finally:
        seconds = round(time.monotonic() - begun)
        node.host.run(journal.note(TAG, f"closed by {who} after {seconds} s with {code}"))
    return code


def caller(proc: Path = Path("/proc/self")) -> str:
    """Return who logged in to the node, where the kernel knows, else whose process this is."""
    ids = [os.getuid()]
    try:
        login = int((proc / "loginuid").read_text())
        if login != 2**32 - 1:  # nobody has logged in
            ids.insert(0, login)
    except (OSError, ValueError):
        pass
    try:
        return pwd.getpwuid(ids[0]).pw_name
    except KeyError:
        return str(ids[0])
