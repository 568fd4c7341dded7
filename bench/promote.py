"""Staging to production: a push of a baked commit until it is live, beside rsync from scratch."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, median, of
from bench.stage import EXAMPLES, Stage, Visitor, say
from corpus.lab.tenant import Checkout, Environment

NAME = "guestbook"
PORT = 8000
_REST = 0.5  # seconds after a deployment: what it tidies up must not burden the next
_BY_HAND = "/srv/by-hand"
_UNIT = f"""[Service]
WorkingDirectory={_BY_HAND}/run
Environment=GUESTBOOK_DATABASE={_BY_HAND}/db GUESTBOOK_SECRET_KEY=x PYTHONDONTWRITEBYTECODE=1
ExecStartPre={_BY_HAND}/run/venv/bin/python -B manage.py migrate
ExecStart={_BY_HAND}/run/venv/bin/python -m gunicorn --bind 0.0.0.0:8100 guestbook.web:app
"""


@dataclass
class Scene:
    """A staging and a production environment, paired, and a developer's work tree."""

    stage: Stage
    staging: Environment
    prod: Environment
    code: Checkout

    def bake(self, number: int) -> str:
        """Push a one-line change to staging; return the version that it says."""
        module = self.code.tree / "guestbook" / "__init__.py"
        wanted = f"1.0.{number}-bench"
        module.write_text(re.sub(r'VERSION = ".*"', f'VERSION = "{wanted}"', module.read_text()))
        self.code.commit(f"One line, {number}")
        push = self.code.push(self.staging, NAME)
        assert push.code == 0, push.text
        return wanted

    def promote(self, wanted: str) -> float:
        """Push to production what staging baked; return the seconds until it is seen."""
        visitor = self._visitor("production.localhost", wanted)
        began = time.perf_counter()
        push = self.code.push(self.prod, NAME)
        assert push.code == 0, push.text
        return visitor.wait(30) - began

    def by_hand(self, wanted: str) -> float:
        """Bring staging's ``run/`` to production by rsync, all of it, and restart a service."""
        source = self.stage.folder / "baked"
        self._take(source)
        ssh = self.stage.developer.ssh(self.prod)
        root = [*ssh, "-p", str(self.prod.ssh_port), "root@127.0.0.1"]
        host = self.stage.developer.host
        host.run([*root, f"rm -rf {_BY_HAND}/run; mkdir -p {_BY_HAND}"])
        visitor = self._visitor("by-hand.localhost", wanted)
        began = time.perf_counter()
        host.run(["rsync", "--archive", "--rsh", " ".join([*ssh, "-p", str(self.prod.ssh_port)]),
                  f"{source}/", f"root@127.0.0.1:{_BY_HAND}/run/"])  # fmt: skip
        host.run([*root, "systemctl restart by-hand"])
        return visitor.wait(30) - began

    def _take(self, target: Path) -> None:
        """Copy what staging runs to the developer's machine; not measured."""
        ssh = self.stage.developer.ssh(self.staging)
        shell = " ".join([*ssh, "-p", str(self.staging.ssh_port)])
        self.stage.developer.host.run(
            ["rsync", "--archive", "--delete", "--rsh", shell,
             f"root@127.0.0.1:/srv/projects/{NAME}/run/", f"{target}/"]
        )  # fmt: skip

    def _visitor(self, host_name: str, wanted: str) -> Visitor:
        visitor = Visitor(self.stage.lab.http_port, host_name, "/version", wanted)
        visitor.start()
        return visitor


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Bake and promote ``runs`` times, each beside the same by hand."""
    keys = [stage.developer.public_key]
    with (
        stage.environment(keys=keys) as staging,
        stage.environment(platform="prod", keys=keys) as prod,
    ):
        scene = _prepare(stage, staging, prod)
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(1, runs + 1):
            say(f"round {number} of {runs}")
            wanted = scene.bake(number)
            time.sleep(_REST)
            ways = [(scene.promote, ours), (scene.by_hand, theirs)]
            for way, values in ways if number % 2 else reversed(ways):
                values.append(way(wanted))
                time.sleep(_REST)
    base = median(theirs)
    return [
        of("promote.rsync", theirs),
        of(
            "promote.live",
            ours,
            reference="rsync from scratch",
            reference_value=base,
            goal="<= rsync + 2.0 s",
            met=median(ours) <= base + 2.0,
        ),
    ]


def _prepare(stage: Stage, staging: Environment, prod: Environment) -> Scene:
    say("first deployments in staging and production")
    for environment in (staging, prod):
        environment.init_project(NAME, stage.developer.public_key)
    prod.route("production.localhost", PORT)
    prod.route("by-hand.localhost", 8100)
    prod.pair(staging, NAME)
    prod.host.put(Path("/etc/systemd/system/by-hand.service"), _UNIT.encode())
    code = stage.developer.clone("promoted")
    shutil.copytree(EXAMPLES / "guestbook", code.tree, dirs_exist_ok=True)
    scene = Scene(stage, staging, prod, code)
    wanted = scene.bake(0)
    scene.promote(wanted)
    scene.by_hand(wanted)
    return scene
