"""Where certificates lie: a folder each, with who brings it and, once it is there, the PEM."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.commands import openssl
from corpus.hosts.files import write_atomic
from corpus.model.errors import CorpusError
from corpus.node.context import Node
from corpus.node.settings import Settings

ACME = "_acme"  # the folder of lego's own, beside those of certificates
_SOURCE, _PEM, _DEFAULT = "source.json", "certificate.pem", "default.pem"
_TEN_YEARS = 3650


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
    if not (folder / _DEFAULT).exists():
        made = node.host.run(openssl.self_signed(socket.gethostname()[:60], _TEN_YEARS)).out
        write_atomic(folder / _DEFAULT, made.encode(), 0o600)


def everything(settings: Settings) -> list[Source]:
    """Return all certificates that there are or shall be, by name."""
    found = []
    for path in sorted(settings.certificates.glob(f"*/{_SOURCE}")):
        try:
            given = json.loads(path.read_text())
            found.append(Source(given["host"], tuple(given["names"]), given["challenge"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(
                f"a certificate's record is damaged: {error}", str(path), "remove its folder"
            ) from None
    return found


def strays(settings: Settings) -> list[Path]:
    """Return the folders of certificates that no record is in, which somebody who died left."""
    folders = [path for path in settings.certificates.iterdir() if path.is_dir()]
    known = [path for path in folders if path.name == ACME or (path / _SOURCE).exists()]
    return sorted(set(folders) - set(known))


def find(settings: Settings, host: str) -> Source | None:
    """Return the certificate whose first name is ``host``, or None."""
    return next((one for one in everything(settings) if one.host == host), None)


def pems(settings: Settings, sources: Iterable[Source]) -> dict[str, bytes]:
    """Return certificates with chain and key, by name; first the node's own, which is default."""
    paths = {"_default": settings.certificates / _DEFAULT}
    paths |= {source.name: pem_path(settings, source) for source in sources}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def pem_path(settings: Settings, source: Source) -> Path:
    """Return where a certificate lies with its chain and key, once it is there."""
    return settings.certificates / source.name / _PEM


def pem(settings: Settings, source: Source) -> bytes | None:
    """Return a certificate with chain and key; None while it is not there."""
    try:
        return pem_path(settings, source).read_bytes()
    except FileNotFoundError:
        return None


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


def remove(settings: Settings, source: Source) -> None:
    """Forget a certificate; its record goes last but for the folder."""
    folder = settings.certificates / source.name
    for name in (_PEM, _SOURCE):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
