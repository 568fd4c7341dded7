"""Names that arrive from people and tenants, checked once at the edge."""

from __future__ import annotations

import re
from uuid import UUID

from corpus.model.errors import InvalidInput, InvalidName

# A project's name and NAME-app are Unix accounts, so useradd's limits hold: 32 bytes, ASCII.
_PROJECT = re.compile(r"[a-z][a-z0-9-]{0,26}[a-z0-9]|[a-z]", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_LAB = re.compile(r"[a-z][a-z0-9]{0,7}", re.ASCII)

# Accounts and groups of a Debian system that a project must not be confused with.
RESERVED = frozenset(
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats "
    "nobody sshd messagebus systemd-network systemd-resolve systemd-timesync corpus "
    "corpus-projects corpus-releases salt git "
    "adm tty disk sudo audio video staff users nogroup shadow utmp kmem dialout plugdev".split()
)


def project_name(name: object) -> str:
    """Return ``name`` when a project may bear it; raises InvalidName.

    Lower-case letters, digits and inner hyphens, a letter first, 28 characters at most (it
    is a Unix account, see useradd(8)); not the name of a system account, and not ending in
    ``-app``, as the accounts do that applications run as.
    """
    mend = "use 1 to 28 lower-case letters, digits and inner hyphens, beginning with a letter"
    if not isinstance(name, str):
        raise InvalidName(f"a project's name is a text, not {type(name).__name__}", mend=mend)
    if not _PROJECT.fullmatch(name):
        shown = ascii(name) if len(name) <= 40 else f"{name[:40]!a}… ({len(name)} characters)"
        raise InvalidName(f"not a project name: {shown}", mend=mend)
    if name in RESERVED or name.endswith("-app"):
        raise InvalidName(f"the name {name!r} belongs to the system", mend="choose another name")
    return name


def host_name(name: object) -> str:
    """Return the DNS name ``name`` in lower case (RFC 1123); raises InvalidName."""
    mend = "use labels of letters, digits and inner hyphens, joined by dots"
    if not isinstance(name, str) or not 0 < len(name) <= 253:
        raise InvalidName(f"not a host name: {ascii(name)[:60]}", mend=mend)
    lower = name.lower().removesuffix(".")
    if not all(_LABEL.fullmatch(label) for label in lower.split(".")):
        raise InvalidName(f"not a host name: {ascii(name)[:60]}", mend=mend)
    return lower


def host_pattern(name: object) -> str:
    """Return a DNS name, or ``*.`` and one for all names below it; raises InvalidName."""
    if not isinstance(name, str) or not name.startswith("*."):
        return host_name(name)
    below = host_name(name[2:])
    if "." not in below:
        raise InvalidName(
            f"not a host name: {ascii(name)[:60]}", mend="leave two labels: *.example.org"
        )
    return f"*.{below}"


def environment_id(text: object) -> str:
    """Return the canonical UUID of an environment; raises InvalidInput."""
    try:
        found = str(UUID(str(text)))
    except ValueError:
        found = ""
    if not found or found != str(text).lower():
        raise InvalidInput(
            f"not an environment id: {ascii(text)[:60]}",
            mend="give the UUID that create printed, or list the environments",
        )
    return found


def lab_name(name: object) -> str:
    """Return ``name`` when a lab may bear it (it becomes part of an interface's name)."""
    if not isinstance(name, str) or not _LAB.fullmatch(name):
        raise InvalidName(
            f"not a lab name: {ascii(name)[:60]}",
            mend="use 1 to 8 lower-case letters and digits, beginning with a letter",
        )
    return name
