"""Debian's package sources, as apt writes them: one line each, or deb822 (sources.list(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urlsplit

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>\S.*)$")
_TRUE = {"yes", "true", "1"}


@dataclass(frozen=True)
class Source:
    """One place that binary packages come from."""

    uri: str
    suite: str
    components: tuple[str, ...]
    trusted: bool = False
    signed_by: str = field(default="", compare=False)

    def line(self) -> str:
        """Return the entry in one-line form, signed by the keyring that a Debian image has."""
        option = "trusted=yes" if self.trusted else f"signed-by={KEYRING}"
        return " ".join(("deb", f"[{option}]", self.uri, self.suite, *self.components))

    def is_debian(self, release: str) -> bool:
        """Tell whether this is Debian's own archive (or a mirror of it) of ``release``.

        Other vendors' repositories use the release's name too; they are signed by a key of
        their own, which an image does not have.
        """
        key = PurePosixPath(self.signed_by).name
        return (
            (self.suite == release or self.suite.startswith(f"{release}-"))
            and "main" in self.components
            and urlsplit(self.uri).scheme in {"http", "https"}
            and (not key or key.startswith("debian-archive"))
        )


def parse_lines(text: str) -> Iterator[Source]:
    """Yield the ``deb`` entries of a ``sources.list`` file."""
    for raw in text.splitlines():
        match = _LINE.match(raw.split("#", 1)[0].strip())
        if not match:
            continue
        words = match["rest"].split()
        options = dict(word.lower().split("=", 1) for word in (match["options"] or "").split()
                       if "=" in word)  # fmt: skip
        if len(words) >= 2:
            trusted = options.get("trusted", "") in _TRUE
            key = options.get("signed-by", "")
            yield Source(words[0], words[1], tuple(words[2:]), trusted, key)


def parse_deb822(text: str) -> Iterator[Source]:
    """Yield the binary entries of a ``.sources`` file, those that are enabled."""
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if fields.get("enabled", "yes").lower() not in _TRUE:
            continue
        if "deb" not in fields.get("types", "").split():
            continue
        trusted = fields.get("trusted", "").lower() in _TRUE
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, components, trusted, fields.get("signed-by", ""))


def _fields(stanza: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            found[name] += f"\n{line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            found[name] = value.strip()
    return found


def debian(sources: Iterable[Source], release: str) -> tuple[str, ...]:
    """Return the lines of those sources that are Debian's for ``release``, each once."""
    return tuple(dict.fromkeys(source.line() for source in sources if source.is_debian(release)))
