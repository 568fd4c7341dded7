"""Nodes that know each other, so that environments can move between them.

Each side is told of the other by an administrator: name, address, the host key that is pinned,
and the key with which it may call ``python -m corpus.node receive``, and nothing else.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path

from corpus.commands import ip, prlimit, ssh
from corpus.hosts import files
from corpus.hosts.files import read_json, write_atomic
from corpus.model.errors import CorpusError, InvalidInput, NotFound
from corpus.model.names import host_name
from corpus.node import keypairs
from corpus.node.context import Node

HOST_KEY = Path("/etc/ssh/ssh_host_ed25519_key.pub")
AUTHORIZED = Path("/root/.ssh/authorized_keys")
_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{60,100}={0,2}", re.ASCII)
LOCK = "peers"
_SAID = 16 << 20  # bytes, as of a warning for each file
_MARK = "corpus-peer:"  # what the comment of a peer's key begins with


@dataclass(frozen=True)
class Peer:
    """Another node: where its SSH server is, by which keys it is known.

    ``host_key`` and ``key`` are public ones, without comments; ``key`` is its migration key.
    """

    name: str
    address: str
    port: int
    host_key: str
    key: str


def identity(node: Node, address: str | None = None, port: int = 22) -> Peer:
    """Return what this node is to another one; its key is made at first need.

    ``address`` and ``port``: where that one reaches its SSH server, where it is not known here.
    Raises NotFound, InvalidInput.
    """
    try:
        host_key = HOST_KEY.read_text()
    except FileNotFoundError:
        raise NotFound("the SSH server of this node has no ed25519 key", str(HOST_KEY)) from None
    return parse(
        {
            "name": socket.gethostname(),
            "address": address or _own_address(node),
            "port": port,
            "host_key": host_key,
            "key": keypairs.public(node, _key(node), LOCK),
        }
    )


def _own_address(node: Node) -> str:
    devices = [node.settings.external] if node.settings.external else []
    devices = devices or ip.parse_default_devices(node.host.run(ip.default_routes()).out)
    mine = ip.parse_addresses(node.host.run(ip.addresses()).out)
    for address, device in mine.items():
        if device in devices:
            return address
    raise NotFound("the address of this node is not known", mend="give address=")


def _folder(node: Node) -> Path:
    return node.settings.prefix / "peers"


def _key(node: Node) -> Path:
    return _folder(node) / "key"


def has_key(node: Node) -> bool:
    """Tell whether this node has its migration key."""
    return _key(node).exists()


def half_written(node: Node) -> list[Path]:
    """Return what somebody writes here, or left when he died. Hold ``LOCK``."""
    found = [*files.temporary(_folder(node)), *keypairs.half_made(_key(node))]
    ours = f".{AUTHORIZED.name}."
    return found + [one for one in files.temporary(AUTHORIZED.parent) if one.name.startswith(ours)]


def parse(given: object) -> Peer:
    """Return a peer from what somebody gives: a mapping, or its JSON. Raises InvalidInput."""
    mend = "give what corpus_node.peer_identity returns there"
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise InvalidInput("the peer is no JSON", mend=mend) from None
    names = ("name", "address", "port", "host_key", "key")
    if not isinstance(given, Mapping) or set(given) != set(names):
        raise InvalidInput(f"a peer has exactly {', '.join(names)}", mend=mend)
    try:
        address, port = str(IPv4Address(str(given["address"]))), int(given["port"])
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"a peer's address or port: {error}", mend=mend) from None
    if not 0 < port < 65536:
        raise InvalidInput(f"not a port: {port}")
    return Peer(
        host_name(given["name"]), address, port, _plain(given["host_key"]), _plain(given["key"])
    )


def _plain(key: object) -> str:
    words = " ".join(str(key).split()[:2])
    if not _KEY.fullmatch(words):
        raise InvalidInput(
            f"not an ed25519 public key: {ascii(key)[:40]}", mend="give the line of a .pub file"
        )
    return words


def add(node: Node, name: str, given: object) -> Peer:
    """Know another node by ``name``; done again, it replaces. Raises InvalidInput."""
    found = check(node, name, given)
    with node.lock(LOCK):
        _folder(node).mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps(asdict(found), indent=2).encode() + b"\n"
        write_atomic(_folder(node) / f"{found.name}.json", text, 0o600)
        _authorise(node)
    return found


def check(node: Node, name: str, given: object) -> Peer:
    """Return the peer that ``add`` would add. Raises InvalidInput."""
    peer = parse(given)
    found = Peer(host_name(name), peer.address, peer.port, peer.host_key, peer.key)
    if HOST_KEY.exists() and found.host_key == _plain(HOST_KEY.read_text()):
        raise InvalidInput("a node is no peer of itself", mend="give the other node's identity")
    for other in listed(node):
        if other.name != found.name and other.key == found.key:
            raise InvalidInput(f"that node is known as {other.name}", mend="remove it first")
    return found


def remove(node: Node, name: str) -> bool:
    """Forget another node; False when it was not known."""
    path = _folder(node) / f"{host_name(name)}.json"
    with node.lock(LOCK):
        known = path.exists()
        path.unlink(missing_ok=True)
        _authorise(node)
    return known


def listed(node: Node) -> list[Peer]:
    """Return the nodes that are known. Raises CorpusError for a damaged file."""
    return list(filter(None, map(_read, sorted(_folder(node).glob("*.json")))))


def addresses(node: Node) -> dict[str, str]:
    """Return the address of each node that is known, by name; a damaged file is none of them."""
    found = {}
    for path in sorted(_folder(node).glob("*.json")):
        with suppress(CorpusError):
            if peer := _read(path):
                found[peer.name] = peer.address
    return found


def _read(path: Path) -> Peer | None:
    return read_json(path, parse, "a peer", "add it anew")


def find(node: Node, name: str) -> Peer:
    """Return the node that is known as ``name``. Raises NotFound."""
    wanted = host_name(name)
    known = {peer.name: peer for peer in listed(node)}
    if wanted not in known:
        raise NotFound(
            f"no node is known as {wanted}",
            mend=f"corpus_node.peer_add; known: {', '.join(known) or 'none'}",
        )
    return known[wanted]


def authorise(node: Node) -> None:
    """Let in whom this node knows, and nobody whom it knows no more."""
    with node.lock(LOCK):
        _authorise(node)


def authorises(node: Node) -> bool:
    """Tell whether the keys that root's account lets in are those of the nodes that are known."""
    lines, wanted = _authorised(node)
    return lines == wanted


def _authorise(node: Node) -> None:
    lines, wanted = _authorised(node)
    if wanted != lines:
        AUTHORIZED.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(AUTHORIZED, "".join(f"{line}\n" for line in wanted).encode(), 0o600)


def _authorised(node: Node) -> tuple[list[str], list[str]]:
    """Return root's authorised keys, and what they must be: beside its own those of the peers,
    which may call what receives."""
    try:
        lines = AUTHORIZED.read_text().splitlines()
    except FileNotFoundError:
        lines = []
    kept = [line for line in lines if not line.rpartition(" ")[2].startswith(_MARK)]
    for peer in listed(node):
        command = shlex.join([sys.executable, "-m", "corpus.node", "receive", peer.name])
        kept.append(f'restrict,command="{command}" {peer.key} {_MARK}{peer.name}')
    return lines, kept


def ask(node: Node, peer: Peer, request: str) -> list[str]:
    """Return the command that sends a request to a peer, whose host key is pinned."""
    known = _folder(node) / f"{peer.name}.known_hosts"
    write_atomic(known, f"{peer.name} {peer.host_key}\n".encode(), 0o600, durable=False)
    client = ssh.client(_key(node), known, peer.name, alive=3)
    argv = ssh.ask(client, "root", peer.address, peer.port, request)
    return prlimit.files(_SAID, argv)  # what it says as an error is kept in one
