"""A node in a scratch directory whose commands are recorded and whose guests are pretended."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from corpus.commands import haproxy, ip, openssl
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.node.certificates import store
from corpus.node.context import Node
from corpus.node.environments import making
from corpus.node.network import bridge
from corpus.node.proxy import front as front_moves
from corpus.node.settings import Settings
from corpus.node.storage import images

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBadKeyForTestsOnly0000000000000000000 me@home"
ID = "11111111-2222-4333-8444-555555555555"
INSIDE = Path("/inside")
OTHER = "99999999-2222-4333-8444-555555555555"
THIRD = "33333333-2222-4333-8444-555555555555"
STATES = {
    "lxc-start": "RUNNING\nPID: 42",
    "lxc-stop": "STOPPED",
    "lxc-freeze": "FROZEN\nPID: 42",
    "lxc-unfreeze": "RUNNING\nPID: 42",
}


def _info(host: Fake, argv: Sequence[str]) -> str:
    name = next(word for word in argv if word.startswith("--name="))
    for command in reversed(host.commands[:-1]):
        word = "lxc-start" if "lxc-start" in command else command[0]  # prlimit may be before it
        if name in command and word in STATES:
            return f"State: {STATES[word]}\n"
    return "State: STOPPED\n"


def _copy(argv: Sequence[str]) -> str:
    """Copy as cp(1) would; an image that nobody has made is an empty directory."""
    source, target = Path(argv[-2]), Path(argv[-1])
    source.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    return ""


def proxy(host: Fake, folder: Path) -> str:
    """Answer as a worker of the proxy that has the configuration which lies in ``folder``."""
    text = host.files.get(str(folder / "haproxy.cfg"), b"").decode()
    answers = {
        "show info": f"Name: HAProxy\ndescription: {haproxy.configured_description(text)}",
        "prepare map": "New version created: 1",
        "commit ssl": "Success!",
    }
    asked = json.loads(host.calls[-1].stdin or b"[]")
    return json.dumps([answers.get(" ".join(one.split()[:2]), "") for one in asked])


def attached(host: Fake, argv: Sequence[str]) -> str:
    """Answer as an environment in which a proxy runs; its files are kept below ``INSIDE``."""
    words = argv[argv.index("--") + 1 :]
    if words[0] == "tar":
        with tarfile.open(fileobj=io.BytesIO(host.calls[-1].stdin or b"")) as archive:
            for one in archive:
                packed = archive.extractfile(one)
                assert packed is not None
                host.put(INSIDE / one.name, packed.read(), one.mode)
        return ""
    named = [word for word in words if word.startswith("/") and f"{INSIDE}{word}" in host.files]
    if words[0] == "cat":
        return "".join(host.files[f"{INSIDE}{word}"].decode() for word in named)
    if words[0] == "sha256sum":
        found = {word: hashlib.sha256(host.files[f"{INSIDE}{word}"]) for word in named}
        return "".join(f"{sum.hexdigest()}  {word}\n" for word, sum in found.items())
    if words[0] == "ls":
        return "\n".join(path for path in host.files if path.startswith(f"{INSIDE}{words[-1]}/"))
    if words[0] == "rm" or words[-1] == "corpus-proxy.service":
        gone = tuple(f"{INSIDE}{word}" for word in words[1:] if word.startswith("/"))
        for path in [path for path in host.files if path.startswith(gone)]:
            del host.files[path]
    if words[-1].endswith("admin.sock"):
        return proxy(host, INSIDE / "etc/corpus/proxy")
    return ""


def told(host: Fake) -> list[str]:
    """Return what the running proxy was told to change, all commands in order."""
    asks = [call for call in host.calls if call.argv[:2] == ("/usr/bin/python3", "-I")]
    return [
        one for call in asks for one in json.loads(call.stdin or b"[]")
        if not one.startswith(("show", "prepare"))
    ]  # fmt: skip


@cache
def self_signed() -> str:
    """Return a certificate with its key, as openssl(1) makes them."""
    return Local().run(openssl.self_signed("test", 30)).out


def make(folder: Path, host: Fake | None = None, **changes: object) -> tuple[Node, Fake]:
    """Return a prepared node under ``folder`` with one image, and its host."""
    values = {"prefix": folder / "corpus", "proxy": folder / "proxy", "storage": "plain"}
    values |= {"default_memory": "", "default_pids": 0}
    values |= {name: folder / name for name in ("asks", "certificates", "pdns_key")}
    settings = Settings(**{**values, **changes})  # type: ignore[arg-type]
    for path in (
        settings.images,
        settings.pool / "env",
        settings.records,
        settings.lxcpath,
        settings.asks,
    ):
        path.mkdir(parents=True, exist_ok=True)
    host = host or Fake()
    host.answer("cp", _copy)
    host.answer("df", "1B-blocks Avail\n 107374182400 53687091200\n")
    host.answer("ip -4 -json", "[]")
    host.answer("lxc-info", lambda argv: _info(host, argv))
    host.answer("/usr/bin/python3 -I", lambda _: proxy(host, settings.proxy))
    host.answer("openssl req", self_signed())
    host.files["/etc/resolv.conf"] = b"# mine\nnameserver 10.9.9.9\n"
    node = Node(settings, host)
    store.prepare(node)
    bare = Node(replace(settings, storage="plain"), host)  # no file system of a kind is there yet
    images.adopt(bare, "environment", "ab" * 32, settings.pool / "source")
    host.calls.clear()
    return node, host


def host_of(node: Node) -> Fake:
    """Return the host of a node, which remembers what was run on it."""
    assert isinstance(node.host, Fake)
    return node.host


def with_front(folder: Path) -> Node:
    """Return a node with an environment, and another one, of role proxy, that is the front."""
    node, host = make(folder)
    making.create(node, id=ID, hosts=["a.example"], wait=0)
    making.create(node, id=OTHER, role="proxy", wait=0)
    host.answer("lxc-attach", lambda argv: attached(host, argv))
    front_moves.move(node, OTHER)
    return node


def rules(node: Node) -> str:
    """Return the ruleset that was loaded last."""
    loads = [call.stdin for call in host_of(node).calls if call.argv == ("nft", "-f", "-")]
    return (loads[-1] or b"").decode()


def led(node: Node) -> bool:
    """Whether the node's ports lead to the environment of role proxy."""
    return "dnat ip to 10.88.0.11:443" in rules(node)


def reload(folder: Path) -> tuple[Node, Fake]:
    """Return the same node after a restart of the machine: no guest runs."""
    return make(folder)


def front(node: Node, name: str) -> str:
    """Return a file of the front."""
    return node.host.get(node.settings.proxy / name).decode()


def left(node: Node) -> list[str]:
    """Return what is left of environments: records, volumes, configuration, locks."""
    settings = node.settings
    places = [settings.records, settings.pool / "env", settings.lxcpath, settings.asks]
    locks = list(settings.locks.glob("*-*"))
    return sorted(str(p) for place in places for p in place.iterdir() if p.name != "isolate") + [
        str(path) for path in locks
    ]


def ran(host: Fake, word: str) -> list[tuple[str, ...]]:
    """Return the commands whose first word is ``word``, prlimit's before it apart."""
    return [
        command
        for command in host.commands
        if command[0] == word or (command[0] == "prlimit" and word in command)
    ]


def record_json(node: Node, id: str) -> dict[str, object]:
    """Return an environment's record as it is on disk."""
    found: dict[str, object] = json.loads((node.settings.records / f"{id}.json").read_text())
    return found


def sound(node: Node, host: Fake) -> None:
    """Have the host answer as one whose kernel holds what the node has told it."""
    name, mac = node.settings.bridge, ip.hardware_address(str(node.settings.gateway))
    address = {"local": str(node.settings.gateway), "prefixlen": node.settings.network.prefixlen}
    shown = [{"ifname": name, "mtu": 1500, "address": mac, "addr_info": [address]}]
    host.answer("ip -json link show dev", json.dumps(shown))
    host.answer("ip -json link show master", "[]")
    host.answer("ip -4 -json", lambda argv: json.dumps(shown) if "address" in argv else "[]")
    for key in bridge.switches(node):
        host.files[f"/proc/sys/{key}"] = b"1\n"
    host.answer("systemctl --no-pager show", _active)


def _active(argv: Sequence[str]) -> str:
    units = argv[argv.index("--") + 1 :]
    return "\n\n".join(f"Id={unit}\nActiveState=active\nLoadState=loaded" for unit in units)
