"""The project that is deployed in every cell: the tiny web server, and things to lose.

``data/`` holds the visitors' entries and files of the project's own; the database is a file
elsewhere, which only the ``backup`` and ``restore`` macros know. A migration changes all of
them, and one that is bound to fail wrecks them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.tiny import Tiny, command

PHASE_OF = {
    "checkout": "pre_install",
    "build": "build",
    "bundle": "bundle",
    "hold": "stop",
    "bind": "configure",
    "unpack": "configure",
    "dump": "backup",
    "start": "post_install",
    "health": "health",
    "live": "notify",
    "revert": "restore",
}
"""The phase whose failing state makes a step fail; the steps that are absent run none."""

HOLD = 240
"""Seconds that visitors wait: longer than any cell holds them, on a busy machine too."""
UNWELL = "/run/{name}-unwell"
"""While this file is there, no version of the service starts."""
STUCK = "/run/{name}-stuck"
"""While this file is there, the ``restore`` macro fails."""
AGAIN = "/run/{name}-again"
"""While this file is there, a version that is bad when it comes again is bad."""

_MIGRATE = """\
set -e; cd {data}; mkdir -p fixed/deep; echo {version} > schema; echo {version} > {database};
echo {version} >> fixed/deep/history; ln -sfn deep fixed/link; touch entries;
chown -R {name}-app: . ; chmod 640 schema"""
_WRECK = """\
cd {data}; echo wrecked > schema; rm -rf fixed; echo x > intruder; : > entries;
chmod 600 entries; echo wrecked > {database}"""
_WRECK_RUN = """\
for i in $(seq 200); do ss -Hltn sport = :{port} | grep -q . && break; sleep 0.05; done;
cd {run}; rm -f server.py; echo x > intruder"""
"""The service has read the file by then: a slow one would fail before what is to fail."""


@dataclass
class Subject(Tiny):
    """A version of the project, good unless it is told otherwise.

    ``fails`` is the step whose phase has a failing state; ``wrecks`` whether its migration
    destroys what it can reach. Both in ``mode`` alone: in staging the same version is good; and
    with ``again`` good at first, bad only when it is gone back to.
    """

    mode: str = "cooking"
    fails: str = ""
    wrecks: bool = False
    again: bool = False

    @property
    def database(self) -> str:
        """The file that stands for a database."""
        return f"/var/lib/{self.name}.db"

    def write(self, tree: Path) -> None:
        """Write the files, with the phases that this version has."""
        self.settings = {
            "health": [{"url": f"http://127.0.0.1:{self.port}/health", "timeout": 60}],
            "drain": 5,
            "hold": HOLD,
        }
        self.build = self._failing("build")
        self.phases = self._phases()
        super().write(tree)
        unit = tree / "tiny.service"
        refuses = f"ExecStartPre=/usr/bin/test ! -e {UNWELL.format(name=self.name)}\n"
        unit.write_text(unit.read_text() + refuses)
        if self.fails == "preflight":
            bad = self._here("{{ absent.x }}")
            top = tree / ".salt/top.sls"
            top.write_text(top.read_text() + f"{{% macro health(common) %}}{bad}{{% endmacro %}}\n")
        (tree / ".gitignore").write_text("/systemd/\n")

    def _phases(self) -> dict[str, str]:
        dumps = "{{ common.paths.dumps }}"
        stuck = STUCK.format(name=self.name)
        phases = {
            "backup": command("dump", f"cp -a {self.database} {dumps}/db || true"),
            "restore": command(
                "reload",
                f"test ! -e {stuck} && {{ test ! -e {dumps}/db || "
                f"cp -a {dumps}/db {self.database}; }}",
            ),
            "post_install": command("migrate", self._script(_MIGRATE)) + self._wreck(),
        }
        for step, phase in PHASE_OF.items():
            if step == self.fails and phase != "build":
                phases[phase] = phases.get(phase, "") + self._failing(step)
        return phases

    def _here(self, text: str) -> str:
        """Return ``text`` for the mode of this subject alone, and the time that is meant."""
        flag = AGAIN.format(name=self.name)
        now = f' and salt["file.file_exists"]("{flag}")' if self.again else ""
        return f'{{% if common.mode == "{self.mode}"{now} %}}\n{text}\n{{% endif %}}\n'

    def _failing(self, step: str) -> str:
        if step != self.fails:
            return ""
        # Once: the way back calls the same macro where it is ``restore``.
        once = f"rm -f {AGAIN.format(name=self.name)}; " if self.again else ""
        return self._here(command("fail", f"{once}echo told to fail; exit 7"))

    def _wreck(self) -> str:
        if not self.wrecks:
            return ""
        text = _WRECK_RUN if self.mode == "editable" else f"{_WRECK}; {_WRECK_RUN}"
        return self._here(command("wreck", self._script(text)))

    def _script(self, text: str) -> str:
        values = {
            "data": "{{ common.paths.data }}",
            "run": "{{ common.paths.run }}",
            "database": self.database,
            "port": self.port,
        }
        return " ".join(text.format(**values, version=self.version, name=self.name).split())

    def expected_run(self, tree: Path) -> dict[str, str]:
        """Return the digests of the files that ``run/`` holds once this version is live."""
        unit = {f"systemd/{self.name}.service": digest(tree / "tiny.service")}
        if self.mode != "editable":
            return {"server.py": digest(tree / "server.py"), **unit}
        files = [path for path in tree.rglob("*") if path.is_file() and ".git" not in path.parts]
        return {str(path.relative_to(tree)): digest(path) for path in files} | unit


def migrated(base: Mapping[str, list[str]], history: str, version: str) -> dict[str, list[str]]:
    """Return the tree of data/ once ``version`` has migrated ``base``, whose history is given."""
    texts = {"schema": f"{version}\n", "fixed/deep/history": f"{history}{version}\n"}
    new = {path: digest_of(text) for path, text in texts.items()}
    return {path: [*found[:2], new.get(path, found[-1])] for path, found in base.items()}


def digest(path: Path) -> str:
    """Return the digest that the control within an environment makes of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_of(text: str) -> str:
    """Return the same of a file that holds ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()
