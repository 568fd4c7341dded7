"""Who made a release: the environment's own key, and the keys that it trusts."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
from pathlib import Path

from corpus.commands import signing, ssh
from corpus.hosts.files import write_atomic
from corpus.model.errors import CommandFailed, ReleaseRefused
from corpus.project.place import Place, Project

_TIMEOUT = 30


def signer_of(place: Place) -> str:
    """Return the name that this environment signs with: its id, else the machine's name."""
    told = str(place.facts().get("id") or socket.gethostname())
    return re.sub(r"[^A-Za-z0-9._-]", "-", told).lstrip("._-")[:128] or "unnamed"


def own_key(place: Place) -> Path:
    """Return the private key that signs here, made when there is none yet."""
    key = place.release_key
    if key.exists():
        return key
    place.etc.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".release_key.", dir=place.etc) as folder:
        made = Path(folder) / "key"
        place.host.run(ssh.make_key(made), timeout=_TIMEOUT)
        made.chmod(0o600)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another deployment was first
            os.link(made, key)
    return key


def public_key(place: Place) -> str:
    """Return the public key that this environment's releases are checked with."""
    told = place.host.run(signing.public_key(own_key(place)), timeout=_TIMEOUT).out
    return " ".join(told.split()[:2])


def sign(place: Place, data: bytes) -> bytes:
    """Return the signature of ``data`` by this environment."""
    return place.host.run(signing.sign(own_key(place)), stdin=data, timeout=_TIMEOUT).out.encode()


def check(project: Project, data: bytes, signature: bytes, signer: str) -> None:
    """Raise ReleaseRefused unless ``signer`` is trusted for the project and signed ``data``."""
    place, who = project.place, principal(project.name, signer)
    with tempfile.TemporaryDirectory(prefix="corpus-signers-") as folder:
        signers, file = Path(folder) / "signers", Path(folder) / "signature"
        signers.write_text(_trusted(place, signer))
        write_atomic(file, signature, 0o600, durable=False)
        try:
            place.host.run(signing.check(signers, who, file), stdin=data, timeout=_TIMEOUT)
        except CommandFailed as error:
            raise ReleaseRefused(
                f"the release is not signed by an environment that is trusted here "
                f"(it says {signer}): {error.output.strip()[-200:]}",
                where=str(place.signers),
                mend="pair this environment with the one that made the release",
            ) from None


def principal(project: str, signer: str) -> str:
    """Return what an environment is called that is trusted for a project, or for all (``*``)."""
    return f"{project}@{signer}"


def trusted(who: str, key: str) -> str:
    """Return the line of the allowed signers that trusts a public key as that of ``who``."""
    return f'{who} namespaces="{signing.NAMESPACE}" {key}\n'


def _trusted(place: Place, signer: str) -> str:
    """Return the allowed signers: those of the pairs, and this environment where it signed."""
    try:
        others = place.signers.read_text()
    except FileNotFoundError:
        others = ""
    if signer != signer_of(place) or not place.release_key.exists():
        return others
    own = trusted(principal("*", signer), public_key(place))
    return f"{others.rstrip()}\n{own}"
