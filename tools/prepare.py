"""Install the Debian packages that a machine needs for the lab, the image and the tests.

Run by `make prepare` with Debian's own Python. Where all are there it takes a moment and asks
no package source.
"""

from __future__ import annotations

import os
import sys

from corpus.hosts.local import Local
from corpus.model.errors import CorpusError

PACKAGES = {
    "git": "projects are pushed with it",
    "openssh-client": "the way to an environment",
    "rsync": "copies where there is no cheaper way",
    "zstd": "compresses images and releases",
    "btrfs-progs": "makes the pool of environments",
    "e2fsprogs": "makes a pool without snapshots",
    "mmdebstrap": "makes the base of the image",
    "lxc": "runs the lab's machines",
    "uidmap": "the ids of unprivileged containers",
    "nftables": "the lab's network",
    "iproute2": "the lab's network",
    "curl": "asks what was deployed",
    "ca-certificates": "trusts what the package sources present",
    "python3-venv": "makes virtual environments",
}


def missing() -> list[str]:
    """Return the packages that are not installed."""
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n"]
    shown = Local().run([*query, *PACKAGES], check=False).out
    return sorted(
        set(PACKAGES)
        - {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    )


def main() -> int:
    """Install what is missing; return the exit code."""
    wanted = missing()
    if not wanted:
        print("host: all packages are there")
        return 0
    for name in wanted:
        print(f"host: installing {name}: {PACKAGES[name]}", flush=True)
    if os.geteuid() != 0:
        print(f"run as root: apt-get install {' '.join(wanted)}", file=sys.stderr)
        return 1
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=120"]
    try:
        Local().run([*apt, "update"], env=quiet)
        Local().run([*apt, "install", "--no-install-recommends", *wanted], env=quiet)
    except CorpusError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
