"""System calls that no guest has a use for, or a good one (seccomp(2), lxc.container.conf(5))."""

from __future__ import annotations

from pathlib import Path

from corpus.hosts.files import write_atomic
from corpus.node.settings import Settings

# In its second form the request to make a subvolume names the quota groups that account it, and
# the kernel lets anybody name none: what is written there counts against no size. The first
# form inherits them. The kernel reads 32 bits of a request, hence the mask.
_SUBVOLUME_REQUESTS = {"SNAP_CREATE_V2": 0x50009417, "SUBVOL_CREATE_V2": 0x50009418}
_CALLS = (
    "kexec_load",
    "kexec_file_load",
    "open_by_handle_at",
    "init_module",
    "finit_module",
    "delete_module",
    "syslog",
)


def path(settings: Settings) -> Path:
    """Return the profile that all guests run with."""
    return settings.lxcpath / "seccomp"


def profile() -> str:
    """Return its text; what is in it ends with EPERM."""
    requests = [
        f"ioctl errno 1 [1,{request:#x},SCMP_CMP_MASKED_EQ,0xffffffff]"
        for request in _SUBVOLUME_REQUESTS.values()
    ]
    calls = [f"{call} errno 1" for call in _CALLS]
    return "\n".join(["2", "denylist", "reject_force_umount", "[all]", *calls, *requests]) + "\n"


def write(settings: Settings) -> None:
    """Have the profile."""
    write_atomic(path(settings), profile().encode())
