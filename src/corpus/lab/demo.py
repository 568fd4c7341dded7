"""``make demo``: push a project and see it live; push a broken one and see it come back; take
to production what staging baked.

Run again, it starts from what is there. Nothing is pretended: a container with systemd,
git over SSH, HTTP through the proxy, a real migration that destroys entries and fails.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from corpus.lab import tenant
from corpus.lab.machine import Lab
from corpus.model.errors import CorpusError

PROJECT = "guestbook"
HOST_NAME = "guestbook.localhost"
PROD_NAME = "production.localhost"
ENVIRONMENT = "6f1c6a52-5d0e-4d39-9f5e-7f4b9a3c2d10"
PROD = "b7a0c1de-93f4-4b0a-8f57-2c61d0a4e8f3"
EXAMPLES = Path("examples")


def say(text: str) -> None:
    """Print a title of the demo's."""
    print(f"\n\033[1m==> {text}\033[0m" if sys.stdout.isatty() else f"\n==> {text}", flush=True)


def show(line: str) -> None:
    """Print a line of somebody's output."""
    print(f"    {line}", flush=True)


class Site:
    """The guestbook as a visitor sees it, through the proxy."""

    def __init__(self, name: str, port: int) -> None:
        self.address = f"http://{name}:{port}/"
        self._name, self._port = name, port

    def _ask(self, path: str, body: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            headers={"Host": self._name, "Content-Type": "application/json"},
            data=json.dumps(body).encode() if body else None,
        )
        with urllib.request.urlopen(request, timeout=90) as answer:  # noqa: S310
            return json.load(answer)

    def sign(self, name: str, message: str) -> None:
        """Write an entry."""
        self._ask("/api/entries", {"name": name, "message": message})

    def state(self) -> dict[str, Any]:
        """Return version, schema and every entry."""
        return {**self._ask("/version"), **self._ask("/api/entries")}


class Demo:
    """The demo's scenes on the lab ``demo``."""

    def __init__(self) -> None:
        self.lab = Lab("demo", say=show)
        self.started = time.monotonic()

    def run(self) -> None:
        """Play every scene."""
        self._stage()
        self._first_version()
        self._good_version()
        self._bad_version()
        self._production()
        self._farewell()

    def _stage(self) -> None:
        say("A lab: a compute node in a container of this machine")
        self.lab.up()
        say("The node: storage pool, network, proxy, the environments' image")
        tenant.prepare(self.lab)
        say("A staging environment, and in it the project «guestbook»")
        self.environment = tenant.Environment.create(self.lab, id=ENVIRONMENT, platform="staging")
        self.environment.route(HOST_NAME, 8000)
        folder = self.lab.paths.root / "demo"
        self.developer = tenant.Developer(folder)
        self.environment.init_project(PROJECT, self.developer.public_key)
        self.site = Site(HOST_NAME, self.lab.http_port)
        self.code = self.developer.clone("guestbook")
        show(f"environment {self.environment.id}, SSH port {self.environment.ssh_port}")

    def _push(self, message: str) -> tenant.Push:
        self.code.commit(message)
        show(f"$ git push {PROJECT} master      # {message}")
        return self.code.push(self.environment, PROJECT, tell=show)

    def _must(self, push: tenant.Push) -> None:
        if push.code != 0:
            raise CorpusError(f"git push ended with {push.code}", mend="see the log above")

    def _overlay(self, folder: str) -> None:
        shutil.copytree(EXAMPLES / folder, self.code.tree, dirs_exist_ok=True)

    def _first_version(self) -> None:
        if self.environment.report(PROJECT)["live"]:
            say("The guestbook is live already: going on from what is there")
            self._catch_up()
            return
        say("Push the pillar (it stores), then the first version (it deploys)")
        self._push_pillar(self.environment, "guestbook-pillar")
        self._overlay("guestbook")
        self._must(self._push("A guestbook"))
        say("Visitors write into it")
        for name, message in (("Ada", "The first entry of many."), ("Grace", "It compiles!")):
            self.site.sign(name, message)
            show(f"{name}: {message}")

    def _push_pillar(self, environment: tenant.Environment, name: str) -> None:
        pillar = self.developer.clone(name)
        shutil.copytree(EXAMPLES / name, pillar.tree, dirs_exist_ok=True)
        pillar.commit("The guestbook's private configuration")
        self._must(pillar.push(environment, PROJECT, "pillar.git", tell=show))

    def _catch_up(self) -> None:
        """Make the work tree what the branch of the environment is, whatever a killed run left."""
        live = str(self.environment.report(PROJECT)["live"]["commit"])
        self.code.git("reset", "-q", "--hard", live)
        self.code.git("clean", "-qfdx")

    def _good_version(self) -> None:
        say("Push a second version: it migrates the database")
        self._overlay("guestbook-versions/v2")
        (self.code.tree / "PUSHED").write_text(f"{time.time()}\n")
        self._must(self._push("Entries have a mood"))
        self.site.sign("Linus", "Talk is cheap, show me the mood.")
        self.before = self.site.state()
        self._tell("now", self.before)

    def _bad_version(self) -> None:
        say("Push a third version: its migration destroys entries, then fails")
        self._overlay("guestbook-versions/v3-broken")
        push = self._push("A migration that nobody tried")
        if push.code == 0:
            raise CorpusError("the broken version went live")
        show(f"git push ended with {push.code}")
        after = self.site.state()
        self._tell("after", after)
        if after != self.before:
            raise CorpusError("version, schema or entries are not those of before")
        say("Version, schema and entries are those of before")
        self._catch_up()

    def _production(self) -> None:
        say("A production environment, paired with staging; a pillar of its own")
        prod = tenant.Environment.create(self.lab, id=PROD, platform="prod")
        prod.route(PROD_NAME, 8000)
        prod.init_project(PROJECT, self.developer.public_key)
        prod.pair(self.environment, PROJECT)
        self.production = Site(PROD_NAME, self.lab.http_port)
        live = prod.report(PROJECT)["live"]
        if not live:
            self._push_pillar(prod, "guestbook-pillar-prod")
        say("Promote: production builds nothing, it deploys what staging ran")
        show(f"$ salt-call --local mc_project.promote {PROJECT}      # in production")
        done = prod.promote(PROJECT, show)
        if not done["result"]:
            raise CorpusError(f"the promotion ended {done['outcome']}")
        baked, deployed = (place.releases(PROJECT)[0] for place in (self.environment, prod))
        for where, release in (("staging baked ", baked), ("production runs", deployed)):
            show(f"{where} {release['deployment']} sha256 {release['parts'][0]['sha256']}")
        if baked["parts"] != deployed["parts"]:
            raise CorpusError("production does not run what staging baked")
        self._tell("production", self.production.state())

    def _tell(self, when: str, state: dict[str, Any]) -> None:
        show(
            f"{when}: version {state['version']}, schema {state['schema']}, "
            f"{len(state['entries'])} entries"
        )

    def _farewell(self) -> None:
        self.code.connect(self.environment, PROJECT)
        say(f"Done in {time.monotonic() - self.started:.0f} s. Open {self.site.address}")
        show(f"production: {self.production.address}")
        print(
            f"""
    Both stay up. Try next:
      cd {self.code.tree}          and change guestbook/templates/page.html, then
      git commit -am 'My change' && git push   (Ctrl-C does not stop it: push again to watch)
      .venv/bin/corpus-lab shell               a root shell on the node
      make demo                                again, from what is there
      make demo-down                           remove all of it and nothing else
"""
        )


def main() -> int:
    """Play the demo; 0 when every scene went as told."""
    try:
        Demo().run()
    except CorpusError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
