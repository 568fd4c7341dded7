"""What the kernel has once for all environments, so that one cannot use up what the others need."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePath

from corpus.commands import ip
from corpus.model.errors import CorpusError
from corpus.node.context import Node

_PLENTY = 1 << 24
_FAMILIES = ("ipv4", "ipv6")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
# Counted for all environments together, since root makes their user namespaces
# (user_namespaces(7)) or since there is one count: Debian's 128 instances of inotify are those of
# thirty idle environments, or of one that wants them all. What is counted is the memory of who
# has it, and that has a limit of its own: these need none that is ever reached.
ENOUGH = {
    "fs/inotify/max_user_instances": _PLENTY,
    "fs/inotify/max_user_watches": _PLENTY,
    "fs/fanotify/max_user_groups": _PLENTY,
    "fs/fanotify/max_user_marks": _PLENTY,
    **{f"user/max_{kind}_namespaces": _PLENTY for kind in _NAMESPACES},
    "fs/aio-max-nr": _PLENTY,
    "fs/file-max": 1 << 30,
    "kernel/pid_max": 1 << 22,  # the most that there can be
    "kernel/threads-max": 1 << 22,
    "kernel/pty/max": 1 << 20,  # likewise
    "net/ipv4/tcp_max_orphans": 1 << 20,
    # Of neighbours that nobody has ever seen, too; those that are known have entries for good
    # (bridge.py), since this table is the kernel's own memory and cannot be as long as any.
    **{f"net/{family}/neigh/default/gc_thresh2": 1 << 14 for family in _FAMILIES},
    **{f"net/{family}/neigh/default/gc_thresh3": 1 << 16 for family in _FAMILIES},
}


def raise_limits(node: Node) -> None:
    """Raise what is lower than enough; what the kernel does not have, or not let, stays."""
    lower = {}
    for key, enough in ENOUGH.items():
        with suppress(CorpusError, ValueError):
            if int(node.host.get(PurePath("/proc/sys", key))) < enough:
                lower[key] = enough
    if lower:
        node.host.run(ip.sysctl(lower), check=False)
