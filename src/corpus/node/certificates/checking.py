"""A certificate is what it should be: names, time, key, chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from corpus.commands import openssl
from corpus.hosts.base import Host
from corpus.model.errors import InvalidInput


def covers(names: Sequence[str], host: str) -> bool:
    """Tell whether one of a certificate's names is ``host``, or its wildcard (RFC 6125)."""
    return host in names or f"*.{host.partition('.')[2]}" in names


def read(host: Host, block: str) -> openssl.Certificate:
    """Return what a certificate in PEM says; raises InvalidInput."""
    found = openssl.parse(host.run(openssl.show(), stdin=block, check=False).out)
    if found is None:
        raise InvalidInput("not a certificate", mend="give it in PEM: -----BEGIN CERTIFICATE-----")
    return found


def days_left(host: Host, pem: str) -> float:
    """Return for how many days the first certificate of ``pem`` is valid; below 0: it was."""
    ends = read(host, openssl.blocks(pem, "CERTIFICATE")[0]).ends
    return (ends - datetime.now(UTC)).total_seconds() / 86400


def check(host: Host, name: str, chain: str, key: str) -> bytes:
    """Return certificate, chain and key as the front reads them; raises InvalidInput.

    The certificate is for ``name``, valid now and of that key; each one after it in ``chain``
    has signed the one before.
    """
    blocks = openssl.blocks(chain, "CERTIFICATE")
    certificates = [read(host, block) for block in blocks]
    if not certificates:
        raise InvalidInput("no certificate was given", mend="give the chain in PEM")
    first, now = certificates[0], datetime.now(UTC)
    if not covers(first.names, name):
        said = ", ".join(first.names) or "no name"
        raise InvalidInput(f"the certificate is for {said}, not for {name}"[:400],
                           mend="put the server's own certificate first")  # fmt: skip
    if not first.begins <= now < first.ends:
        raise InvalidInput(
            f"the certificate is valid from {first.begins:%Y-%m-%d} to {first.ends:%Y-%m-%d}",
            mend="renew it",
        )
    _check_chain(certificates)
    keys = openssl.blocks(key, "PRIVATE KEY")
    done = host.run(openssl.public_key(), stdin="\n".join(keys), check=False)
    if len(keys) != 1 or done.code != 0:
        raise InvalidInput("not a private key that can be read",
                           mend="give one in PEM, without a passphrase")  # fmt: skip
    if openssl.blocks(done.out, "PUBLIC KEY") != [first.public_key]:
        raise InvalidInput("the key is not the certificate's", mend="give the key it was made with")
    return ("\n".join([*blocks, keys[0]]) + "\n").encode()


def _check_chain(certificates: Sequence[openssl.Certificate]) -> None:
    for below, above in pairwise(certificates):
        if below.issuer != above.subject:
            raise InvalidInput(
                f"the chain is out of order: {below.subject} was signed by {below.issuer}, and "
                f"then comes {above.subject}"[:400],
                mend="order it: the server's, the one that signed it, the one that signed that",
            )
