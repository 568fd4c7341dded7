"""The machine that this process runs on."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

from corpus.hosts.base import Host, Result
from corpus.hosts.files import write_atomic
from corpus.hosts.processes import kill_descendants
from corpus.model.errors import CommandFailed, NotFound


class Local(Host):
    """Run commands here."""

    name = "local"

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None,
        env: Mapping[str, str],
        cwd: PurePath | None,
        timeout: float | None,
        user: str | None,
    ) -> Result:
        """Run ``argv`` as this process's account, or as ``user`` with its own groups."""
        environment = {**os.environ, **env}
        identity: dict[str, object] = {}
        if user is not None:
            identity, names = _identity(user)
            environment |= names
        try:
            process = subprocess.Popen(  # type: ignore[call-overload]
                list(argv),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=str(cwd) if cwd else None,
                **identity,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CommandFailed(argv, 127, str(error)) from None
        except PermissionError as error:
            raise CommandFailed(argv, 126, str(error)) from None
        code, out, err = _finish(process, stdin, timeout)
        if code is None:
            raise CommandFailed(argv, None, out + err)
        return Result(tuple(argv), code, out, err)

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


def _identity(user: str) -> tuple[dict[str, object], dict[str, str]]:
    """Return what Popen and the environment need to become ``user``. Raises NotFound."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise NotFound(f"no account {user!r} on this machine") from None
    groups = os.getgrouplist(user, account.pw_gid)
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    return identity, {"HOME": account.pw_dir, "USER": user, "LOGNAME": user}


def _finish(
    process: subprocess.Popen[bytes], stdin: bytes | None, timeout: float | None
) -> tuple[int | None, str, str]:
    """Return code, output and errors of the process; past its time the code is None."""
    expired = False
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        expired = True
        _kill(process)
        out, err = process.communicate()
    except BaseException:
        _kill(process)
        process.wait()
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    code = None if expired else process.returncode
    return code, out.decode(errors="replace"), err.decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process with all that it has started: a compiler that pip runs, a shell's child."""
    kill_descendants(process.pid, patience=1.0)
    process.kill()
