"""Platform types and the modes in which a project runs (RFC, «Project installation and
operation modes»)."""

from __future__ import annotations

from enum import StrEnum

from corpus.model.errors import InvalidInput


class Mode(StrEnum):
    """How a project runs: from its checkout, built and archived, or unpacked from a release."""

    EDITABLE = "editable"
    COOKING = "cooking"
    FINAL = "final"


class Platform(StrEnum):
    """The type of an environment; it sets the default mode."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"

    @property
    def default_mode(self) -> Mode:
        """The mode of a project that asks for none."""
        return _DEFAULT[self]


_DEFAULT = {
    Platform.DEV: Mode.EDITABLE,
    Platform.STAGING: Mode.COOKING,
    Platform.PROD: Mode.FINAL,
}


def parse_mode(text: str) -> Mode:
    """Return the mode named ``text``; ``mixin``, the RFC's other word, means editable."""
    try:
        return Mode.EDITABLE if text == "mixin" else Mode(text)
    except ValueError:
        raise InvalidInput(
            f"not a mode: {text!r:.40}", mend="use editable (also: mixin), cooking or final"
        ) from None


def parse_platform(text: str) -> Platform:
    """Return the platform type named ``text``."""
    try:
        return Platform(text)
    except ValueError:
        raise InvalidInput(
            f"not a platform type: {text!r:.40}", mend="use dev, staging or prod"
        ) from None
