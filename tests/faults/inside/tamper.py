"""Make a release of a project what nobody may deploy: ``tamper.py PROJECT DEPLOYMENT KIND``.

It runs in the environment whose ``releases/`` has it, with Python alone. The kinds of ``SIGNED``
are signed anew by the key of that environment: staging itself is the one that lies.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT, DEPLOYMENT, KIND = sys.argv[1:]
RELEASES = Path("/srv/projects") / PROJECT / "releases"
ARCHIVE = RELEASES / f"{PROJECT}-{DEPLOYMENT}.tar.zst"
MANIFEST = RELEASES / f"{PROJECT}-{DEPLOYMENT}.manifest.json"
KEY = Path("/etc/corpus/release_key")
BOMB = 3 << 30  # bytes: more than the environments of this harness hold


def truncated() -> None:
    """Cut the archive short."""
    os.truncate(ARCHIVE, ARCHIVE.stat().st_size // 2)


def flipped() -> None:
    """Change one byte in the middle of the archive."""
    data = bytearray(ARCHIVE.read_bytes())
    data[len(data) // 2] ^= 0x40
    ARCHIVE.write_bytes(data)


def forged() -> None:
    """Sign the manifest by a key that nobody knows."""
    own = Path("/run/forged-key")
    own.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(own)], check=True)
    sign(own)


def foreign() -> None:
    """Say that it was made for another architecture."""
    resign(lambda manifest: manifest.update(architecture="riscv64"))


def with_member(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> None:
    """Add a member to the archive and sign the whole anew."""
    plain = subprocess.run(["zstd", "-dcq", str(ARCHIVE)], capture_output=True, check=True).stdout
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(plain)) as old,
        tarfile.open(fileobj=made, mode="w") as new,
    ):
        for member in old.getmembers():
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
        member = tarfile.TarInfo(name)
        member.type = kind
        for key, value in more.items():
            setattr(member, key, value)
        new.addfile(member, io.BytesIO(b"x" * member.size))
    pack(made.getvalue())


def pack(data: bytes) -> None:
    """Write the archive, and a manifest that tells the truth about it."""
    packed = subprocess.run(["zstd", "-cq"], input=data, capture_output=True, check=True).stdout
    ARCHIVE.write_bytes(packed)

    def tell(manifest: dict[str, Any]) -> None:
        part = manifest["parts"][0]
        part["sha256"] = hashlib.sha256(packed).hexdigest()
        part["archive_size"] = len(packed)
        part["files"] += 1

    resign(tell)


def bomb() -> None:
    """Say that it unpacks to more than there is room for."""
    resign(lambda manifest: manifest["parts"][0].update(size=BOMB))


def resign(change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and sign it by this environment's own key."""
    manifest = json.loads(MANIFEST.read_text())
    change(manifest)
    MANIFEST.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    sign(KEY)


def sign(key: Path) -> None:
    """Write the signature of the manifest."""
    words = ["ssh-keygen", "-q", "-Y", "sign", "-n", "corpus-release", "-f", str(key)]
    text = MANIFEST.read_bytes()
    signature = subprocess.run(words, input=text, capture_output=True, check=True).stdout
    MANIFEST.with_name(MANIFEST.name + ".sig").write_bytes(signature)


KINDS: dict[str, Callable[[], None]] = {
    "truncated": truncated,
    "a byte flipped": flipped,
    "unknown signer": forged,
    "other architecture": foreign,
    "path traversal": lambda: with_member("../intruder", size=4),
    "absolute link": lambda: with_member("passwd", tarfile.SYMTYPE, linkname="/etc/passwd"),
    "escaping link": lambda: with_member("up", tarfile.SYMTYPE, linkname="../../../.corpus"),
    "device": lambda: with_member("disk", tarfile.BLKTYPE, devmajor=8, devminor=0),
    "setuid": lambda: with_member("shell", mode=0o4755, size=4),
    "too large": bomb,
}

if __name__ == "__main__":
    KINDS[KIND]()
