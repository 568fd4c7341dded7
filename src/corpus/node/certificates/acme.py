"""Certificates obtained and renewed by ACME (RFC 8555), through lego(1).

A name is proved over HTTP, by an answer that the front leads to lego while that runs, or over DNS,
by a record that lego sets at a PowerDNS server. A wildcard takes DNS.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from corpus.commands import lego
from corpus.model.errors import CorpusError, InvalidInput, NotFound
from corpus.model.names import host_name, host_pattern
from corpus.model.secret import Secret
from corpus.node.certificates import changes, checking, store
from corpus.node.certificates.store import Source
from corpus.node.context import Node
from corpus.node.proxy import replica, service
from corpus.node.settings import ACME_PORT, Settings

DAYS = 30  # left when a certificate is renewed
_SECONDS = 600  # for the authority and for name servers


def obtain(node: Node, host: str, challenge: str = "http", *, test: bool = False) -> dict[str, Any]:
    """Obtain a certificate for ``host`` and renew it from now on; return what ``listed`` tells.

    ``challenge``: ``http`` or ``dns``. One that is there and lasts is left as it is. On a failure
    everything is as before. Raises InvalidInput, CommandFailed.
    """
    name = host_pattern(host)
    if challenge not in ("http", "dns"):
        raise InvalidInput(f"not a challenge: {challenge!r:.20}", mend="use http or dns")
    if challenge == "http" and name.startswith("*."):
        raise InvalidInput("no wildcard is proved over HTTP", mend="challenge=dns")
    _environment(node.settings, challenge)
    source = Source(name, (name,), challenge)
    if test:
        wanted = store.find(node.settings, name) != source or _due(node, source, DAYS)
        said = f"a certificate for {name} is obtained ({challenge})"
        return {"test": True, "changes": [said] if wanted else []}
    with node.lock(changes.LOCK):
        before, old = store.find(node.settings, name), store.pem(node.settings, source)
        try:
            _ensure(node, source, DAYS)
        except CorpusError:
            with replica.following(node):
                store.put_back(node.settings, source, before, old)
                service.apply(node)
            raise
    return next(one for one in changes.listed(node) if one["host"] == name)


def renew(node: Node, days: int = DAYS, *, test: bool = False) -> dict[str, Any]:
    """Renew what has less than ``days`` days left, and obtain the node's own wildcard.

    Returns what became of each; one that fails does not keep the others. One that is damaged and
    cannot be renewed has failed.
    """
    outcome: dict[str, Any] = {}
    with node.lock(changes.LOCK):
        due = [one for one in _all(node) if one.challenge and _due(node, one, days)]
        if test:
            return {"test": True, "changes": [f"{one.host} is renewed" for one in due]}
        for path, problem in store.damaged(node.settings).items():
            if store.is_record(path):
                outcome[path.parent.name] = f"failed: {problem}"
        for source in due:
            try:
                _ensure(node, source, days)
                outcome[source.host] = "renewed"
            except (CorpusError, OSError) as error:
                outcome[source.host] = f"failed: {error}"
        with replica.following(node):
            service.apply(node)
    return outcome


def _all(node: Node) -> list[Source]:
    """Return every certificate, with the node's own wildcard where its domain is set.

    One for that name that was brought by hand stays: somebody wants it so.
    """
    found, settings = store.everything(node.settings), node.settings
    domain = host_name(settings.domain) if settings.domain and settings.acme_email else ""
    own = Source(domain, (domain, f"*.{domain}"), "dns")
    read = [one for one in found if one.host == domain]
    ours = bool(read) or not store.known(settings, own)  # a damaged one may be somebody's
    if domain and ours and all(one.challenge for one in read):
        found = [own, *(one for one in found if one.host != domain)]
    return found


def _due(node: Node, source: Source, days: int) -> bool:
    left = changes.days_left(node, source)
    return left is None or left < days or store.find(node.settings, source.host) != source


def _ensure(node: Node, source: Source, days: int) -> None:
    """Have a certificate that lasts ``days`` days, asking the authority where none is here."""
    if not _due(node, source, days):
        return
    settings, folder = node.settings, node.settings.certificates / store.ACME
    with replica.following(node):
        changes.put(node, source)  # challenges over HTTP are led to lego from here on
    pem = _obtained(node, source, folder)
    if pem is None or checking.days_left(node.host, pem.decode()) < days:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = lego.obtain(
            folder,
            source.names,
            email=settings.acme_email,
            server=settings.acme_directory,
            challenge=source.challenge,
            listen=f"{settings.gateway}:{ACME_PORT}",
            resolvers=settings.acme_resolvers,
        )
        node.host.run(command, env=_environment(settings, source.challenge), timeout=_SECONDS)
        pem = _obtained(node, source, folder)
    if pem is None:
        raise CorpusError(f"lego left no certificate that holds for {source.host}", str(folder))
    with replica.following(node):
        changes.put(node, source, pem)


def _obtained(node: Node, source: Source, folder: Path) -> bytes | None:
    """Return what lego has left, also before it was killed; None when it does not hold."""
    chain, key = (Path(path) for path in lego.files(folder, source.names[0]))
    try:
        texts = chain.read_text(), key.read_text()
        pems = [checking.check(node.host, name, *texts) for name in source.names]
    except (OSError, InvalidInput):
        return None
    return pems[0]


def _environment(settings: Settings, challenge: str) -> dict[str, str]:
    """Return what lego needs in its environment; raises InvalidInput when settings lack it."""
    if not settings.acme_email:
        raise InvalidInput("nothing is obtained without acme_email", mend="set it in node.toml")
    if challenge == "http":
        return lego.environment("", "", settings.acme_ca)
    if not settings.pdns_url:
        raise InvalidInput("no PowerDNS server is known", mend="set pdns_url in node.toml")
    return lego.environment(settings.pdns_url, _key(settings.pdns_key).reveal(), settings.acme_ca)


def _key(path: Path) -> Secret:
    try:
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise InvalidInput("others may read the key of PowerDNS's API", str(path), "chmod 600")
        return Secret(path.read_text().strip())
    except FileNotFoundError:
        raise NotFound("no key of PowerDNS's API", str(path), "write it there, mode 0600") from None
