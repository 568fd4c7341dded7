"""Where the files of one lab lie, and what its parts outside of files are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpus.model.names import lab_name

TABLES = "corpus-lab-"  # how the name of every lab's nftables table begins


@dataclass(frozen=True)
class LabPaths:
    """The files and names of lab ``name`` under ``base``."""

    name: str
    base: Path

    def __post_init__(self) -> None:
        lab_name(self.name)

    @property
    def root(self) -> Path:
        """The lab's own directory: all of it goes with the lab."""
        return self.base / self.name

    @property
    def lock(self) -> Path:
        """The lock file; beside the directory, so that it outlives its removal."""
        return self.base / f"{self.name}.lock"

    @property
    def record(self) -> Path:
        """The settings that the lab was made with, and what it changed on the host."""
        return self.root / "lab.json"

    @property
    def image(self) -> Path:
        """The sparse file that holds the pool's filesystem."""
        return self.root / "pool.img"

    @property
    def pool(self) -> Path:
        """Where the pool is mounted on the host."""
        return self.root / "pool"

    @property
    def store(self) -> Path:
        """Images unpacked in the pool, which the node's root is a snapshot of."""
        return self.pool / "images"

    @property
    def rootfs(self) -> Path:
        """The node's root; replaced when the image changes."""
        return self.pool / "root"

    @property
    def rootfs_new(self) -> Path:
        """A root being made, or the one that was replaced."""
        return self.pool / "root.new"

    @property
    def state(self) -> Path:
        """What of the node outlives its root: mounted at /var/lib/corpus and /etc/corpus."""
        return self.pool / "state"

    @property
    def guests(self) -> Path:
        """The node's own pool: mounted at /var/lib/corpus/pool."""
        return self.pool / "guests"

    @property
    def lxc(self) -> Path:
        """LXC's directory; no container of others is in it."""
        return self.root / "lxc"

    @property
    def log(self) -> Path:
        """LXC's log of the last start."""
        return self.root / "lxc.log"

    @property
    def container(self) -> str:
        """The name of the node's container, which LXC's control groups bear too."""
        return f"corpus-{self.name}"

    @property
    def bridge(self) -> str:
        """The host's bridge; with the longest lab name 15 characters, the kernel's limit."""
        return f"corpus-{self.name}"

    @property
    def veth(self) -> str:
        """The host's end of the node's network interface."""
        return f"cveth-{self.name}"

    @property
    def table(self) -> str:
        """The lab's nftables table, of the family ``ip``."""
        return f"{TABLES}{self.name}"
