"""ssh-keygen(1) as a signer of files: SSHSIG signatures in the namespace of releases.

Source: ssh-keygen(1), ALLOWED SIGNERS; PROTOCOL.sshsig of OpenSSH.
"""

from __future__ import annotations

from pathlib import Path

NAMESPACE = "corpus-release"


def public_key(key: Path) -> list[str]:
    """Return the command that prints the public key of a private one."""
    return ["ssh-keygen", "-y", "-f", str(key)]


def sign(key: Path) -> list[str]:
    """Return the command that prints the signature of what it reads."""
    return ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)]


def check(signers: Path, signer: str, signature: Path) -> list[str]:
    """Return the command that fails unless ``signer`` signed what it reads."""
    return ["ssh-keygen", "-q", "-Y", "verify", "-n", NAMESPACE, "-f", str(signers), "-I", signer,
            "-s", str(signature)]  # fmt: skip
