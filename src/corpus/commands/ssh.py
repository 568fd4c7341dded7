"""ssh(1) and ssh-keygen(1): keys, and commands on another machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def make_key(path: Path) -> list[str]:
    """Return the command that makes an ed25519 key pair: ``path`` and ``path``.pub."""
    return ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]


def client(
    key: Path, known_hosts: Path, alias: str, *, accept_new: bool = False, alive: int = 10
) -> list[str]:
    """Return how ssh begins that trusts one pinned host key alone, and offers one key alone.

    ``alias`` is the host's name in ``known_hosts``, whatever its address is. With ``accept_new``
    a host that is not in there yet is written into it. A connection that is dead ends within
    three times ``alive`` seconds.
    """
    options = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey",
        f"StrictHostKeyChecking={'accept-new' if accept_new else 'yes'}",
        "UpdateHostKeys=no",
        f"UserKnownHostsFile={known_hosts}",
        "GlobalKnownHostsFile=/dev/null",
        f"HostKeyAlias={alias}",
        "HostKeyAlgorithms=ssh-ed25519",
        "ForwardAgent=no",
        "ClearAllForwardings=yes",
        "ConnectTimeout=10",
        f"ServerAliveInterval={alive}",
        "ServerAliveCountMax=2",
        "LogLevel=ERROR",
    ]
    return ["ssh", "-F", "/dev/null", "-i", str(key), *(f"-o{option}" for option in options)]


def ask(client: Sequence[str], user: str, address: str, port: int, request: str) -> list[str]:
    """Return the command that sends one request to ``user``'s forced command."""
    return [*client, "-T", "-p", str(port), "-l", user, "--", address, request]


def shared(client: Sequence[str], socket: Path) -> list[str]:
    """Return how ssh begins whose commands share one connection, kept open at ``socket``.

    It ends by itself a minute after the last of them.
    """
    options = ["ControlMaster=auto", f"ControlPath={socket}", "ControlPersist=60"]
    return [*client, *(f"-o{option}" for option in options)]


def remote(
    client: Sequence[str], user: str, address: str, port: int, argv: Sequence[str]
) -> list[str]:
    """Return the command that runs ``argv`` on another machine, word by word as given.

    sshd gives one text to the account's shell there: this is where the words are quoted for it.
    """
    return ask(client, user, address, port, shlex.join(argv))


def end(client: Sequence[str], address: str) -> list[str]:
    """Return the command that ends a shared connection."""
    return [*client, "-O", "exit", "--", address]
