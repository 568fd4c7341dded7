"""LXC's commands, each with ``--lxcpath`` so that foreign containers are never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

CLEAN_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


def attach(lxcpath: PurePath, name: str, argv: Sequence[str]) -> list[str]:
    """Return the command that runs ``argv`` in a running container."""
    return [
        "lxc-attach",
        f"--lxcpath={lxcpath}",
        f"--name={name}",
        "--clear-env",
        *(f"--set-var={key}={value}" for key, value in CLEAN_ENV.items()),
        "--",
        *argv,
    ]


def inside(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: PurePath | None = None,
    user: str | None = None,
) -> list[str]:
    """Return ``argv`` wrapped so that it runs with ``env``, in ``cwd``, as ``user``."""
    command = list(argv)
    if env or cwd:
        place = [f"--chdir={cwd}"] if cwd else []
        command = ["env", *place, *(f"{k}={v}" for k, v in (env or {}).items()), *command]
    if user:
        command = [
            "setpriv",
            f"--reuid={user}",
            f"--regid={user}",
            "--init-groups",
            "--reset-env",
            *command,
        ]
    return command


def start(lxcpath: PurePath, name: str, log: PurePath) -> list[str]:
    """Return the command that starts a container; the reason of a failure is in ``log``."""
    return [
        "lxc-start",
        f"--lxcpath={lxcpath}",
        f"--name={name}",
        "--logpriority=INFO",
        f"--logfile={log}",
    ]


def unlimited(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` run without the limits that all guests would share.

    The kernel counts these for the user namespaces of one owner together, against what their
    makers had (user_namespaces(7)): one guest could use up what all others have. Each guest's
    memory, which they are, is its limit then. Needs CAP_SYS_RESOURCE.
    """
    limits = ("memlock", "msgqueue", "nproc", "sigpending")
    return ["prlimit", *(f"--{limit}=unlimited" for limit in limits), *argv]


def stop(lxcpath: PurePath, name: str, *, timeout: int = 20, kill: bool = False) -> list[str]:
    """Return the command that stops a container cleanly within ``timeout`` seconds, or at once."""
    how = ["--kill"] if kill else [f"--timeout={timeout}"]
    return ["lxc-stop", f"--lxcpath={lxcpath}", f"--name={name}", *how]


def freeze(lxcpath: PurePath, name: str) -> list[str]:
    """Return the command that halts every process of a running container where it is."""
    return ["lxc-freeze", f"--lxcpath={lxcpath}", f"--name={name}"]


def thaw(lxcpath: PurePath, name: str) -> list[str]:
    """Return the command that lets a frozen container go on."""
    return ["lxc-unfreeze", f"--lxcpath={lxcpath}", f"--name={name}"]


def info(lxcpath: PurePath, name: str) -> list[str]:
    """Return the command that prints a container's state and first process."""
    return ["lxc-info", f"--lxcpath={lxcpath}", f"--name={name}", "--state", "--pid"]


def parse_info(text: str) -> tuple[str, int | None]:
    """Return the state (``RUNNING``, ``STOPPED`` …) and the pid of the container's init."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    pid = fields.get("PID", "").strip()
    return fields.get("State", "STOPPED").strip(), int(pid) if pid.isdigit() else None


def cgroup(lxcpath: PurePath, name: str, key: str, value: str | None = None) -> list[str]:
    """Return the command that sets a control group value of a running container, or prints it.

    It does not translate names between the versions of control groups.
    """
    words = [key] if value is None else [key, value]
    return ["lxc-cgroup", f"--lxcpath={lxcpath}", f"--name={name}", "--", *words]


def parse_reasons(log: str) -> list[str]:
    """Return why a start failed, from its log: the errors, without what only repeats them."""
    lines = [line for line in log.splitlines() if " ERROR " in line]
    told = [line.split(" - ", 1)[-1].partition(" - ")[2] for line in lines]
    useful = [text for text, line in zip(told, lines, strict=True) if "lxc_start" not in line]
    return list(dict.fromkeys(text for text in useful if text))
