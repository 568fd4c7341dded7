"""One node of a lab: its root brought to an image, its container, how it fares."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from corpus.commands import ip, tc
from corpus.hosts import kernel
from corpus.hosts.base import Host
from corpus.lab import config, leftovers, marker, rootfs
from corpus.lab.guest import Guest
from corpus.lab.links import Link
from corpus.lab.paths import NodePaths
from corpus.lab.pool import Pool
from corpus.lab.settings import Member
from corpus.model.errors import CommandFailed, Unsupported

_unpacking = threading.Lock()  # the first node unpacks the image, the others clone it
NETWORK = "eth0"  # the node's end of its link


class LabNode:
    """One node of a lab."""

    def __init__(
        self,
        host: Host,
        paths: NodePaths,
        member: Member,
        pool: Pool,
        say: Callable[[str], None],
    ) -> None:
        self._host = host
        self.paths = paths
        self.member = member
        self._pool = pool
        self._say = say
        self.guest = Guest(host, paths)

    @property
    def name(self) -> str:
        """Its host name."""
        return self.member.name

    def up(self, image: marker.Image, mtu: int) -> None:
        """Bring its root to ``image`` and wait until it has booted."""
        self._refresh(image)
        rootfs.seed(self.paths, self.member)
        if self.guest.running():
            self.guest.wait()
            return
        self._say(f"{self.name} boots")
        leftovers.kill_processes(self._pool, self.paths)
        leftovers.remove_control_groups(self.paths)
        self.guest.configure(config.configuration(self.paths, self.member, mtu))
        self.guest.start()

    def _refresh(self, image: marker.Image) -> None:
        """Bring the root to the image: in place where only the code has changed."""
        present = marker.read(self.paths.rootfs)
        if present and present.digest == image.digest:
            rootfs.discard(self.paths.rootfs_new)
            return
        with _unpacking:
            self._say(f"the image of {self.name} is unpacked")
            rootfs.compose(self.paths, self.member, image)
        if present and present.layers[:-1] == tuple(image.layers[:-1]) and self.guest.running():
            self._update_code(present, image)
        else:
            self._replace_root()
        rootfs.discard(self.paths.rootfs_new)

    def _update_code(self, present: marker.Marker, image: marker.Image) -> None:
        names = {*present.top, *image.top_files()}
        changed = rootfs.update(self.paths.rootfs, self.paths.rootfs_new, names)
        self._say(f"{len(changed)} files of the code of {self.name} are new")
        self.guest.renew()
        marker.write(self.paths.rootfs, image)

    def _replace_root(self) -> None:
        self.guest.stop()
        if self.paths.rootfs.exists():
            kernel.exchange(self.paths.rootfs, self.paths.rootfs_new)
        else:
            self.paths.rootfs_new.rename(self.paths.rootfs)

    def apply(self, link: Link) -> None:
        """Have the link's two ends be as ``link`` says; what it loses is not theirs to say.

        Raises Unsupported where the kernel cannot.
        """
        ends = ((self._host, self.paths.veth), (self.guest.inside, NETWORK))
        for host, device in ends:
            host.run(tc.clear(device), check=False)
            if link.delay is not None:
                shape = tc.late(device, link.delay, link.rate)
            elif link.rate is not None:
                shape = tc.slow(device, link.rate)
            else:
                continue
            try:
                host.run(shape)
            except CommandFailed as error:
                raise Unsupported(
                    f"this kernel cannot make a link slow in this way: {error.output.strip()}",
                    where=self.name,
                    mend="use one with CONFIG_NET_SCH_NETEM (Debian's own have it) for a delay; "
                    "«rate» needs CONFIG_NET_SCH_TBF alone",
                ) from None
        self._host.run(ip.down(self.paths.veth) if link.down else ip.up(self.paths.veth))

    def forget_neighbours(self) -> None:
        """Have it look anew for whom it can reach."""
        self.guest.inside.run(ip.forget_neighbours(NETWORK))

    def facts(self, link: Link, cut_from: list[int]) -> dict[str, Any]:
        """Return what it is and how it fares, as plain values; sizes in bytes."""
        state, pid = self.guest.state()
        running = state == "RUNNING"
        mounts = self._pool.mounts()
        made = marker.read(self.paths.rootfs) if str(self.paths.lab.roots) in mounts else None
        pool = self._pool.usage(self.member.number) if str(self.paths.pool) in mounts else None
        return {
            "name": self.name,
            "state": state.lower() if self.paths.pool_image.exists() else "absent",
            "system": self.guest.system_state() if running else None,
            "failed_units": self.guest.failed_units() if running else [],
            "pid": pid,
            "memory": leftovers.memory(self.paths) if running else None,
            "http_port": self.member.http_port,
            "ssh_ports": [self.member.ssh_ports[0], self.member.ssh_ports[-1]],
            "address": str(self.member.address),
            "environments": str(self.member.environments),
            "storage": self.member.storage,
            "pool": pool,
            "image": made.digest if made else None,
            "link": str(link),
            "cut_from": [f"node{number}" for number in cut_from],
        }
