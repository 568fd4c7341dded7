"""A machine that is reached over SSH; all commands go through one connection."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from corpus.commands import lxc, ssh
from corpus.hosts import pipeline
from corpus.hosts.base import Command, Host, Result
from corpus.model.errors import CommandFailed, NotFound

_LOST = 255  # ssh's own code: no connection, or it broke
_ENVIRONMENT = {name: lxc.CLEAN_ENV[name] for name in ("PATH", "LANG")}
_GRACE = 15  # seconds that the other side has to end what ran past its time


class SSH(Host):
    """Run commands as ``user`` of the machine at ``address``, through ``outer``.

    ``client`` is how ssh begins (``commands.ssh``). Commands find programs where root does, and
    speak plain English.
    """

    def __init__(
        self, client: Sequence[str], user: str, address: str, port: int, outer: Host
    ) -> None:
        self.name = address
        self._client = client
        self._to = (user, address, port)
        self._outer = outer

    def execute(self, command: Command) -> Result:
        """Run it there; past its time it is ended there too, not only here."""
        env = {**_ENVIRONMENT, **command.env}
        argv = lxc.inside(command.argv, env=env, cwd=command.cwd, user=command.user)
        here = None
        if command.timeout is not None:
            argv = ["timeout", "--kill-after=5", f"{command.timeout:g}", *argv]
            here = command.timeout + _GRACE
        try:
            done = self._outer.run(
                self._there(argv), stdin=command.stdin, timeout=here, check=False, most=command.most
            )
        except CommandFailed as error:
            raise CommandFailed(command.argv, error.code, error.output) from None
        if done.code == _LOST:
            raise self._lost(command.argv, done.err)
        if command.timeout is not None and done.code in (124, 137):  # timeout(1)
            raise CommandFailed(command.argv, None, done.out + done.err)
        return Result(command.argv, done.code, done.out, done.err)

    def put(self, path: PurePath, data: bytes, mode: int = 0o644) -> None:
        """Write a file there; one beside it, never readable by more, takes its place once whole."""
        partial = path.with_name(f".{path.name}.partial")
        self.run(["install", "-D", f"--mode={mode:o}", "/dev/null", str(partial)])
        # dd, not install: what sshd gives as standard input may be a socket, which none can open.
        self.run(["dd", "status=none", f"of={partial}"], stdin=data)
        self.run(["mv", "-fT", "--", str(partial), str(path)])

    def get(self, path: PurePath) -> bytes:
        """Read a file there, of any bytes."""
        result = self.run(["base64", "--wrap=0", "--", str(path)], check=False)
        if result.code != 0:
            raise NotFound(f"no such file on {self.name}: {path}")
        return base64.b64decode(result.out)

    def send(self, source: Path, path: PurePath, *, timeout: float) -> None:
        """Write a large file of this machine there, in pieces as it is read. Not atomic.

        Raises CommandFailed.
        """
        command = self._there(["dd", "status=none", "bs=1M", f"of={path}"])
        handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with pipeline.output_of([command], handle, timeout=timeout) as output:
                output.read()
        except CommandFailed as error:
            raise self._lost(["dd", f"of={path}"], error.output, error.code) from None
        finally:
            os.close(handle)

    def _there(self, argv: Sequence[str]) -> list[str]:
        return ssh.remote(self._client, *self._to, argv)

    def _lost(self, argv: Sequence[str], said: str, code: int | None = _LOST) -> CommandFailed:
        user, address, port = self._to
        return CommandFailed(
            argv[:3], code, said, f"see whether {user}@{address}, port {port}, is reached; then "
            "run it again: it goes on",
        )  # fmt: skip


@contextmanager
def connected(
    key: Path, host_key: str | None, user: str, address: str, port: int, outer: Host
) -> Iterator[tuple[SSH, Path]]:
    """Give a machine whose host key is pinned, and the file of known hosts; close it at the end.

    With no ``host_key`` any is accepted: it is in that file then, after the first command. A
    connection is shared within the block alone, so that none outlives what it was trusted for.
    """
    with tempfile.TemporaryDirectory(prefix="corpus-ssh-") as folder:
        known, alias = Path(folder) / "known_hosts", "machine"
        known.write_text(f"{alias} {host_key}\n" if host_key else "")
        client = ssh.shared(
            ssh.client(key, known, alias, accept_new=host_key is None), Path(folder) / "socket"
        )
        try:
            yield SSH(client, user, address, port, outer), known
        finally:
            with suppress(CommandFailed):
                outer.run(ssh.end(client, address), check=False, timeout=10)
