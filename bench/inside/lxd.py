"""LXD asked through its socket, by one process that stays: faster than its client ``lxc``.

Source: LXD's doc/rest-api.md. Where an answer is an operation, it is waited for.
"""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKET = "/var/lib/lxd/unix.socket"
IMAGE, POOL, NETWORK = "corpus-environment", "corpus-bench", "lxdbench0"
NET = "10.97.0"
LIMITS = {
    "limits.memory": "1GiB",
    "limits.cpu.allowance": "200ms/100ms",
    "limits.processes": "1000",
}
SIZE = "2GiB"
_SECONDS = 120


class Line(http.client.HTTPConnection):
    """HTTP over LXD's socket."""

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(SOCKET)


def ask(method: str, path: str, body: Mapping[str, Any] | Path | None = None) -> Any:
    """Return the metadata of LXD's answer, of the finished operation where it is one."""
    line = Line("lxd")
    try:
        if isinstance(body, Path):
            with body.open("rb") as file:
                line.request(method, f"/1.0{path}", file, {"Content-Length": body.stat().st_size})
                answer = json.loads(line.getresponse().read())
        else:
            line.request(method, f"/1.0{path}", None if body is None else json.dumps(body))
            answer = json.loads(line.getresponse().read())
        if answer["type"] == "async":
            line.request("GET", f"{answer['operation']}/wait?timeout={_SECONDS}")
            answer = json.loads(line.getresponse().read())
    finally:
        line.close()
    if answer["type"] == "error":
        raise RuntimeError(f"{method} {path}: {answer['error']}")
    found = answer["metadata"]
    if isinstance(found, dict) and found.get("err"):
        raise RuntimeError(f"{method} {path}: {found['err']}")
    return found


class Lxd:
    """LXD's instances, with the words that ``peers.Ours`` has for environments."""

    name = "lxd"

    def __init__(self) -> None:
        self._last = 9

    def reserve(self) -> str:
        """Return the name of an instance that is to be made."""
        self._last += 1
        return f"bench-{self._last}"

    def address(self, name: str) -> str:
        """Return the address of an instance, which no other one had before it."""
        return f"{NET}.{name.rpartition('-')[2]}"

    def network(self, name: str) -> str:
        """Return what LXC is told: its address at once, instead of LXD's DHCP, which is slower."""
        return (
            f"lxc.net.0.ipv4.address = {self.address(name)}/24\nlxc.net.0.ipv4.gateway = {NET}.1\n"
        )

    def create(self, name: str) -> None:
        """Make and start an instance: same image, size and limits."""
        ask("POST", "/instances", {
            "name": name,
            "profiles": [],
            "config": {**LIMITS, "raw.lxc": self.network(name)},
            "devices": {
                "root": {"type": "disk", "path": "/", "pool": POOL, "size": SIZE},
                "eth0": {"type": "nic", "name": "eth0", "network": NETWORK},
            },
            "source": {"type": "image", "alias": IMAGE},
        })  # fmt: skip
        self.start(name)

    def start(self, name: str) -> None:
        """Start it."""
        ask("PUT", f"/instances/{name}/state", {"action": "start", "timeout": 30})

    def stop(self, name: str) -> None:
        """Stop it cleanly."""
        ask("PUT", f"/instances/{name}/state", {"action": "stop", "timeout": 30})

    def snapshot(self, name: str) -> None:
        """Take the snapshot ``one`` while it runs."""
        ask("POST", f"/instances/{name}/snapshots", {"name": "one"})

    def restore(self, name: str) -> None:
        """Put the snapshot ``one`` back; LXD stops it and starts it again."""
        ask("PUT", f"/instances/{name}", {"restore": "one"})

    def destroy(self, name: str) -> None:
        """Remove it while it runs: LXD wants it stopped first."""
        if self.pid(name):
            ask("PUT", f"/instances/{name}/state", {"action": "stop", "force": True})
        ask("DELETE", f"/instances/{name}")

    def pid(self, name: str) -> int:
        """Return the pid of its init; 0 where it does not run."""
        return int(ask("GET", f"/instances/{name}/state")["pid"])

    def features(self) -> dict[str, str]:
        """Return what LXD can do on this kernel: without idmapped mounts it changes all owners."""
        found: dict[str, str] = ask("GET", "")["environment"].get("kernel_features", {})
        return found

    def daemon(self) -> int:
        """Return the pid of LXD's daemon."""
        return int(ask("GET", "")["environment"]["server_pid"])
