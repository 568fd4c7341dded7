"""The deployer dies, or its container stops: during build, during migration, during rollback.

After the next start, code, data, version, branch, lock and ledger are right.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from e2e.tiny import command
from sites import Site, environment, lab, new_site, prepared

__all__ = ["environment", "lab", "new_site", "prepared"]

DAMAGE = "echo damaged > /srv/projects/{name}/data/entries; touch /srv/projects/{name}/data/new"
SLOW = command("slow", "sleep 30")


def in_build(site: Site) -> str:
    site.tiny.build = SLOW
    return "-----> build"


def in_migration(site: Site) -> str:
    damage = command("damage", DAMAGE.format(name=site.name))
    site.tiny.phases["post_install"] = damage + SLOW
    return "-----> post_install"


def in_rollback(site: Site) -> str:
    damage = command("damage", DAMAGE.format(name=site.name))
    once = f"test -e /run/{site.name}-once || {{ touch /run/{site.name}-once; sleep 30; }}"
    site.tiny.phases |= {
        "backup": command("dump", "echo dump > {{ common.paths.dumps }}/dump"),
        "post_install": damage + command("fail", "false"),
        "restore": command("restore", "grep dump {{ common.paths.dumps }}/dump && " + once),
    }
    return "-----> restore"


def kill_service(site: Site) -> None:
    site.inside("systemctl", "kill", "--kill-who=main", "--signal=KILL", "corpus-deploy.service")


def kill_all(site: Site) -> None:
    site.inside("systemctl", "kill", "--kill-who=all", "--signal=KILL", "corpus-deploy.service")


def kill_deployer(site: Site) -> None:
    main = site.inside("systemctl", "show", "-P", "MainPID", "corpus-deploy.service").strip()
    site.inside("pkill", "-KILL", "--parent", main)


def stop_container(site: Site) -> None:
    site.environment.stop()
    site.environment.start()


WHEN = {"build": in_build, "migration": in_migration, "rollback": in_rollback}
WHAT = {
    "service": kill_service,
    "cgroup": kill_all,
    "deployer": kill_deployer,
    "container": stop_container,
}


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("when", WHEN)
def test_death_is_mended(new_site: Callable[..., Site], when: str, what: str) -> None:
    site = new_site()
    assert site.push("one").code == 0
    site.ask("/entries", "one")
    before, branch = site.digest(), site.branch()
    site.tiny.version = "2"
    marker = WHEN[when](site)
    reached = threading.Event()

    def tell(line: str) -> None:
        if marker in line:
            reached.set()

    push = threading.Thread(target=site.push, args=("two", tell))
    push.start()
    assert reached.wait(60)
    time.sleep(0.7)
    WHAT[what](site)
    wait_until_recovered(site)
    push.join(90)
    assert not push.is_alive()
    assert site.version == "1"
    assert site.entries == ["one"]
    assert site.digest() == before
    assert site.branch() == branch
    assert site.leftovers() == []
    last = site.ledger()[-1]
    assert last["outcome"] == ("refused" if when == "build" else "rolled_back")
    assert site.inside("pgrep", "-fx", "sleep 30", check=False) == ""
    site.tiny.phases, site.tiny.build = {}, ""
    assert site.push("three").code == 0
    assert site.version == "2"
    assert site.entries == ["one"]


def wait_until_recovered(site: Site) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if len(site.ledger()) == 2 and not site.leftovers():
            return
        time.sleep(0.3)
    raise AssertionError(f"not recovered: {site.leftovers()} {site.ledger()}")
