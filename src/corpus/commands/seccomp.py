"""The system calls that no guest may make, as a profile of LXC's (its file CONFIGURATION says how).

What is refused to start with is what LXC refuses by itself: modules, kexec, opening files by
handle. Here besides: the kernel's log, and the two calls of btrfs that let their caller say which
quota groups a new subvolume belongs to (BTRFS_IOC_SNAP_CREATE_V2, SUBVOL_CREATE_V2 in
include/uapi/linux/btrfs.h).
The kernel asks for no privilege there: naming none makes a subvolume that nothing limits. By the
older calls of the same name (``corpus.hosts.subvolumes``) the groups of its place are inherited.
"""

from __future__ import annotations

_REFUSED = ("kexec_load", "open_by_handle_at", "init_module", "finit_module", "delete_module",
            "kexec_file_load", "syslog")  # fmt: skip
_SNAP_CREATE_V2, _SUBVOL_CREATE_V2 = 0x50009417, 0x50009418
_EPERM, _ENOTTY = 1, 25


def profile() -> str:
    """Return the profile. The kernel reads 32 bits of an ioctl's number: so does this."""
    lines = ["2", "denylist", "reject_force_umount", "[all]"]
    lines += [f"{call} errno {_EPERM}" for call in _REFUSED]
    lines += [
        f"ioctl errno {_ENOTTY} [1,{number:#x},SCMP_CMP_MASKED_EQ,0xffffffff]"
        for number in (_SNAP_CREATE_V2, _SUBVOL_CREATE_V2)
    ]
    return "\n".join(lines) + "\n"
