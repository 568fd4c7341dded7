"""Certificates brought by hand, listed, removed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from corpus.commands import openssl
from corpus.model.errors import CorpusError, InvalidInput, NotFound
from corpus.model.names import host_pattern
from corpus.node.certificates import checking, store
from corpus.node.certificates.store import Source
from corpus.node.context import Node
from corpus.node.proxy import replica, service

LOCK = "certificates"  # taken before the node's: it is held while an authority is waited for
_LONGEST = 1 << 18  # bytes of a file with a certificate or a key


def add(node: Node, host: str, certificate: str, key: str, *, test: bool = False) -> dict[str, Any]:
    """Serve ``host`` with a certificate brought by hand; return what ``listed`` tells of it.

    ``certificate`` and ``key`` are files of the node, in PEM: the chain, the server's own first,
    and its key. One that is there for this name is replaced, without a reload. Raises
    InvalidInput, NotFound; with ``test`` nothing is done but these checks.
    """
    name = host_pattern(host)
    pem = checking.check(node.host, name, _text(certificate), _text(key))
    found = checking.read(node.host, openssl.blocks(pem.decode(), "CERTIFICATE")[0])
    source = Source(name, found.names)
    with node.lock(LOCK), replica.following(node, test=test):
        same = store.find(node.settings, name) == source and store.pem(node.settings, source) == pem
        if test:
            said = [] if same else [f"{name} is served with a certificate brought by hand"]
            return {"test": True, "changes": said}
        put(node, source, None if same else pem)
    return _describe(node, source)


def put(node: Node, source: Source, pem: bytes | None = None) -> None:
    """Save a certificate, or its record alone, and have the front follow; or leave all as before.

    One that the front refuses must not stay: with it the front would refuse every other change.
    Hold the node's lock. Raises CorpusError.
    """
    settings = node.settings
    before, old = store.find(settings, source.host), store.pem(settings, source)
    store.save(settings, source, pem)
    try:
        service.apply(node)
    except CorpusError:
        store.put_back(settings, source, before, old)
        with suppress(CorpusError):
            service.apply(node)
        raise


def remove(node: Node, host: str, *, test: bool = False) -> bool | dict[str, Any]:
    """Serve ``host`` without its certificate, and renew it no more; False when it has none."""
    name = host_pattern(host)
    with node.lock(LOCK), replica.following(node, test=test):
        source = Source(name, (name,))
        there = store.known(node.settings, source)
        if test:
            return {"test": True, "changes": [f"the certificate of {name} goes"] if there else []}
        if there:
            store.remove(node.settings, source)
        service.apply(node)
    return there


def listed(node: Node) -> list[dict[str, Any]]:
    """Return all certificates with their names, who brought them, and the days that are left."""
    return [_describe(node, source) for source in store.everything(node.settings)]


def days_left(node: Node, source: Source) -> float | None:
    """Return for how many days a certificate is valid; None when it is not there yet."""
    pem = store.pem(node.settings, source)
    return None if pem is None else checking.days_left(node.host, pem.decode())


def _describe(node: Node, source: Source) -> dict[str, Any]:
    found, left = _read(node, source), days_left(node, source)
    return {
        "host": source.host,
        "names": list(source.names),
        "from": f"acme ({source.challenge})" if source.challenge else "hand",
        "issuer": found.issuer if found else None,
        "expires": found.ends.isoformat() if found else None,
        "days_left": None if left is None else int(left),
    }


def _read(node: Node, source: Source) -> openssl.Certificate | None:
    pem = store.pem(node.settings, source)
    if pem is None:
        return None
    return checking.read(node.host, openssl.blocks(pem.decode(), "CERTIFICATE")[0])


def _text(given: str) -> str:
    path = Path(given)
    if not path.is_absolute() or not path.is_file():
        raise NotFound(f"no such file: {given!r:.200}", mend="give the path of a file on the node")
    if path.stat().st_size > _LONGEST:
        raise InvalidInput(f"too long for a certificate: {given}")
    return path.read_text(errors="replace")
