"""X.509 certificates and keys: openssl(1). Keys come on standard input, never as an argument."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_TIME = "%Y-%m-%d %H:%M:%SZ"


@dataclass(frozen=True)
class Certificate:
    """What a certificate says: whose it is, who signed it, for which names, from when to when."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime
    public_key: str


def self_signed(name: str, days: int) -> list[str]:
    """Return the command that prints a new key and a certificate that it signs itself."""
    return ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", "-", "-out", "-", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", "-days", str(days)]  # fmt: skip


def show() -> list[str]:
    """Return the command that prints what ``parse`` reads of a certificate on its input."""
    return ["openssl", "x509", "-noout", "-subject", "-issuer", "-nameopt", "RFC2253",
            "-startdate", "-enddate", "-dateopt", "iso_8601", "-ext", "subjectAltName",
            "-pubkey"]  # fmt: skip


def parse(text: str) -> Certificate | None:
    """Return the certificate that ``show`` printed; None when it printed none."""
    fields = dict(re.findall(r"^(subject|issuer|notBefore|notAfter)=(.*)$", text, re.MULTILINE))
    key = _BLOCK.search(text)
    if len(fields) != 4 or key is None:
        return None
    return Certificate(
        fields["subject"].strip(),
        fields["issuer"].strip(),
        tuple(name.lower() for name in re.findall(r"\bDNS:([^\s,]+)", text)),
        _time(fields["notBefore"]),
        _time(fields["notAfter"]),
        key[0],
    )


def _time(text: str) -> datetime:
    return datetime.strptime(text.strip(), _TIME).replace(tzinfo=UTC)


def public_key() -> list[str]:
    """Return the command that prints the public key of the private one on its input.

    One that is locked by a passphrase fails: there is nobody to ask.
    """
    return ["openssl", "pkey", "-pubout", "-passin", "pass:"]


def blocks(text: str, kind: str) -> list[str]:
    """Return the blocks of PEM (RFC 7468) in ``text`` whose label ends in ``kind``."""
    return [found[0] for found in _BLOCK.finditer(text) if found[1].endswith(kind)]
