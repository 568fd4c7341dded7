"""The setting ``notify``: whom to tell. It is checked here, at the edge, once."""

from __future__ import annotations

import base64
import binascii
import contextlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from corpus.hosts.files import write_atomic
from corpus.model.errors import InvalidInput
from corpus.model.secret import Secret
from corpus.project.place import Project

KEYS: Final = ("mail", "from", "hooks")
MOST_ADDRESSES: Final = 20
MOST_HOOKS: Final = 10
_LONGEST_URL = 2000
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*", re.ASCII)
_IN_URL = re.compile(r"[!-~]*", re.ASCII)


@dataclass(frozen=True)
class Hook:
    """A web hook: where to post, and the key that the posts are signed with."""

    url: str
    secret: Secret

    @property
    def parts(self) -> SplitResult:
        """The parts of the address."""
        return urlsplit(self.url)

    @property
    def shown(self) -> str:
        """Scheme and host: the rest of an address may be a secret of its own."""
        return f"{self.parts.scheme}://{self.parts.netloc}"

    @property
    def key(self) -> bytes:
        """The bytes of the secret (Standard Webhooks: base64 after ``whsec_``)."""
        return _decoded(self.secret.reveal())


@dataclass(frozen=True)
class Notify:
    """Whom to tell. ``sender`` is the address that mail is from, empty for the usual one."""

    mail: tuple[str, ...] = ()
    sender: str = ""
    hooks: tuple[Hook, ...] = ()

    @property
    def secrets(self) -> list[str]:
        """What no log may show."""
        return [hook.secret.reveal() for hook in self.hooks]


def parse(content: Any, where: str) -> Notify:
    """Return the setting as a value. Raises InvalidInput, which never repeats a secret."""
    if not isinstance(content, Mapping) or not set(content) <= set(KEYS):
        _fail(where, "notify", f"a mapping; its keys are {', '.join(KEYS)}")
    mail, hooks = content.get("mail", []), content.get("hooks", [])
    if not isinstance(mail, list) or len(mail) > MOST_ADDRESSES:
        _fail(where, "notify.mail", f"a list of at most {MOST_ADDRESSES} mail addresses")
    if not isinstance(hooks, list) or len(hooks) > MOST_HOOKS:
        _fail(where, "notify.hooks", f"a list of at most {MOST_HOOKS} mappings of url and secret")
    sender = content.get("from", "")
    return Notify(
        mail=tuple(dict.fromkeys(_address(one, where, "notify.mail") for one in mail)),
        sender=_address(sender, where, "notify.from") if sender else "",
        hooks=tuple(_hook(one, where) for one in hooks),
    )


def keep(project: Project, content: Mapping[str, Any]) -> None:
    """Remember the setting, for the end of this deployment and for a recovery."""
    path = project.paths.notify
    if not any(content.get(key) for key in ("mail", "hooks")):
        path.unlink(missing_ok=True)
        return
    data = json.dumps(content).encode()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    write_atomic(path, data, 0o600)


def kept(project: Project) -> Notify:
    """Return the setting that was remembered. Raises InvalidInput, OSError."""
    path = project.paths.notify
    try:
        return parse(json.loads(path.read_bytes()), str(path))
    except FileNotFoundError:
        return Notify()
    except ValueError as error:
        raise InvalidInput("not the setting notify", where=str(path)) from error


def _address(value: Any, where: str, key: str) -> str:
    """Return a mail address (RFC 5321 without quotes, literals and UTF-8)."""
    local, at, domain = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    good = at and len(local) <= 64 and len(domain) <= 253 and _LOCAL.fullmatch(local)
    if not good or not _NAME.fullmatch(domain):
        _fail(where, key, f"mail addresses such as ann@example.org, not {ascii(value)[:80]}")
    return str(value)


def _hook(value: Any, where: str) -> Hook:
    if not isinstance(value, Mapping) or set(value) != {"url", "secret"}:
        _fail(where, "notify.hooks", "a list of mappings of url and secret")
    url, secret = value["url"], value["secret"]
    if not isinstance(url, str) or not _is_web_address(url):
        _fail(where, "notify.hooks.url", "an http:// or https:// address without a password")
    try:
        if not 24 <= len(_decoded(secret)) <= 64:
            raise ValueError
    except (ValueError, TypeError, AttributeError, binascii.Error):
        _fail(where, "notify.hooks.secret", "whsec_ and 24 to 64 bytes in base64")
    return Hook(url, Secret(secret))


def _decoded(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)


def _is_web_address(url: str) -> bool:
    if len(url) > _LONGEST_URL or not _IN_URL.fullmatch(url) or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    return (
        parts.scheme in ("http", "https")
        and "@" not in parts.netloc
        and not parts.fragment
        and port != 0
        and (bool(_NAME.fullmatch(host)) or _is_ip(host))
    )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _fail(where: str, key: str, wanted: str) -> NoReturn:
    raise InvalidInput(f"{key} must be {wanted}", where=where, mend="correct it and push again")
