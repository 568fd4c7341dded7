"""What an image takes over from the machine that makes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The settings of an image; `Settings.load()` inherits them from this machine."""

    suite: str = "bookworm"
    """Debian's release."""
    nameservers: tuple[str, ...] = ()
    """Addresses written to the image's resolv.conf."""
