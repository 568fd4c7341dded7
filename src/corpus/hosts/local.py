"""The machine that this process runs on."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

from corpus.hosts.base import Host, Result
from corpus.hosts.files import write_atomic
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
            account = pwd.getpwnam(user)
            environment |= {"HOME": account.pw_dir, "USER": user, "LOGNAME": user}
            identity = {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": os.getgrouplist(user, account.pw_gid),
            }
        try:
            done = subprocess.run(  # type: ignore[call-overload]
                list(argv),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                env=environment,
                cwd=str(cwd) if cwd else None,
                timeout=timeout,
                check=False,
                **identity,
            )
        except FileNotFoundError as error:
            raise CommandFailed(argv, 127, str(error)) from None
        except subprocess.TimeoutExpired as error:
            output = ((error.stdout or b"") + (error.stderr or b"")).decode(errors="replace")
            raise CommandFailed(argv, None, output) from None
        return Result(
            tuple(argv),
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )

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
