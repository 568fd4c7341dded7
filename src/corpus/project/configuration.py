"""From the layers of configuration to ``common``, the mapping that every phase shares.

Low to high: the defaults here, ``.salt/PILLAR.sample``, the project's pillar, what the
environment sets. Each layer says its part under ``makina-projects.<name>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import PurePosixPath
from typing import Any, Final

from corpus.model.errors import InvalidInput
from corpus.model.manifest import MAIN, MAX_PARTS, part_name
from corpus.model.mode import Mode, Platform, parse_mode
from corpus.model.secret import Secret, masked
from corpus.model.size import parse_size
from corpus.project import notifications
from corpus.project.phases import EXTRA, PHASES, PhaseRunner
from corpus.project.place import Project

DEFAULTS: Final[dict[str, Any]] = {
    "mode": None,
    "data": {},
    "services": [],
    "ports": [],
    "health": [],
    "hold": 60,
    "drain": 10,
    "timeouts": {"default": 600, "build": 1800},
    "retention": {"good": 5, "failed": 2},
    "stop_before": "swap",
    "parts": {},
    "notify": {},
}
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@-]{0,200}\.(service|socket|timer|target)", re.ASCII)
_SECRET = re.compile(r"pass|secret|token|key|credential|private", re.IGNORECASE)
_ENTRY = re.compile(r"(?P<key>[\w.-]+)[\"']?\s*[:=]\s*(?=(?P<value>.*?)\s*$)")
_KEY = re.compile(r"(- )*[\"']?[\w.-]+[\"']?:(\s|$)")
_QUOTED = re.compile(r"([\"'])(.*?)\1")
_END = re.compile(r"[,}\]]|\s#|\s*%}")  # of a value within a line
_WORDS = frozenset("true false yes no on off null none".split())


def key_of(name: str) -> str:
    """Return the key under which a layer configures the project ``name``."""
    return f"makina-projects.{name}"


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``low`` overlaid by ``high``: mappings merge, all else is replaced."""
    merged = deepcopy(dict(low))
    for key, value in high.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = deepcopy(value)
    return merged


def layer(name: str, content: Any, where: str) -> dict[str, Any]:
    """Return the part of one layer that configures ``name``. Raises InvalidInput."""
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise InvalidInput("the configuration is not a mapping", where=where)
    part = content.get(key_of(name), {})
    if part is None:
        return {}
    if not isinstance(part, Mapping):
        raise InvalidInput(f"{key_of(name)} is not a mapping", where=where)
    unknown = sorted(str(key) for key in part if key not in DEFAULTS)
    if unknown:
        raise InvalidInput(
            f"unknown setting{'s' if len(unknown) > 1 else ''}: {', '.join(unknown)}",
            where=f"{where}, {key_of(name)}",
            mend=f"the project's own values go under data:; settings are {', '.join(DEFAULTS)}",
        )
    return dict(part)


def configure(name: str, layers: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the settings that the layers, low to high, add up to. Raises InvalidInput."""
    settings = deepcopy(DEFAULTS)
    for where, content in layers:
        settings = merge(settings, layer(name, content, where))
    _check(settings, key_of(name))
    return settings


def compiled(project: Project, runner: PhaseRunner, secrets: list[str]) -> dict[str, Any]:
    """Return the settings that a project's layers add up to. Raises InvalidInput.

    ``secrets`` gets those of a layer before that is compiled: an error shows the lines around it.
    """
    sources = [project.paths.pillar, project.place.prefix / "pillar"]
    for path in (found for source in sources for found in sorted(source.rglob("*.sls"))):
        if path.is_file():
            secrets += secrets_within(path.read_text(errors="replace"))
    layers: list[tuple[str, Any]] = []
    for where, compile_ in (
        ("the project's pillar", runner.pillar),
        ("the environment's pillar", runner.overrides),
        (".salt/PILLAR.sample", runner.sample),
    ):
        content = compile_()
        secrets += secrets_of(content)
        layers.append((where, content))
    return configure(project.name, [layers.pop(), *layers])


def secrets_of(content: Any, secret: bool = False) -> list[str]:
    """Return the texts of a pillar that its key names say are secret."""
    if isinstance(content, Mapping):
        return [
            text
            for key, value in content.items()
            for text in secrets_of(value, secret or _is_secret(str(key)))
        ]
    if isinstance(content, list):
        return [text for value in content for text in secrets_of(value, secret)]
    if not secret or content is None or isinstance(content, bool):
        return []
    # A log is masked line by line, so each line of a private key is a secret of its own.
    return [line.strip() for line in str(content).splitlines() if line.strip()]


def secrets_within(text: str) -> list[str]:
    """Return what looks like secrets in the source of a pillar, which may not compile."""
    found: list[str] = []
    column: int | None = None  # of the key whose value the lines below it are
    for line in text.splitlines():
        content = line.lstrip(" ")
        indent = len(line) - len(content)
        item = content.startswith("- ")
        if column is not None and content and indent <= column - item:
            column = None
        elif column is not None and not _KEY.match(content):
            found.append(content.removeprefix("- ").strip())
        for entry in _ENTRY.finditer(line):
            if column is not None or _is_secret(entry["key"]):
                found += _values(entry["value"])
            if column is None and _is_secret(entry["key"]) and entry["value"][:1] in ("", *"|>&!"):
                column = entry.start("key")
    return [secret for secret in found if secret and secret.lower() not in _WORDS]


def _values(text: str) -> list[str]:
    """Return what the value at the beginning of ``text`` may be: quotes and ends do not tell."""
    quoted = _QUOTED.match(text)
    return [text.strip("\"'"), quoted[2] if quoted else _END.split(text)[0].strip()]


def _is_secret(key: str) -> bool:
    """Tell whether a key says so; a project may be called ``keycloak``."""
    return not key.startswith("makina-projects.") and bool(_SECRET.search(key))


def mask(values: Any, secrets: list[str]) -> Any:
    """Return ``values`` with every secret text replaced by a mask."""
    if isinstance(values, Mapping):
        return {key: mask(value, secrets) for key, value in values.items()}
    if isinstance(values, list):
        return [mask(value, secrets) for value in values]
    if isinstance(values, int | float) and str(values) in secrets:
        return Secret.mask
    return masked(values, secrets) if isinstance(values, str) else values


def make_common(
    project: Project,
    settings: Mapping[str, Any],
    *,
    deployment: str,
    commit: str,
    pillar_commit: str,
) -> dict[str, Any]:
    """Return ``common``: the settings with the project's identity and paths.

    The keys are those of docs/reference/common.md; a macro may add its own.
    """
    paths = project.paths
    platform = project.place.platform()
    return {
        **deepcopy(dict(settings)),
        "name": project.name,
        "user": project.application or "root",
        "group": project.application or "root",
        "mode": str(mode_of(settings, platform)),
        "platform": str(platform),
        "deployment": deployment,
        "commit": commit,
        "pillar_commit": pillar_commit,
        "paths": {
            "root": str(paths.root),
            "project": str(paths.project),
            "salt": str(paths.salt),
            "pillar": str(paths.pillar),
            "data": str(paths.data),
            "build": str(paths.build),
            "run": str(paths.run),
            "deploy": str(paths.deploy),
            "releases": str(paths.releases),
            "archives": str(paths.archives),
        },
    }


def mode_of(settings: Mapping[str, Any], platform: Platform) -> Mode:
    """Return the mode that the settings ask for, or the platform's own."""
    asked = settings.get("mode")
    return parse_mode(str(asked)) if asked else platform.default_mode


def _fail(where: str, key: str, wanted: str) -> None:
    raise InvalidInput(f"{key} must be {wanted}", where=where, mend="correct it and push again")


def _check(settings: Mapping[str, Any], where: str) -> None:
    """Raise InvalidInput at the first setting of the wrong shape."""
    if not isinstance(settings["data"], Mapping):
        _fail(where, "data", "a mapping")
    services = settings["services"]
    if not isinstance(services, list) or not all(
        isinstance(unit, str) and _UNIT.fullmatch(unit) for unit in services
    ):
        _fail(where, "services", "a list of systemd units such as guestbook.service")
    ports = settings["ports"]
    if not isinstance(ports, list) or not all(
        isinstance(port, int) and _is_number(port, 1, 65535) for port in ports
    ):
        _fail(where, "ports", "a list of TCP ports")
    for key in ("hold", "drain"):
        if not _is_number(settings[key], 0, 3600):
            _fail(where, key, "seconds, 0 to 3600")
    _check_numbers(settings["timeouts"], where, "timeouts", ("default", *PHASES, *EXTRA), 1)
    _check_retention(settings["retention"], where)
    if settings["stop_before"] not in ("swap", "build"):
        _fail(where, "stop_before", "swap or build")
    _check_health(settings["health"], where)
    _check_parts(settings["parts"], where)
    notifications.parse(settings["notify"], where)


def _check_parts(parts: Any, where: str) -> None:
    """Raise InvalidInput unless every path of ``run/`` belongs to one part, plainly."""
    if not isinstance(parts, Mapping) or len(parts) >= MAX_PARTS:
        _fail(where, "parts", f"a mapping of up to {MAX_PARTS - 1} names to lists of paths")
    known: list[PurePosixPath] = []
    for name, prefixes in parts.items():
        if part_name(name) == MAIN:
            _fail(where, "parts", f"names other than {MAIN}, which holds the rest")
        if not isinstance(prefixes, list) or not prefixes:
            _fail(where, f"parts.{name}", "a list of paths below run/")
        for prefix in prefixes:
            path = PurePosixPath(prefix) if isinstance(prefix, str) else PurePosixPath()
            plain = isinstance(prefix, str) and str(path) == prefix.rstrip("/")
            if not plain or path.is_absolute() or not path.parts or ".." in path.parts:
                _fail(where, f"parts.{name}", "a list of paths below run/, as static or media/big")
            if any(path.is_relative_to(one) or one.is_relative_to(path) for one in known):
                _fail(where, f"parts.{name}", "paths that lie in no other path of a part")
            known.append(path)


def _check_numbers(values: Any, where: str, key: str, names: tuple[str, ...], least: int) -> None:
    if not isinstance(values, Mapping) or not all(
        name in names and _is_number(value, least, 86400) for name, value in values.items()
    ):
        _fail(where, key, f"a mapping of numbers; the names are {', '.join(names)}")


def _check_retention(values: Any, where: str) -> None:
    names = ("good", "failed", "size")
    if not isinstance(values, Mapping) or not set(values) <= set(names):
        _fail(where, "retention", f"a mapping; the names are {', '.join(names)}")
    counts = {name: value for name, value in values.items() if name != "size"}
    _check_numbers(counts, where, "retention", names[:2], 0)
    if values["good"] < 1:
        _fail(where, "retention.good", "at least 1")
    size = values.get("size")
    if size is not None:
        try:
            parse_size(size if isinstance(size, int) else str(size))
        except InvalidInput:
            _fail(where, "retention.size", "bytes, or a size such as 2G")


def _check_health(checks: Any, where: str) -> None:
    known = {"url", "status", "timeout", "contains"}
    if not isinstance(checks, list):
        _fail(where, "health", "a list of checks")
    for check in checks:
        if not isinstance(check, Mapping) or not set(check) <= known:
            _fail(where, "health", f"a list of mappings with {', '.join(sorted(known))}")
        url = check.get("url")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            _fail(where, "health.url", "an http:// or https:// address")
        if not isinstance(check.get("status", 200), int):
            _fail(where, "health.status", "a number such as 200")
        if not _is_number(check.get("timeout", 30), 0, 3600):
            _fail(where, "health.timeout", "seconds, 0 to 3600")
        if not isinstance(check.get("contains", ""), str):
            _fail(where, "health.contains", "a text")


def _is_number(value: object, low: int, high: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
