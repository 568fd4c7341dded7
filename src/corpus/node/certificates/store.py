"""Where certificates lie: a folder each, with who brings it and, once it is there, the PEM.

A damaged one is its own site's misfortune: one whose record cannot be read is served as long as its
PEM is whole, and not renewed; a PEM that is not whole is as one that is not there.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from corpus.commands import openssl
from corpus.hosts.files import read_json, write_atomic
from corpus.model.errors import CorpusError
from corpus.model.names import host_pattern
from corpus.node.context import Node
from corpus.node.settings import Settings

ACME = "_acme"  # the folder of lego's own, beside those of certificates
_SOURCE, _PEM, _DEFAULT = "source.json", "certificate.pem", "default.pem"
_TEN_YEARS = 3650
_CHALLENGES = ("", "http", "dns")


@dataclass(frozen=True)
class Source:
    """A certificate's first name, all its names, and by which ACME challenge it is obtained.

    ``challenge``: ``http``, ``dns``, or empty for one that was brought by hand.
    """

    host: str
    names: tuple[str, ...]
    challenge: str = ""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.host.replace("*", "_")


def prepare(node: Node) -> None:
    """Have a certificate that the node signed itself, for names that have none."""
    folder = node.settings.certificates
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if not whole(folder / _DEFAULT):
        made = node.host.run(openssl.self_signed(socket.gethostname()[:60], _TEN_YEARS)).out
        write_atomic(folder / _DEFAULT, made.encode(), 0o600)


def whole(path: Path) -> bool:
    """Tell whether a file holds a certificate and its key, so that a proxy can serve with it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=lambda: b"")
    except (OSError, ValueError):  # SSLError is an OSError
        return False
    return True


def everything(settings: Settings) -> list[Source]:
    """Return all certificates that there are or shall be, by name; those that can be read."""
    return [found for found in _read(settings).values() if isinstance(found, Source)]


def damaged(settings: Settings) -> dict[Path, str]:
    """Return what is wrong with each record, and each certificate, that is damaged."""
    wrong = {path: found for path, found in _read(settings).items() if isinstance(found, str)}
    pems = [settings.certificates / _DEFAULT, *settings.certificates.glob(f"*/{_PEM}")]
    broken = [path for path in pems if path.exists() and not whole(path)]
    return wrong | dict.fromkeys(broken, "not a certificate with its key")


def is_record(path: Path) -> bool:
    """Tell whether a file is a certificate's record, and not the certificate."""
    return path.name == _SOURCE


def _read(settings: Settings) -> dict[Path, Source | str]:
    """Return each record, or what is wrong with it."""
    found: dict[Path, Source | str] = {}
    for path in sorted(settings.certificates.glob(f"*/{_SOURCE}")):
        try:
            source = read_json(path, partial(_source, path), "a certificate's record")
        except CorpusError as error:
            found[path] = error.what
        else:
            found |= {path: source} if source else {}
    return found


def strays(settings: Settings) -> list[Path]:
    """Return the folders of certificates that no record is in, which somebody who died left."""
    folders = [path for path in settings.certificates.iterdir() if path.is_dir()]
    known = [path for path in folders if path.name == ACME or (path / _SOURCE).exists()]
    return sorted(set(folders) - set(known))


def _source(path: Path, given: Any) -> Source:
    names = tuple(host_pattern(name) for name in given["names"])
    source = Source(host_pattern(given["host"]), names, given["challenge"])
    if source.name != path.parent.name:
        raise ValueError(f"it is that of {source.host}")
    if source.challenge not in _CHALLENGES:
        raise ValueError(f"not a challenge: {source.challenge!r:.20}")
    return source


def find(settings: Settings, host: str) -> Source | None:
    """Return the certificate whose first name is ``host``, or None."""
    return next((one for one in everything(settings) if one.host == host), None)


def pems(settings: Settings) -> dict[str, bytes]:
    """Return certificates with chain and key, by name; first the node's own, which is default."""
    paths = {"_default": settings.certificates / _DEFAULT}
    folders = sorted(path.parent for path in settings.certificates.glob(f"*/{_SOURCE}"))
    paths |= {folder.name: folder / _PEM for folder in folders}
    return {name: path.read_bytes() for name, path in paths.items() if whole(path)}


def pem_path(settings: Settings, source: Source) -> Path:
    """Return where a certificate lies with its chain and key, once it is there."""
    return settings.certificates / source.name / _PEM


def pem(settings: Settings, source: Source) -> bytes | None:
    """Return a certificate with chain and key; None while it is not there, or is damaged."""
    path = pem_path(settings, source)
    return path.read_bytes() if whole(path) else None


def save(settings: Settings, source: Source, pem: bytes | None = None) -> None:
    """Write a certificate's record, and the certificate where there is one."""
    text = json.dumps(asdict(source), indent=2) + "\n"
    folder = settings.certificates / source.name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if pem is not None:
        write_atomic(folder / _PEM, pem, 0o600)
    write_atomic(folder / _SOURCE, text.encode(), 0o600)


def put_back(settings: Settings, source: Source, before: Source | None, pem: bytes | None) -> None:
    """Undo what was saved of ``source``: before there was this record, or None, and this PEM."""
    if before is None:
        remove(settings, source)
        return
    save(settings, before, pem)
    if pem is None:
        pem_path(settings, before).unlink(missing_ok=True)


def known(settings: Settings, source: Source) -> bool:
    """Tell whether there is a record of a certificate, be it damaged."""
    return (settings.certificates / source.name / _SOURCE).exists()


def remove(settings: Settings, source: Source) -> None:
    """Forget a certificate; its record goes last but for the folder."""
    folder = settings.certificates / source.name
    for name in (_PEM, _SOURCE):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
