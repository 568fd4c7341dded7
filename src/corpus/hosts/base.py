"""What every host offers: run a command, put and get a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from corpus.model.errors import CommandFailed

MOST = 64 << 20
"""Bytes that a command may print, where nobody says otherwise."""


@dataclass(frozen=True)
class Command:
    """What is to be run; see ``Host.run`` for what each part means."""

    argv: tuple[str, ...]
    stdin: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: PurePath | None = None
    timeout: float | None = None
    user: str | None = None
    most: int = MOST


@dataclass(frozen=True)
class Result:
    """One finished command. ``code`` is negative when a signal ended it."""

    argv: tuple[str, ...]
    code: int
    out: str = ""
    err: str = ""


class Host(ABC):
    """A machine that commands run on."""

    name: str

    @abstractmethod
    def execute(self, command: Command) -> Result:
        """Run one command to its end. Raises CommandFailed with code None past ``timeout``.

        Past ``most`` it is ended too, and its code is that of the signal.
        """

    @abstractmethod
    def put(self, path: PurePath, data: bytes, mode: int = 0o644) -> None:
        """Write ``data`` to ``path`` atomically, with the permissions ``mode``."""

    @abstractmethod
    def get(self, path: PurePath) -> bytes:
        """Return the content of the file at ``path``. Raises NotFound."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: PurePath | None = None,
        timeout: float | None = None,
        user: str | None = None,
        check: bool = True,
        most: int = MOST,
    ) -> Result:
        """Run ``argv`` (never through a shell) and return its result.

        ``env`` is added to the inherited environment; ``timeout`` is in seconds; ``user``
        is an account of that host; ``most`` is in bytes, of output and errors together.
        Raises CommandFailed when ``check`` and it ended non-zero, and always when it ran
        past its time or printed more.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        result = self.execute(Command(tuple(argv), data, env or {}, cwd, timeout, user, most))
        if check and result.code != 0:
            raise CommandFailed(result.argv, result.code, f"{result.out}\n{result.err}")
        return result
