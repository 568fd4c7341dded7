"""What an image takes over from the machine that makes it, and a file that says otherwise."""

from __future__ import annotations

import json
import os
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.images import inherit
from corpus.model.errors import InvalidInput, NotFound

DEFAULT_FILE = Path("/etc/corpus/images.toml")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
RELEASE = "bookworm"

KEYS: dict[str, tuple[str, ...]] = {
    "nameservers": (),
    "search": (),
    "certificates": (),
    "apt": ("sources", "proxies"),
    "pip": inherit.PIP_KEYS,
}
"""What a settings file may hold: keys, and those of a table."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Settings:
    """The settings of an image; `load` inherits each that is not given from this machine."""

    apt_sources: tuple[str, ...]
    """Debian's package sources, one line each (sources.list(5))."""
    suite: str = RELEASE
    """Debian's release."""
    arch: str = "amd64"
    """Debian's name of the processor architecture: that of this machine."""
    nameservers: tuple[str, ...] = ()
    """Addresses in the image's resolv.conf."""
    search: tuple[str, ...] = ()
    """Search domains in the image's resolv.conf."""
    certificates: tuple[tuple[str, str], ...] = ()
    """Certificate authorities trusted besides Debian's: (file name, PEM)."""
    apt_proxies: tuple[tuple[str, str], ...] = ()
    """Proxies of apt: (scheme, URL)."""
    pip: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """pip's index-url, extra-index-url, proxy and trusted-host, as far as they are set."""

    def inputs(self) -> str:
        """Return all settings as text: what an image's last layer depends on."""
        return json.dumps(asdict(self), sort_keys=True)

    def resolv_conf(self) -> str:
        """Return the image's /etc/resolv.conf."""
        lines = [f"nameserver {address}" for address in self.nameservers]
        if self.search:
            lines.insert(0, f"search {' '.join(self.search)}")
        return "".join(f"{line}\n" for line in lines)

    def apt_conf(self) -> str:
        """Return the image's apt proxies, in apt.conf(5)'s form."""
        return "".join(f'Acquire::{kind}::Proxy "{url}";\n' for kind, url in self.apt_proxies)

    def pip_conf(self) -> str:
        """Return the image's /etc/pip.conf; certificates are those that the image trusts."""
        lines = ["[global]", "disable-pip-version-check = true", f"cert = {BUNDLE}"]
        for key, values in self.pip:
            lines.append(f"{key} = {f'{chr(10)}    '.join(values)}")
        return "".join(f"{line}\n" for line in lines)


def load(
    path: Path | None = None,
    *,
    host: Host | None = None,
    environ: Mapping[str, str] = os.environ,
    root: Path = Path("/"),
) -> Settings:
    """Inherit the settings from this machine; the TOML file ``path`` overrides them.

    Without ``path`` the file is /etc/corpus/images.toml, where there is one. ``root`` is
    where this machine's files are sought. Raises InvalidInput for a file that does not say
    what it should and for a machine without name server or package source.
    """
    settings = inherited(host or Local(), environ, root)
    default = root / DEFAULT_FILE.relative_to("/")
    if path is not None or default.exists():
        settings = overridden(settings, path or default)
    if not settings.apt_sources:
        raise InvalidInput(
            f"no package source of Debian {settings.suite}",
            where="/etc/apt/sources.list, /etc/apt/sources.list.d",
            mend=f'name them in {DEFAULT_FILE}: [apt] sources = ["deb … {settings.suite} main"]',
        )
    if not settings.nameservers:
        raise InvalidInput(
            "this machine names no name server that a container could reach",
            where="/etc/resolv.conf",
            mend=f'say one in {DEFAULT_FILE}: nameservers = ["ADDRESS"]',
        )
    return settings


def inherited(host: Host, environ: Mapping[str, str], root: Path) -> Settings:
    """Return what this machine itself is configured with."""
    servers, search = inherit.resolvers(root)
    dump = host.run(["apt-config", "dump"], check=False).out
    proxies = inherit.environment_proxies(environ) | inherit.parse_apt_proxies(dump)
    pip = inherit.pip(environ, root)
    through = inherit.environment_proxies(environ).get("https")
    if through:
        pip.setdefault("proxy", (through,))
    return Settings(
        apt_sources=inherit.apt_sources(RELEASE, root),
        arch=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        nameservers=servers,
        search=search,
        certificates=inherit.certificates(root),
        apt_proxies=tuple(sorted(proxies.items())),
        pip=tuple(sorted(pip.items())),
    )


def overridden(settings: Settings, path: Path) -> Settings:
    """Return ``settings`` with what the TOML file ``path`` says put in their place."""
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not TOML: {error}", where=str(path)) from None
    _only(content, set(KEYS), path, "")
    changes: dict[str, Any] = {}
    for key in ("nameservers", "search"):
        if key in content:
            changes[key] = _texts(content[key], path, key)
    if "certificates" in content:
        changes["certificates"] = _certificates(content["certificates"], path)
    apt = _table(content, "apt", set(KEYS["apt"]), path)
    if "sources" in apt:
        changes["apt_sources"] = _texts(apt["sources"], path, "apt.sources")
    if "proxies" in apt:
        proxies = _table(apt, "proxies", {"http", "https", "ftp"}, path)
        changes["apt_proxies"] = tuple(sorted((kind, str(url)) for kind, url in proxies.items()))
    if "pip" in content:
        pip = _table(content, "pip", set(KEYS["pip"]), path)
        changes["pip"] = tuple(
            sorted((key, _texts(value, path, f"pip.{key}")) for key, value in pip.items())
        )
    return replace(settings, **changes)


def _certificates(value: object, path: Path) -> tuple[tuple[str, str], ...]:
    found = []
    for name in _texts(value, path, "certificates"):
        file = path.parent / name
        if not file.is_file() or "BEGIN CERTIFICATE" not in file.read_text(errors="replace"):
            raise InvalidInput(f"no certificate in PEM form: {file}", where=f"{path}: certificates")
        found.append((f"{file.stem}.crt", file.read_text()))
    return tuple(found)


def _table(content: Mapping[str, Any], key: str, known: set[str], path: Path) -> dict[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise InvalidInput(f"{key} is a table", where=str(path), mend=f"write [{key}]")
    _only(table, known, path, f"{key}.")
    return table


def _only(table: Mapping[str, Any], known: set[str], path: Path, prefix: str) -> None:
    for key in table:
        if key not in known:
            names = ", ".join(sorted(known))
            raise InvalidInput(f"unknown setting: {prefix}{key}", str(path), f"one of: {names}")


def _texts(value: object, path: Path, key: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise InvalidInput(f"{key} is a list of strings", where=str(path))
    if any("\n" in item for item in values):
        raise InvalidInput(f"{key} holds a line break", where=str(path))
    return tuple(values)
