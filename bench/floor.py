"""The floor of a push: a bare repository whose hook copies files, in the same container.

Same SSH server, same kind of account with the same shell, same web server, same proxy: what
lies between this and a push to corpus is what corpus does.
"""

from __future__ import annotations

from pathlib import PurePath

from corpus.commands import accounts
from corpus.lab.tenant import Environment

NAME = "floor"
HOST_NAME = "floor.localhost"
PORT = 8081
HOME = PurePath("/srv/floor")
_HOOK = f"""#!/bin/sh
exec git --work-tree={HOME}/live checkout --quiet --force master
"""
_SITE = f"""server {{
    listen {PORT};
    root {HOME}/live/public;
    index index.html;
}}
"""


def make(environment: Environment, key: str) -> None:
    """Make the floor's account, repository and site. nginx is there already."""
    inside, repository = environment.host, HOME / "project.git"
    inside.run(accounts.add(NAME, str(HOME), "corpus-projects"))
    inside.run(["mkdir", "-p", str(HOME / "live")])
    inside.put(PurePath("/etc/corpus/keys") / NAME, f"restrict {key}\n".encode())
    inside.run(["chown", "-R", f"{NAME}:{NAME}", str(HOME)])
    as_git = ["git", "init", "--quiet", "--bare", "--initial-branch=master", str(repository)]
    inside.run(as_git, user=NAME)
    inside.put(repository / "hooks" / "post-receive", _HOOK.encode(), 0o755)
    inside.put(PurePath("/etc/nginx/sites-enabled") / NAME, _SITE.encode())
    inside.run(["systemctl", "reload", "nginx"])
    environment.route(HOST_NAME, PORT)
