"""Sizes in bytes, written as people write them: ``5G``, ``512M``, ``10GiB``."""

from __future__ import annotations

import re
from typing import Final

from corpus.model.errors import InvalidInput

UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,15})(?:\.(\d{1,3}))?\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_SHARE = re.compile(r"(\d{1,3})\s*%", re.ASCII)


def parse_size(text: str | int) -> int:
    """Return the bytes of ``text``; units are powers of 1024. Raises InvalidInput."""
    if isinstance(text, bool):
        raise InvalidInput(f"not a size: {text!r}", mend="write a size such as 512M or 5G")
    if isinstance(text, int):
        size = text
    else:
        found = _SIZE.fullmatch(text.strip())
        if not found:
            raise InvalidInput(f"not a size: {text!r:.60}", mend="write a size such as 512M or 5G")
        whole, part, unit = found.groups()
        factor = UNITS[unit.upper()]
        size = int(whole) * factor
        if part:
            size += int(part) * factor // 10 ** len(part)
    if not 0 < size < 1 << 60:
        raise InvalidInput(
            f"a size of {size} bytes is out of range", mend="give more than 0 and less than 1024P"
        )
    return size


def parse_share(text: str, whole: int) -> int:
    """Return the bytes of a size, or of a share of ``whole`` such as ``50%``; InvalidInput."""
    found = _SHARE.fullmatch(text.strip())
    if not found:
        return parse_size(text)
    if not 0 < int(found[1]) <= 100:
        raise InvalidInput(f"not a share: {text!r:.60}", mend="write 1% to 100%, or a size")
    return whole * int(found[1]) // 100


def format_size(size: int) -> str:
    """Return ``size`` bytes in the largest unit that keeps it at 1 or more: ``1.5G``."""
    for unit in ("T", "G", "M", "K"):
        factor = UNITS[unit]
        if size >= factor:
            value = f"{size / factor:.1f}".removesuffix(".0")
            return f"{value}{unit}"
    return f"{size}B"
