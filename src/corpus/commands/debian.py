"""mmdebstrap(1), apt-get(8), chroot(1): Debian's packages into a tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def bootstrap(
    suite: str,
    arch: str,
    target: Path,
    packages: Sequence[str],
    *,
    dpkg_configuration: Path,
    apt_options: Sequence[str] = (),
) -> list[str]:
    """Return the command that makes a small Debian in ``target``; sources come on its input.

    ``dpkg_configuration`` takes effect after the essential packages are extracted: earlier,
    mmdebstrap would start a filter for each, which costs 10 s.
    """
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        f"--architectures={arch}",
        f"--include={','.join(packages)}",
        f"--essential-hook=upload {dpkg_configuration} /etc/dpkg/dpkg.cfg.d/corpus",
        *(f"--aptopt={option}" for option in apt_options),
        suite,
        str(target),
        "-",
    ]


def update(*, options: Sequence[str] = ()) -> list[str]:
    """Return the command that fetches the lists of packages."""
    return ["apt-get", "--quiet", *_options(options), "--error-on=any", "update"]


def install(packages: Sequence[str], *, options: Sequence[str] = ()) -> list[str]:
    """Return the command that installs ``packages`` and what they need, and asks nothing."""
    return ["apt-get", "--quiet", "--yes", *_options(options), "--no-install-recommends",
            "install", *packages]  # fmt: skip


def states(packages: Sequence[str]) -> list[str]:
    """Return the command that prints a line for each of ``packages`` that dpkg knows."""
    return ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package}\\n", *packages]


def parse_installed(text: str) -> set[str]:
    """Return the packages that are installed, from what ``states`` prints."""
    lines = (line.split() for line in text.splitlines())
    return {words[1] for words in lines if len(words) == 2 and words[0].endswith("i")}


def dispensable(packages: Sequence[str]) -> list[str]:
    """Return the command that lets ``apt-get autoremove`` take packages that nothing needs."""
    return ["apt-mark", "auto", *packages]


def inside(root: Path, argv: Sequence[str]) -> list[str]:
    """Return the command that runs ``argv`` with ``root`` as its root directory."""
    return ["chroot", str(root), *argv]


def _options(options: Sequence[str]) -> list[str]:
    return [word for option in options for word in ("-o", option)]
