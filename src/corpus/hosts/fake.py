"""A host that records what it is asked and fails where a test says so, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

from corpus.hosts.base import Command, Host, Result
from corpus.model.errors import NotFound


class Fake(Host):
    """Answer every command with success; keep files in memory.

    ``prepare_failure("mkfs", code=1, err="no space")`` makes the next command whose first
    word or any argument is ``mkfs`` fail; ``answer("git rev-parse", out="…")`` sets what a
    command that begins with these words prints.
    """

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.calls: list[Command] = []
        self.files: dict[str, bytes] = {}
        self.modes: dict[str, int] = {}
        self._failures: dict[str, Result] = {}
        self._answers: dict[tuple[str, ...], str | Callable[[Sequence[str]], str]] = {}

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """The argument vectors of all calls, oldest first."""
        return [call.argv for call in self.calls]

    def prepare_failure(self, word: str, *, code: int = 1, err: str = "") -> None:
        """Make the next command that has ``word`` among its arguments fail."""
        self._failures[word] = Result((), code, "", err)

    def answer(self, words: str, out: str | Callable[[Sequence[str]], str]) -> None:
        """Set the output of every command that begins with ``words``."""
        self._answers[tuple(words.split())] = out

    def execute(self, command: Command) -> Result:
        """Record the command; fail or answer as prepared."""
        argv = command.argv
        self.calls.append(command)
        for word in argv:
            if word in self._failures:
                failure = self._failures.pop(word)
                return Result(argv, failure.code, failure.out, failure.err)
        for words, out in self._answers.items():
            if argv[: len(words)] == words:
                return Result(argv, 0, out if isinstance(out, str) else out(argv))
        return Result(argv, 0)

    def put(self, path: PurePath, data: bytes, mode: int = 0o644) -> None:
        """Keep the file in memory."""
        self.files[str(path)] = data
        self.modes[str(path)] = mode

    def get(self, path: PurePath) -> bytes:
        """Return a file that was put."""
        try:
            return self.files[str(path)]
        except KeyError:
            raise NotFound(f"no such file: {path}") from None
