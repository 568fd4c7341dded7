"""The project that is deployed in every cell: the tiny web server, and things to lose.

``data/`` holds the visitors' entries and files of the project's own; the database is a file
elsewhere, which only the ``backup`` and ``restore`` macros know. A migration changes all of
them, and one that is bound to fail wrecks them.
"""

from __future__ import annotations

import hashlib
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
}
"""The phase whose failing state makes a step fail; the steps that are absent run none."""

UNWELL = "/run/{name}-unwell"
"""While this file is there, no version of the service starts."""
STUCK = "/run/{name}-stuck"
"""While this file is there, the ``restore`` macro fails."""

_MIGRATE = """\
set -e; cd {data}; mkdir -p fixed/deep; echo {version} > schema; echo {version} > {database};
echo {version} >> fixed/deep/history; ln -sfn deep fixed/link; touch entries;
chown -R {name}-app: . ; chmod 640 schema"""
_WRECK = """\
cd {data}; echo wrecked > schema; rm -rf fixed; echo x > intruder; : > entries;
chmod 600 entries; echo wrecked > {database}; cd {run}; rm -f server.py; echo x > intruder"""


@dataclass
class Subject(Tiny):
    """A version of the project, good unless it is told otherwise.

    ``fails`` is the step whose phase has a failing state; ``wrecks`` whether its migration
    destroys what it can reach.
    """

    fails: str = ""
    wrecks: bool = False

    @property
    def database(self) -> str:
        """The file that stands for a database."""
        return f"/var/lib/{self.name}.db"

    def write(self, tree: Path) -> None:
        """Write the files, with the phases that this version has."""
        self.settings = {
            "health": [{"url": f"http://127.0.0.1:{self.port}/health", "timeout": 20}],
            "drain": 5,
        }
        self.phases = self._phases()
        self.build = ""
        if self.fails == "build":
            self.build = self._failing()
        super().write(tree)
        unit = tree / "tiny.service"
        refuses = f"ExecStartPre=/usr/bin/test ! -e {UNWELL.format(name=self.name)}\n"
        unit.write_text(unit.read_text() + refuses)
        if self.fails == "preflight":
            top = tree / ".salt/top.sls"
            bad = "{% macro health(common) %}{{ absent.x }}{% endmacro %}\n"
            top.write_text(top.read_text() + bad)

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
            "post_install": command("migrate", self._migration()),
        }
        phase = PHASE_OF.get(self.fails, "")
        if phase and phase != "build":
            phases[phase] = phases.get(phase, "") + self._failing()
        return phases

    def _failing(self) -> str:
        return command("fail", "echo told to fail; exit 7")

    def _migration(self) -> str:
        text = _MIGRATE + (";\n" + _WRECK if self.wrecks else "")
        values = {
            "data": "{{ common.paths.data }}",
            "run": "{{ common.paths.run }}",
            "database": self.database,
        }
        return " ".join(text.format(**values, version=self.version, name=self.name).split())

    def expected_run(self, tree: Path) -> dict[str, str]:
        """Return the digests of the files that ``run/`` holds once this version is live."""
        return {
            "server.py": digest(tree / "server.py"),
            f"systemd/{self.name}.service": digest(tree / "tiny.service"),
        }


def digest(path: Path) -> str:
    """Return the digest that the control within an environment makes of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
