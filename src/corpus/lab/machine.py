"""A lab: one compute node as a container of this host, made, kept and removed as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.hosts import kernel
from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.lab import config, leftovers, lock, marker, record, requirements, rootfs
from corpus.lab.guest import Guest
from corpus.lab.network import Network
from corpus.lab.paths import LabPaths
from corpus.lab.pool import Pool
from corpus.lab.settings import Settings, settings_for
from corpus.model.errors import Conflict

LAST_USERS = 120.0  # seconds that «down» waits for processes that hold the pool


class Lab:
    """The lab ``name``; nothing is made before ``up``.

    Settings that are not given are those that the lab was made with, else the defaults of
    its name. ``image`` (for tests) returns the node's image; the default is to build it
    from the code at hand, as far as the cache lacks it.
    """

    def __init__(
        self,
        name: str,
        settings: Settings | None = None,
        *,
        root: Path | None = None,
        image: Callable[[], marker.Image] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name = name
        base = settings.root if settings else root or settings_for(name).root
        self.paths = LabPaths(name, base)
        made_with = record.load(self.paths)
        default = settings_for(name, {"root": base})
        self.settings = settings or (made_with.settings if made_with else default)
        self._host: Host = Local()
        self._image = image or self._build
        self._say = say
        self._guest = Guest(self._host, self.paths)
        self._pool = Pool(self._host, self.paths, self.settings.pool_size)
        self._network = Network(self._host, self.paths, self.settings)
        self._warnings: list[str] = []

    @property
    def http_port(self) -> int:
        """The port on the host's loopback that leads to the node's HTTP."""
        return self.settings.http_port

    @property
    def ssh_port_base(self) -> int:
        """The first of the loopback ports that lead to environments' SSH."""
        return self.settings.ssh_port_base

    def node(self) -> Host:
        """Return the node, to run commands on."""
        return self._guest.inside

    def _build(self) -> marker.Image:
        from corpus.lab import image

        return image.current(self.settings.images, self._host, self._say)

    def up(self) -> None:
        """Make or complete the lab and wait until its node has booted.

        Starts from whatever is there: nothing, a stopped lab, what a killed run left, an
        older image. Raises Unsupported when the host lacks something, Conflict when a
        subnet or port is taken.
        """
        requirements.check(self._host)
        with lock.held(self.paths.lock):
            made_with = record.load(self.paths)
            self._check_settings(made_with)
            if not self._network.bridge_is_up():
                self._network.check_free()
            image = self._image()
            self.paths.root.mkdir(parents=True, exist_ok=True, mode=0o711)
            self._warnings = self._pool.attach()
            self._connect(made_with.forwarding if made_with else {})
            self._refresh(image)
            self._run()

    def _check_settings(self, made_with: record.Record | None) -> None:
        if made_with and made_with.settings != self.settings:
            raise Conflict(
                f"the lab {self.name} was made with other settings",
                where=str(self.paths.record),
                mend=f"leave them out, or remove it first: corpus-lab down --lab {self.name}",
            )

    def _connect(self, forwarding: dict[str, str]) -> None:
        # What is recorded is from before the lab's first start: later it is our own value.
        before = {**self._network.forwarding(), **forwarding}
        record.save(self.paths, record.Record(self.settings, before))
        self._network.up()

    def _refresh(self, image: marker.Image) -> None:
        """Bring the node's root to the image: in place where only the code has changed."""
        present = marker.read(self.paths.rootfs)
        if present and present.digest == image.digest:
            rootfs.discard(self.paths.rootfs_new)
            return
        self._say("the node's image is unpacked")
        rootfs.compose(self.paths, self.settings, image)
        if present and present.layers[:-1] == tuple(image.layers[:-1]) and self._guest.running():
            self._update_code(present, image)
        else:
            self._replace_root()
        rootfs.discard(self.paths.rootfs_new)

    def _update_code(self, present: marker.Marker, image: marker.Image) -> None:
        names = {*present.top, *image.top_files()}
        changed = rootfs.update(self.paths.rootfs, self.paths.rootfs_new, names)
        self._say(f"{len(changed)} files of the node's code are new")
        self._guest.renew()
        marker.write(self.paths.rootfs, image)

    def _replace_root(self) -> None:
        self._guest.stop()
        if self.paths.rootfs.exists():
            kernel.exchange(self.paths.rootfs, self.paths.rootfs_new)
        else:
            self.paths.rootfs_new.rename(self.paths.rootfs)

    def _run(self) -> None:
        rootfs.seed(self.paths, self.settings)
        mtu = self._network.node_mtu()
        if self._guest.running():
            self._guest.wait()
            return
        self._say("the node boots")
        leftovers.kill_processes(self._pool)
        leftovers.remove_control_groups(self.paths)
        self._guest.configure(config.configuration(self.paths, self.settings, mtu))
        self._guest.start()

    def stop(self) -> None:
        """Stop the node, environments first; everything is kept."""
        with lock.held(self.paths.lock):
            self._guest.stop()
            self._pool.detach()

    def down(self) -> None:
        """Remove everything of the lab and nothing else; fine when there is nothing."""
        with lock.held(self.paths.lock):
            made_with = record.load(self.paths)
            self._guest.kill()
            leftovers.kill_processes(self._pool)
            leftovers.remove_control_groups(self.paths)
            self._pool.detach()
            self._network.down(made_with.forwarding if made_with else {})
            self._remove_files()
            self._pool.wait_until_gone(self._say, LAST_USERS)
            self.paths.lock.unlink(missing_ok=True)

    def _remove_files(self) -> None:
        if mounts := self._pool.mounts():  # never remove what lies behind a mount
            raise Conflict(
                f"still mounted: {', '.join(mounts)}",
                mend="unmount it (umount --lazy), then try again",
            )
        if self.paths.root.exists():
            shutil.rmtree(self.paths.root)

    def facts(self) -> dict[str, Any]:
        """Return what the lab is and how it fares, as plain values; sizes in bytes."""
        state, pid = self._guest.state()
        mounted = str(self.paths.pool) in self._pool.mounts()
        made = marker.read(self.paths.rootfs) if mounted else None
        running = state == "RUNNING"
        return {
            "name": self.name,
            "state": state.lower() if self.paths.image.exists() else "absent",
            "system": self._guest.system_state() if running else None,
            "failed_units": self._guest.failed_units() if running else [],
            "pid": pid,
            "memory": leftovers.memory(self.paths) if running else None,
            "http_port": self.http_port,
            "ssh_ports": [self.ssh_port_base, self.settings.ssh_port_last],
            "address": str(self.settings.node_address),
            "subnet": self.settings.subnet,
            "image": made.digest if made else None,
            "directory": str(self.paths.root),
            "pool": self._pool.usage() if mounted else None,
            "network": self._network.is_up(),
            "warnings": [*self._warnings, *self._network.warnings()],
        }


def assert_clean(name: str, settings: Settings | None = None) -> None:
    """Raise AssertionError that lists what of lab ``name`` is left on the host."""
    paths = LabPaths(name, (settings or settings_for(name)).root)
    left = leftovers.leftovers(Local(), paths)
    if left:
        raise AssertionError(f"left of lab {name}: " + "; ".join(left))
