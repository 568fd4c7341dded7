"""systemctl(1)."""

from __future__ import annotations

from collections.abc import Sequence


def command(verb: str, units: Sequence[str] = ()) -> list[str]:
    """Return ``systemctl VERB UNIT…``, never asking for a password and never paging."""
    return ["systemctl", "--no-ask-password", "--no-pager", "--quiet", verb, "--", *units]


def reload() -> list[str]:
    """Return the command that makes systemd read its units anew."""
    return ["systemctl", "--no-ask-password", "daemon-reload"]


def show(units: Sequence[str]) -> list[str]:
    """Return the command that prints each unit's name and state, in paragraphs."""
    return ["systemctl", "--no-pager", "show", "--property=Id,ActiveState,Result,LoadState", "--",
            *units]  # fmt: skip


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
