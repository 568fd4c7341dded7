"""What a release is made for: the machine's architecture, distribution and Python."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

_PYTHON = Path("/usr/bin/python3")


def architecture() -> str:
    """Return the machine's architecture, as ``x86_64``."""
    return os.uname().machine


def base() -> str:
    """Return what must be the same where a release runs, as ``debian-12 python-3.11``."""
    try:
        told = platform.freedesktop_os_release()
    except OSError:
        told = {}
    words = [f"{told.get('ID', 'linux')}-{told.get('VERSION_ID', 'unknown')}"]
    found = re.fullmatch(r"python(3\.\d+)", _PYTHON.resolve().name)
    if found:
        words.append(f"python-{found[1]}")
    return " ".join(words)
