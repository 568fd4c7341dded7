"""A machine that somebody has: a plain Debian 12 in a network of its own, not made by us.

It is a container of this host, of the image's base layer alone: no Salt, no code of ours. The
package sources, name servers and certificates of the place where the tests run are its own. The
lab's node reaches it over its gateway, this host: what is on one bridge may be kept apart.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.commands import ip, lxc, network, nft, ssh
from corpus.hosts import subvolumes
from corpus.hosts.container import Container
from corpus.hosts.local import Local
from corpus.images import manifest, store
from corpus.lab import config, rootfs
from corpus.lab.machine import Lab
from labs import lab
from patience import wait_until

__all__ = ["Existing", "existing", "lab"]
PATIENCE = 60.0
APART = 9 << 16  # from the lab's addresses
NAT = """\
table ip {0.table} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {0.address} oifname != "{0.cable}" masquerade
    }}
}}
"""
OF_THE_PLACE = ("./etc/apt", "./etc/ssl", "./etc/pip.conf", "./etc/resolv.conf",
                "./usr/local/share/ca-certificates")  # fmt: skip


class Existing:
    """The machine; made by ``make``, removed by ``remove``."""

    def __init__(self, lab: Lab) -> None:
        paths = lab.paths
        self.name = f"corpus-{lab.name}-machine"
        self.address = str(lab.settings.network[200] + APART)
        self.cable = f"cmach-{lab.name}"
        self.table = f"corpus-machine-{lab.name}"
        self.root = paths.roots / "machine"
        self.images = lab.settings.images / "out"
        self._lab = lab
        self._lxcpath = paths.root / "machines"
        self._host = Local()
        self.inside = Container(self.name, self._host, self._lxcpath)

    def make(self, key: str) -> None:
        """Make and start it; its root accepts the public ``key``."""
        image = manifest.load(self.images / "node")
        self.remove()
        subvolumes.snapshot(store.root_of(image, self._lab.paths.store, 1), self.root)
        code = manifest.load(self.images / "environment")
        archive = code.archive(code.layers[-1])
        self._host.run(["tar", "--extract", "--zstd", f"--file={archive}",
                        f"--directory={self.root}", *OF_THE_PLACE])  # fmt: skip
        rootfs.mask(self.root)
        rootfs.write_files(self.root, self._files(key))
        (self.root / "root/.ssh").chmod(0o700)
        self._host.run(ssh.make_key(self.root / "etc/ssh/ssh_host_ed25519_key"))
        folder = self._lxcpath / self.name
        folder.mkdir(parents=True)
        (folder / "config").write_text(self._config())
        self._host.run(nft.load(), stdin=NAT.format(self))
        self.start()

    def _files(self, key: str) -> dict[str, str]:
        hosts = f"127.0.0.1 localhost\n127.0.1.1 old\n::1 localhost old\n{self.address} old\n"
        return {
            "etc/hostname": "old\n",
            "etc/hosts": hosts,
            "root/.ssh/authorized_keys": f"# mine\n{key}\n",
            "srv/mine": "of before\n",
        }

    def _config(self) -> str:
        mtu = Path(f"/sys/class/net/{self._lab.paths.bridge}/mtu").read_text().strip()
        return "\n".join([
            f"lxc.include = {config.SHARE}/common.conf",
            "lxc.arch = linux64",
            "lxc.uts.name = old",
            f"lxc.rootfs.path = dir:{self.root}",
            "lxc.apparmor.profile = unconfined",
            "lxc.hook.mount =",
            "lxc.hook.post-stop =",
            "lxc.signal.halt = SIGRTMIN+3",
            "lxc.mount.auto =",
            "lxc.mount.auto = cgroup:mixed:force proc:mixed sys:ro",
            "lxc.net.0.type = veth",
            "lxc.net.0.veth.mode = router",
            f"lxc.net.0.veth.pair = {self.cable}",
            "lxc.net.0.name = eth0",
            f"lxc.net.0.mtu = {mtu}",
            "lxc.net.0.flags = up",
            f"lxc.net.0.ipv4.address = {self.address}/32",
            "lxc.net.0.ipv4.gateway = 169.254.1.1",
            "lxc.tty.max = 0",
            "lxc.console.path = none",
            "",
        ])  # fmt: skip

    @property
    def host_key(self) -> str:
        """Its SSH server's public key."""
        return (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().strip()

    def start(self) -> None:
        """Boot it and wait for its SSH server."""
        self._host.run(lxc.start(self._lxcpath, self.name, self._lxcpath / "log"), timeout=60)
        self._host.run(ip.sysctl({f"net/ipv4/conf/{self.cable}/forwarding": 1}))

        def answers() -> bool:
            with socket.create_connection((self.address, 22), 1) as line:
                return line.recv(4) == b"SSH-"

        try:
            wait_until(answers, PATIENCE, despite=OSError)
        except (AssertionError, OSError) as error:
            error.add_note(self._told())
            raise

    def _told(self) -> str:
        """Return what there is to see of a machine that does not answer."""
        address = ["ip", "-brief", "address"]
        neighbours = ["ip", "neighbour", "show", "dev", self.cable]
        inside = (address, ["systemctl", "list-jobs"], ["journalctl", "--no-pager", "--lines=40"])
        seen = [self._host.run(neighbours, check=False)]
        seen += [self.inside.run(argv, check=False, timeout=20) for argv in inside]
        return "\n".join(f"{one.out}{one.err}" for one in seen)

    def reboot(self) -> None:
        """Shut it down and boot it."""
        self._host.run(lxc.stop(self._lxcpath, self.name, timeout=30), timeout=60)
        self.start()

    def listed(self) -> dict[str, str]:
        """Return every file of its that a person may have written, with what it holds."""
        found = {}
        for top in ("etc", "opt", "srv", "usr/local", "root", "var/lib/corpus-saltify"):
            for path in sorted((self.root / top).rglob("*")):
                name = str(path.relative_to(self.root))
                if path.is_symlink():
                    found[name] = str(path.readlink())
                else:
                    found[name] = path.read_bytes().hex() if path.is_file() else ""
        return found

    def remove(self) -> None:
        """Remove it with all that is in it."""
        if (self._lxcpath / self.name / "config").exists():
            self._host.run(lxc.stop(self._lxcpath, self.name, kill=True), check=False, timeout=30)
        if subvolumes.is_subvolume(self.root):
            subvolumes.delete(self.root)
        shutil.rmtree(self._lxcpath, ignore_errors=True)
        if ("ip", self.table) in self.tables():
            self._host.run(network.delete_table("ip", self.table))

    def tables(self) -> list[tuple[str, str]]:
        """Return this host's nftables tables."""
        return network.parse_tables(self._host.run(network.list_tables()).out)


@pytest.fixture(scope="module")
def existing(lab: Lab) -> Iterator[Existing]:
    """Return a machine that is not there yet; nothing of it is left afterwards."""
    made = Existing(lab)
    try:
        yield made
    finally:
        made.remove()
        assert not made.root.exists()
        assert not Path(f"/sys/class/net/{made.cable}").exists()
        assert ("ip", made.table) not in made.tables()
