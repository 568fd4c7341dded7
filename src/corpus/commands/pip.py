"""pip(1) and compileall: wheels, and what is installed from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")


def install_tools(python: str, lock: Path, target: Path) -> list[str]:
    """Return the command that installs what ``lock`` names into the directory ``target``."""
    return [python, *PIP, "install", "--no-cache-dir", "--no-deps", "--require-hashes",
            "--only-binary=:all:", f"--target={target}", f"--requirement={lock}"]  # fmt: skip


def wheels(python: str, lock: Path, target: Path, *, source: bool = False) -> list[str]:
    """Return the command that fetches what ``lock`` names as wheels, hashes checked.

    With ``source`` wheels are made of source distributions, by the setuptools that
    ``python`` finds; else those are refused.
    """
    how = ["--no-build-isolation"] if source else ["--only-binary=:all:"]
    return [python, *PIP, "wheel", "--no-cache-dir", "--no-deps", "--require-hashes", *how,
            f"--wheel-dir={target}", f"--requirement={lock}"]  # fmt: skip


def wheel_of(python: str, folder: Path, target: Path) -> list[str]:
    """Return the command that makes the wheel of the sources in ``folder``."""
    return [python, *PIP, "wheel", "--no-cache-dir", "--no-deps", "--no-build-isolation",
            "--no-index", f"--wheel-dir={target}", str(folder)]  # fmt: skip


def install_wheels(python: str, files: Sequence[str]) -> list[str]:
    """Return the command that installs the wheels ``files`` and looks nowhere else."""
    return [python, *PIP, "install", "--no-cache-dir", "--no-deps", "--no-index", "--no-compile",
            "--no-warn-script-location", *files]  # fmt: skip


def compile_all(python: str, folder: str) -> list[str]:
    """Return the command that compiles every module below ``folder``.

    One process, in sorted order, and caches that no time stamp can spoil: same input, same
    bytes (PEP 552).
    """
    return [python, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", folder]
