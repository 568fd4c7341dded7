"""Environments and projects on the test lab, made and removed by fixtures."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from corpus.lab import tenant
from corpus.lab.machine import Lab
from corpus.lab.tenant import Checkout, Developer, Environment, Push
from e2e.tiny import Tiny
from labs import cluster, lab

__all__ = ["Site", "cluster", "environment", "lab", "new_site", "prepared", "prepared_cluster"]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def prepared(lab: Lab) -> Lab:
    """Return the lab with its node prepared and the environments' image in its pool."""
    tenant.prepare(lab)
    return lab


@pytest.fixture(scope="session")
def prepared_cluster(prepared: Lab, cluster: Lab) -> Lab:
    """Return the lab with a second node, both prepared."""
    tenant.prepare(cluster, 2)
    return cluster


@pytest.fixture(scope="module")
def environment(prepared: Lab) -> Iterator[Environment]:
    """Return a staging environment of this module's own."""
    made = Environment.create(prepared, platform="staging", size="5G", memory="1G")
    try:
        yield made
    finally:
        made.destroy()


@dataclass
class Site:
    """One tiny project of a test: its files, its work tree, its address."""

    environment: Environment
    developer: Developer
    code: Checkout
    tiny: Tiny
    host_name: str
    told: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.tiny.name

    @property
    def root(self) -> Path:
        return Path("/srv/projects") / self.name

    def push(
        self,
        message: str = "change",
        tell: Callable[[str], None] = lambda line: None,
        **kwargs: Any,
    ) -> Push:
        """Write the files, commit, push."""
        self.tiny.write(self.code.tree)
        return self.push_tree(message, tell, **kwargs)

    def push_tree(
        self,
        message: str = "change",
        tell: Callable[[str], None] = lambda line: None,
        **kwargs: Any,
    ) -> Push:
        """Commit what lies in the tree and push it."""
        self.code.commit(message)
        return self.code.push(self.environment, self.name, tell=tell, **kwargs)

    def ask(self, path: str, body: str | None = None, timeout: float = 70) -> Any:
        """Return the answer to a request through the proxy."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.environment.lab.http_port}{path}",
            headers={"Host": self.host_name},
            data=body.encode() if body is not None else None,
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    @property
    def version(self) -> str:
        return str(self.ask("/version")["version"])

    @property
    def entries(self) -> list[str]:
        return list(self.ask("/entries"))

    def inside(self, *argv: str, check: bool = True) -> str:
        """Run a command in the environment and return what it prints."""
        return self.environment.host.run(argv, check=check).out

    def branch(self) -> str:
        """Return the commit of the deploy branch."""
        return self.inside(
            "runuser", "-u", self.name, "--", "git", "-C", f"{self.root}/git/project.git",
            "rev-parse", "--quiet", "--verify", "refs/heads/master", check=False,
        ).strip()  # fmt: skip

    def ledger(self) -> list[dict[str, Any]]:
        text = self.inside("cat", f"{self.root}/.corpus/ledger.jsonl", check=False)
        return [json.loads(line) for line in text.splitlines()]

    def digest(self, *folders: str) -> str:
        """Return a digest of names, modes, owners and content below ``run`` and ``data``."""
        script = (
            "import hashlib,os,sys\n"
            "h=hashlib.sha256()\n"
            "for root in sys.argv[1:]:\n"
            "  for d,ds,fs in os.walk(root):\n"
            "    ds.sort()\n"
            "    for n in sorted(fs)+ds:\n"
            "      p=os.path.join(d,n); s=os.lstat(p)\n"
            "      h.update(repr((p,s.st_mode,s.st_uid,s.st_gid)).encode())\n"
            "      if os.path.isfile(p) and not os.path.islink(p): h.update(open(p,'rb').read())\n"
            "print(h.hexdigest())\n"
        )
        chosen = folders or ("run", "data")
        paths = [f"{self.root}/{folder}" for folder in chosen]
        return self.inside("python3", "-c", script, *paths).strip()

    def leftovers(self) -> list[str]:
        """Return what a deployment must not leave: journal, held lock or port, build, mounts."""
        script = (
            "import os,sys,glob,fcntl,subprocess\n"
            "root=sys.argv[1]; left=[]\n"
            "left+=glob.glob(root+'/.corpus/journal')+glob.glob(root+'/build/run-*')\n"
            "left+=glob.glob(root+'/.corpus/salt/*')\n"
            "left+=glob.glob(root+'/archives/*/*.partial')+glob.glob(root+'/archives/*/*.restoring')\n"
            "left+=[l for l in open('/proc/self/mountinfo') if root in l]\n"
            "f=open(root+'/.corpus/lock')\n"
            "try: fcntl.flock(f,fcntl.LOCK_EX|fcntl.LOCK_NB)\n"
            "except OSError: left.append('lock')\n"
            "held=subprocess.run(['nft','list','set','inet','corpus','held'],capture_output=True,text=True).stdout\n"
            "left+=['held '+held] if 'elements' in held else []\n"
            "print('\\n'.join(left))\n"
        )
        told = self.inside("python3", "-c", script, str(self.root))
        return [line for line in told.splitlines() if line]


@pytest.fixture
def new_site(environment: Environment, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a tiny project of the test's own, on a port of its own."""
    made: list[Site] = []

    def make(place: Environment = environment, **values: Any) -> Site:
        number = next(_numbers)
        tiny = Tiny(f"tiny{number}", port=8000 + number, **values)
        developer = Developer(tmp_path / "developer")
        host_name = f"{tiny.name}.localhost"
        place.init_project(tiny.name, developer.public_key)
        place.route(host_name, tiny.port)
        code = developer.clone(tiny.name)
        site = Site(place, developer, code, tiny, host_name)
        made.append(site)
        return site

    yield make
    for site in made:
        if site.environment is environment:
            site.inside("systemctl", "disable", "--now", f"{site.name}.service", check=False)
