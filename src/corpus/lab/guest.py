"""The node's container: started, waited for, stopped."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path, PurePath

from corpus.commands import ip, lxc, systemctl
from corpus.hosts import guests
from corpus.hosts.base import Host
from corpus.hosts.container import Container
from corpus.lab.paths import NodePaths
from corpus.model.errors import CommandFailed, CorpusError

BOOT = 180.0  # seconds until systemd is done; it starts the environments too
NODE = "corpus-node.service"
PYTHON = PurePath("/opt/corpus/bin/python")
GUESTS = PurePath("/var/lib/corpus/lxc")  # the node's own containers, seen from within
STOP = 30  # seconds for the environments, and again for the node, to stop cleanly


class Guest:
    """The container of one node of a lab."""

    def __init__(self, host: Host, paths: NodePaths) -> None:
        self._host = host
        self._paths = paths
        self.inside = Container(paths.container, host, paths.lxc)

    def state(self) -> tuple[str, int | None]:
        """Return LXC's word for its state, and the pid of its first process."""
        if not (self._config.exists()):
            return "STOPPED", None
        return guests.state(self._host, self._paths.lxc, self._paths.container)

    def running(self) -> bool:
        """Tell whether it runs."""
        return self.state()[0] == "RUNNING"

    @property
    def _config(self) -> Path:
        return self._paths.lxc / self._paths.container / "config"

    def configure(self, text: str) -> bool:
        """Write its configuration; tell whether that changed it."""
        if self._config.exists() and self._config.read_text() == text:
            return False
        self._config.parent.mkdir(parents=True, exist_ok=True)
        self._config.write_text(text)
        return True

    def start(self) -> None:
        """Start it and wait until systemd has done its boot."""
        if self.state()[0] != "STOPPED":
            self.kill()
        veth = Path("/sys/class/net") / self._paths.veth
        if veth.exists():  # of a container whose monitor was killed
            self._host.run(ip.delete_link(self._paths.veth), check=False)
        self._paths.log.unlink(missing_ok=True)
        try:
            command = lxc.start(self._paths.lxc, self._paths.container, self._paths.log)
            self._host.run(command, timeout=BOOT)
        except CommandFailed as error:
            log = self._paths.log.read_text() if self._paths.log.exists() else error.output
            reasons = [line for line in log.splitlines() if " ERROR " in line][:5]
            raise CorpusError(
                "a node of the lab does not start:\n" + "\n".join(reasons or [error.output]),
                where=str(self._paths.log),
                mend="the first of these lines is the cause; then run «up» again",
            ) from None
        self.wait()

    def wait(self) -> None:
        """Wait until systemd has booted; raises CorpusError when a unit of ours has failed."""
        deadline = time.monotonic() + BOOT
        while (state := self.system_state()) not in ("running", "degraded"):
            if time.monotonic() > deadline:
                raise CorpusError(
                    f"a node has not booted within {BOOT:.0f} s (it is {state or 'mute'})",
                    where=self._paths.container,
                    mend="look with «corpus-lab shell», systemctl list-jobs",
                )
            time.sleep(0.03)
        self._check_units()

    def system_state(self) -> str:
        """Return systemd's word for the whole system; empty before it answers."""
        try:
            done = self.inside.run(["systemctl", "is-system-running"], check=False, timeout=10)
        except CommandFailed:
            return ""
        return done.out.strip()

    def failed_units(self) -> list[str]:
        """Return the units that failed."""
        command = ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"]
        lines = self.inside.run(command, check=False).out.splitlines()
        return [line.split()[0] for line in lines if line.split()]

    def _check_units(self) -> None:
        failed = [unit for unit in self.failed_units() if unit.startswith("corpus")]
        if failed:
            log = self.inside.run(systemctl.journal(failed), check=False).out
            raise CorpusError(
                f"failed in a node of the lab: {', '.join(failed)}\n{log.strip()}",
                where=self._paths.container,
                mend="look with «corpus-lab shell», journalctl --boot",
            )

    def stop(self) -> None:
        """Stop the environments, then the node; both are killed when they take too long."""
        if not self.running():
            return
        self._stop_environments()
        try:
            stop = lxc.stop(self._paths.lxc, self._paths.container, timeout=STOP)
            self._host.run(stop, timeout=STOP + 10)
        except CommandFailed:
            self.kill()

    def _stop_environments(self) -> None:
        # The outer container's stop would wait for the nested ones to its time-out. The
        # node's own service stops those of its records; the rest are of a broken node.
        with suppress(CommandFailed):
            self.inside.run(systemctl.command("stop", [NODE]), check=False, timeout=3 * STOP)
        listed = ["lxc-ls", f"--lxcpath={GUESTS}", "--running", "-1"]
        for name in self.inside.run(listed, check=False).out.split():
            self.inside.run(lxc.stop(GUESTS, name, kill=True), check=False, timeout=STOP)

    def renew(self) -> None:
        """Let the node's new code write anew what it derives; environments go on running."""
        self.inside.run(systemctl.reload())
        if failed := [unit for unit in self.failed_units() if unit.startswith("corpus")]:
            self.inside.run(systemctl.command("reset-failed", failed))
            self.inside.run(systemctl.command("start", failed), check=False, timeout=3 * BOOT)
        elif self.inside.run(["test", "-x", str(PYTHON)], check=False).code == 0:
            self.inside.run([str(PYTHON), "-m", "corpus.node", "prepare"], timeout=BOOT)

    def kill(self) -> None:
        """End it at once with all that runs in it."""
        if not self._config.exists():
            return
        kill = lxc.stop(self._paths.lxc, self._paths.container, kill=True)
        self._host.run(kill, check=False, timeout=STOP)
