"""systemctl(1)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import PurePath

_PLAIN = re.compile(rb"[A-Za-z0-9:_.]")


def command(verb: str, units: Sequence[str] = (), *, wait: bool = True) -> list[str]:
    """Return ``systemctl VERB UNIT…``, never asking for a password and never paging.

    Without ``wait`` it ends when systemd has taken the order.
    """
    how = [] if wait else ["--no-block"]
    return ["systemctl", "--no-ask-password", "--no-pager", "--quiet", *how, verb, "--", *units]


def reload() -> list[str]:
    """Return the command that makes systemd read its units anew."""
    return ["systemctl", "--no-ask-password", "daemon-reload"]


def show(units: Sequence[str]) -> list[str]:
    """Return the command that prints each unit's name and state, in paragraphs."""
    return ["systemctl", "--no-pager", "show", "--property=Id,ActiveState,Result,LoadState", "--",
            *units]  # fmt: skip


def system_state() -> list[str]:
    """Return the command that prints how far the boot is: ``running``, ``degraded``, …"""
    return ["systemctl", "is-system-running"]


def running_services(*, starting: bool = False) -> list[str]:
    """Return the command that prints the services that run, a line each, the name first.

    ``starting``: also those that are starting, which is not the pause before another try.
    """
    states = "running,start,start-post" if starting else "running"
    return ["systemctl", "--no-pager", "--plain", "--no-legend", "--type=service",
            f"--state={states}", "list-units"]  # fmt: skip


def parse_units(text: str) -> list[str]:
    """Return the names that ``list-units`` printed."""
    return [line.split()[0] for line in text.splitlines() if line.split()]


def mount_unit(path: PurePath) -> str:
    """Return the name that the unit mounting ``path`` must bear (systemd-escape(1)).

    Slashes become hyphens; any other byte that is no letter, digit or one of ``:_.``, and a
    dot at the beginning, becomes ``\\xNN``.
    """
    text = "/".join(part for part in str(path).split("/") if part)
    return f"{_escape(text) if text else '-'}.mount"


def _escape(text: str) -> str:
    found = ""
    for place, byte in enumerate(bytes((code,)) for code in os.fsencode(text)):
        plain = _PLAIN.fullmatch(byte) and not (place == 0 and byte == b".")
        found += "-" if byte == b"/" else byte.decode() if plain else f"\\x{byte[0]:02x}"
    return found


def mount_text(description: str, source: PurePath, target: PurePath) -> str:
    """Return the unit that shows ``source`` at ``target`` from each boot on (systemd.mount(5)).

    It is up before ``local-fs.target``, so before every ordinary service. It is unmounted
    lazily: a process that works in ``target`` does not keep it.
    """
    what, where = (str(path).replace("%", "%%") for path in (source, target))
    return (
        f"[Unit]\nDescription={description}\n\n"
        f"[Mount]\nWhat={what}\nWhere={where}\nType=none\nOptions=bind\nLazyUnmount=yes\n"
    )


def parse_show(text: str) -> dict[str, dict[str, str]]:
    """Return for each unit its properties, from what ``show`` prints."""
    found: dict[str, dict[str, str]] = {}
    for paragraph in text.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in paragraph.splitlines() if "=" in line)
        if "Id" in values:
            found[values["Id"]] = values
    return found


def journal(units: Sequence[str], lines: int = 15) -> list[str]:
    """Return the command that prints the last lines that the units logged."""
    return ["journalctl", "--no-pager", "--quiet", f"--lines={lines}", "--output=cat",
            *(f"--unit={unit}" for unit in units)]  # fmt: skip
