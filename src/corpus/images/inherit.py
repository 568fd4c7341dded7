"""Read this machine's own configuration: name servers, certificates, apt, pip.

What only this machine can reach (loopback, local files) is left out: a container cannot.
"""

from __future__ import annotations

import configparser
import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from corpus.images import sources

_RESOLV = ("etc/resolv.conf", "run/systemd/resolve/resolv.conf")
_CERTIFICATES = "usr/local/share/ca-certificates"
PIP_KEYS = ("index-url", "extra-index-url", "proxy", "trusted-host")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_reachable(url: str) -> bool:
    """Tell whether a container could reach ``url``: it is HTTP(S), and not on loopback."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and not _is_loopback(parts.hostname or "localhost")


def parse_resolv(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (name servers, search domains) of a resolv.conf, loopback servers left out."""
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1 and not _is_loopback(words[1]):
            servers.append(words[1])
        elif words[:1] in (["search"], ["domain"]):
            search = [word for word in words[1:] if word != "."]
    return tuple(servers), tuple(search)


def resolvers(root: Path = Path("/")) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the name servers and search domains of this machine.

    Where resolv.conf names a local stub, those that systemd-resolved asks are taken.
    """
    for name in _RESOLV:
        servers, search = parse_resolv(_read(root / name))
        if servers:
            return servers, search
    return (), ()


def certificates(root: Path = Path("/")) -> tuple[tuple[str, str], ...]:
    """Return the certificate authorities that were added to this machine: (name, PEM)."""
    folder = root / _CERTIFICATES
    found = [
        (path.relative_to(folder).as_posix().replace("/", "-"), _read(path))
        for path in sorted(folder.rglob("*.crt"))
    ]
    return tuple((name, text) for name, text in found if "BEGIN CERTIFICATE" in text)


def apt_sources(release: str, root: Path = Path("/")) -> tuple[str, ...]:
    """Return this machine's Debian sources for ``release``, one line each."""
    return sources.debian(_apt_entries(root / "etc/apt"), release)


def _apt_entries(folder: Path) -> Iterator[sources.Source]:
    yield from sources.parse_lines(_read(folder / "sources.list"))
    for path in sorted((folder / "sources.list.d").glob("*")):
        if path.suffix == ".list":
            yield from sources.parse_lines(_read(path))
        elif path.suffix == ".sources":
            yield from sources.parse_deb822(_read(path))


def parse_apt_proxies(dump: str) -> dict[str, str]:
    """Return {"http": URL, …} from what ``apt-config dump`` prints."""
    found: dict[str, str] = {}
    for line in dump.splitlines():
        name, _, value = line.partition(" ")
        words = name.lower().split("::")
        url = value.strip().rstrip(";").strip('"')
        if len(words) == 3 and words[0] == "acquire" and words[2] == "proxy" and is_reachable(url):
            found[words[1]] = url
    return found


def environment_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that the environment variables name: {"http": URL, "https": URL}."""
    found: dict[str, str] = {}
    for scheme in ("http", "https"):
        url = environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY") or ""
        if is_reachable(url):
            found[scheme] = url
    return found


def pip(environ: Mapping[str, str], root: Path = Path("/")) -> dict[str, tuple[str, ...]]:
    """Return pip's settings that an image takes over (`PIP_KEYS`).

    Files and variables are those of pip's manual, "Configuration", the weakest first.
    """
    found: dict[str, tuple[str, ...]] = {}
    for path in _pip_files(environ, root):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(_read(path))
        except configparser.Error:
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= _pip_values(dict(parser.items(section)))
    variables = {
        name[4:].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_")
    }
    return found | _pip_values(variables)


def _pip_files(environ: Mapping[str, str], root: Path) -> list[Path]:
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    home = Path(environ.get("HOME", "/root"))
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [*(Path(folder) / "pip/pip.conf" for folder in reversed(shared.split(":"))),
             Path("/etc/pip.conf"), home / ".pip/pip.conf", own / "pip/pip.conf"]  # fmt: skip
    placed = [root / path.relative_to("/") for path in files if path.is_absolute()]
    return [*placed, *([Path(named)] if named else [])]


def _pip_values(values: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for key in PIP_KEYS:
        words = tuple(values.get(key, "").split())
        if key != "trusted-host":
            words = tuple(word for word in words if is_reachable(word))
        if words:
            found[key] = words
    return found
