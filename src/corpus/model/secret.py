"""A text that must not be shown."""

from __future__ import annotations


class Secret:
    """Hold a secret text; every way of printing it gives a mask.

    ``reveal`` is the only way out, so that each use can be found by its name.
    """

    __slots__ = ("_value",)
    mask = "********"

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.mask})"

    def __str__(self) -> str:
        return self.mask

    def __format__(self, spec: str) -> str:
        return format(self.mask, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled: hand over a file with mode 0600 instead")


def masked(text: str, secrets: list[str], mask: str = Secret.mask) -> str:
    """Return ``text`` with every one of ``secrets`` (4 characters or more) replaced by the mask."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, mask)
    return text
