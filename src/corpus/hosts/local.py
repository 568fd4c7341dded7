"""The machine that this process runs on."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from corpus.hosts.base import Command, Host, Result
from corpus.hosts.files import write_atomic
from corpus.hosts.processes import kill_descendants
from corpus.hosts.talking import Talk, TooMuch
from corpus.model.errors import CommandFailed, NotFound

_LINGER = 1.0  # seconds to read what a process that was killed had printed


class Local(Host):
    """Run commands here."""

    name = "local"

    def execute(self, command: Command) -> Result:
        """Run it as this process's account, or as the command's user with its own groups."""
        environment = {**os.environ, **command.env}
        become: list[str] = []
        if command.user is not None:
            become, names = identity(command.user)
            environment |= names
        try:
            process = subprocess.Popen(
                [*become, *command.argv],
                stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=str(command.cwd) if command.cwd else None,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CommandFailed(command.argv, 127, str(error)) from None
        except PermissionError as error:
            raise CommandFailed(command.argv, 126, str(error)) from None
        return _finish(process, command)

    def stream(
        self,
        argv: Sequence[str],
        tell: Callable[[str], None],
        *,
        env: Mapping[str, str] | None = None,
        cwd: PurePath | None = None,
    ) -> int:
        """Run ``argv``, give each line that it prints to ``tell`` at once, return its code."""
        with subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=str(cwd) if cwd else None,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None  # noqa: S101  asked for above
            for line in process.stdout:
                tell(line.rstrip("\n"))
        return process.returncode

    def put(self, path: PurePath, data: bytes, mode: int = 0o644) -> None:
        """Write a file of this machine."""
        write_atomic(Path(path), data, mode)

    def get(self, path: PurePath) -> bytes:
        """Read a file of this machine."""
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"no such file: {path}") from None


def interactive(argv: Sequence[str]) -> int:
    """Run ``argv`` at this process's own terminal; return its code. Raises CommandFailed."""
    try:
        return subprocess.call(list(argv))
    except OSError as error:
        raise CommandFailed(argv, 127, str(error)) from None


def identity(user: str) -> tuple[list[str], dict[str, str]]:
    """Return what a command begins with to run as ``user``, and the names for its environment.

    By setpriv(1): Popen's own ``user`` forks the whole of this process, where it else uses
    vfork(2), and that takes a service with Salt in it 10 ms each time. Raises NotFound.
    """
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise NotFound(f"no account {user!r} on this machine") from None
    groups = ",".join(str(group) for group in os.getgrouplist(user, account.pw_gid))
    become = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}",
              f"--groups={groups}", "--"]  # fmt: skip
    return become, {"HOME": account.pw_dir, "USER": user, "LOGNAME": user}


def _finish(process: subprocess.Popen[bytes], command: Command) -> Result:
    """Return what a process that was started has to say. Raises CommandFailed."""
    talk = Talk(process, command.stdin, command.most)
    try:
        talk.hold(command.timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        # Something that it started, and that is nobody's child here, may hold its output open for
        # ever: a process of a guest.
        with suppress(subprocess.TimeoutExpired, TooMuch):
            talk.hold(_LINGER)
        raise CommandFailed(command.argv, None, talk.out + talk.err) from None
    except TooMuch:
        _kill(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LINGER)
        said = f"it printed more than {command.most} bytes, and was ended"
        raise CommandFailed(command.argv, -signal.SIGKILL, f"{talk.last}\n{said}") from None
    except BaseException:
        _kill(process)
        process.wait()
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return Result(command.argv, process.returncode, talk.out, talk.err)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process with all that it has started: a compiler that pip runs, a shell's child."""
    kill_descendants(process.pid, patience=1.0)
    process.kill()
