"""lego(1), the ACME client of Debian. Secrets go into its environment, never its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath


def obtain(
    folder: PurePath,
    names: Sequence[str],
    *,
    email: str,
    server: str,
    challenge: str,
    listen: str = "",
    resolvers: Sequence[str] = (),
) -> list[str]:
    """Return the command that obtains one certificate for ``names``, with an account in ``folder``.

    ``challenge``: ``http``, answered at ``listen`` (address:port), or ``dns`` by PowerDNS.
    ``resolvers`` (host:port) are asked which servers have a zone.
    """
    how = ["--http", "--http.port", listen] if challenge == "http" else ["--dns", "pdns"]
    how += [word for server in resolvers for word in ("--dns.resolvers", server)]
    return ["lego", "--accept-tos", "--path", str(folder), "--email", email, "--server", server,
            "--key-type", "ec256", *(word for name in names for word in ("--domains", name)),
            *how, "run"]  # fmt: skip


def environment(url: str, key: str, authority: str) -> dict[str, str]:
    """Return what lego is told beside: PowerDNS's API and its key, the file of the CA."""
    found = {"PDNS_API_URL": url, "PDNS_API_KEY": key, "LEGO_CA_CERTIFICATES": authority}
    return {name: value for name, value in found.items() if value}


def files(folder: PurePath, host: str) -> tuple[PurePath, PurePath]:
    """Return where lego leaves chain and key of a certificate whose first name is ``host``."""
    stem = host.replace("*", "_")
    return folder / "certificates" / f"{stem}.crt", folder / "certificates" / f"{stem}.key"
