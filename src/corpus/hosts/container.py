"""A running LXC container, reached from the machine that hosts it."""

from __future__ import annotations

from pathlib import PurePath

from corpus.commands import lxc
from corpus.hosts.base import Command, Host, Result
from corpus.model.errors import NotFound


class Container(Host):
    """Run commands inside a container with lxc-attach(1), through ``outer``."""

    def __init__(self, name: str, outer: Host, lxcpath: PurePath) -> None:
        self.name = name
        self._outer = outer
        self._lxcpath = lxcpath

    def execute(self, command: Command) -> Result:
        """Run it inside, with a clean environment and, for another user, setpriv(1)."""
        inner = lxc.inside(command.argv, env=command.env, cwd=command.cwd, user=command.user)
        return self._outer.run(
            lxc.attach(self._lxcpath, self.name, inner),
            stdin=command.stdin,
            timeout=command.timeout,
            check=False,
            most=command.most,
        )

    def put(self, path: PurePath, data: bytes, mode: int = 0o644) -> None:
        """Write a file inside; a temporary one beside it takes its place once it is whole."""
        partial = path.with_name(f".{path.name}.partial")
        self.run(["mkdir", "-p", str(path.parent)])
        # dd, not install alone: an unprivileged guest may not open /dev/stdin, a pipe of others.
        self.run(["install", "-m", f"{mode:o}", "/dev/null", str(partial)])
        self.run(["dd", "status=none", f"of={partial}"], stdin=data)
        self.run(["mv", "-f", str(partial), str(path)])

    def get(self, path: PurePath) -> bytes:
        """Read a file inside."""
        result = self.run(["cat", "--", str(path)], check=False)
        if result.code != 0:
            raise NotFound(f"no such file in {self.name}: {path}")
        return result.out.encode()
