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
    def links(self) -> Path:
        """What is the matter with the nodes' links."""
        return self.root / "links.json"

    @property
    def image(self) -> Path:
        """The sparse file with the filesystem of the nodes' roots."""
        return self.root / "roots.img"

    @property
    def roots(self) -> Path:
        """Where it is mounted on the host."""
        return self.root / "roots"

    @property
    def store(self) -> Path:
        """Images unpacked beside the roots, which are snapshots of them."""
        return self.roots / "images"

    @property
    def lxc(self) -> Path:
        """LXC's directory; no container of others is in it."""
        return self.root / "lxc"

    @property
    def bridge(self) -> str:
        """The host's bridge; with the longest lab name 15 characters, the kernel's limit."""
        return f"corpus-{self.name}"

    @property
    def table(self) -> str:
        """The lab's nftables tables, of the families ``ip`` and ``bridge``."""
        return f"{TABLES}{self.name}"

    @property
    def veths(self) -> str:
        """How the names of the host's ends of the nodes' interfaces begin; a digit follows."""
        return f"cveth-{self.name}"

    @property
    def containers(self) -> str:
        """How the names of the nodes' containers begin; a digit follows."""
        return f"corpus-{self.name}."

    def node(self, number: int) -> NodePaths:
        """Return the files and names of one node."""
        return NodePaths(self, number)


@dataclass(frozen=True)
class NodePaths:
    """The files and names of node ``number`` of a lab."""

    lab: LabPaths
    number: int

    @property
    def pool_image(self) -> Path:
        """The sparse file with the node's own pool."""
        return self.lab.root / f"node{self.number}.img"

    @property
    def pool(self) -> Path:
        """Where it is mounted on the host; the node has it at /var/lib/corpus/pool."""
        return self.lab.root / f"node{self.number}"

    @property
    def rootfs(self) -> Path:
        """The node's root; replaced when the image changes."""
        return self.lab.roots / f"node{self.number}"

    @property
    def rootfs_new(self) -> Path:
        """A root being made, or the one that was replaced."""
        return self.lab.roots / f"node{self.number}.new"

    @property
    def state(self) -> Path:
        """What of the node outlives its root: mounted at /var/lib/corpus and /etc/corpus."""
        return self.lab.roots / f"node{self.number}.state"

    @property
    def lxc(self) -> Path:
        """LXC's directory, of the whole lab."""
        return self.lab.lxc

    @property
    def log(self) -> Path:
        """LXC's log of the last start."""
        return self.lab.root / f"lxc{self.number}.log"

    @property
    def container(self) -> str:
        """The name of the node's container, which LXC's control groups bear too."""
        return f"{self.lab.containers}{self.number}"

    @property
    def veth(self) -> str:
        """The host's end of the node's network interface."""
        return f"{self.lab.veths}{self.number}"
