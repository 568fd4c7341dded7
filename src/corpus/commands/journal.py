"""logger(1): a line in the machine's journal."""

from __future__ import annotations


def note(tag: str, text: str) -> list[str]:
    """Return the command that writes ``text`` as a line of ``tag``."""
    return ["logger", f"--tag={tag}", "--priority=auth.info", "--", text]
