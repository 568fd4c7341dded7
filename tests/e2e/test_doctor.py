"""The doctor on a real system: accounts, systemd, sshd, btrfs; what uses the disk; removal."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import copy
from typing import Any

import pytest

from corpus.lab.tenant import Environment
from e2e.tiny import command
from sites import Site, environment, lab, new_site, prepared

__all__ = ["environment", "lab", "new_site", "prepared"]

NewSite = Callable[..., Site]


def call(site: Site, function: str, *argv: str) -> Any:
    """Call a function of mc_project in the environment."""
    told = site.inside(
        "salt-call", "--local", "--out=json", f"mc_project.{function}", site.name, *argv,
        check=False,
    )  # fmt: skip
    return json.loads(told)["local"]


def wrong(site: Site, *argv: str) -> list[dict[str, Any]]:
    return [each for each in call(site, "doctor", *argv) if each["state"] != "ok"]


@pytest.fixture(scope="module")
def sites() -> list[Site]:
    return []


@pytest.fixture
def site(sites: list[Site], new_site: NewSite, environment: Environment) -> Site:
    """Return a project with two deployments, made once."""
    if not sites:
        made = new_site(copy(environment))  # of another one, so that it outlives its first test
        assert made.push().code == 0
        made.ask("/entries", "one")
        made.tiny.version = "2"
        made.tiny.phases["post_deploy"] = command(
            "left", "setsid -f sleep 300 </dev/null >/dev/null 2>&1"
        )
        push = made.push()
        assert push.code == 0, push.text
        sites.append(made)
    return sites[0]


def test_one_that_is_well(site: Site) -> None:
    assert wrong(site) == []


def test_services_bear_no_mark(site: Site) -> None:
    """Recovery kills what bears it: systemd starts the services, so they do not."""
    pid = site.inside("systemctl", "show", "-P", "MainPID", f"{site.name}.service").strip()
    assert "CORPUS_DEPLOYMENT" not in site.inside("cat", f"/proc/{pid}/environ")
    assert "CORPUS_DEPLOYMENT" not in site.inside("systemctl", "show-environment")
    assert "sleep 300" not in site.inside("ps", "-eo", "args")


BREAKS = {
    "permissions": "chown root: {root}/project; chmod 755 {root}/deploy; chgrp root {root}/git",
    "repositories": "touch {root}/git/project.git/objects/x",
    "hook": "rm {root}/git/project.git/hooks/proc-receive",
    "host_key": "chmod 644 /etc/ssh/ssh_host_ed25519_key",
    "links": "rm /etc/systemd/system/{name}.service; systemctl daemon-reload",
    "keys": "chmod 600 /etc/corpus/keys/{name}",
    "service": "systemctl stop corpus-deploy",
}


@pytest.mark.parametrize("check", BREAKS)
def test_what_is_broken_is_mended(site: Site, check: str) -> None:
    before = site.digest()
    site.inside("sh", "-c", BREAKS[check].format(root=site.root, name=site.name))
    found = wrong(site)
    assert {each["check"] for each in found} == {check}
    mended = wrong(site, "mend=True")
    assert [each["what"] for each in mended] == [each["what"] for each in found]
    assert all(each["mended"] for each in mended)
    assert wrong(site, "mend=True") == []
    assert site.digest() == before


def test_a_push_after_all_that(site: Site) -> None:
    site.tiny.version = "3"
    assert site.push().code == 0
    assert site.version == "3"
    site.inside("systemctl", "stop", f"{site.name}.service")
    (down,) = wrong(site, "mend=True")
    assert (down["check"], down["where"], down["mended"]) == (
        "services", f"{site.name}.service", False
    )  # fmt: skip
    site.inside("systemctl", "start", f"{site.name}.service")
    assert wrong(site) == []


def test_what_uses_the_disk(site: Site) -> None:
    large = f"{site.root}/data/large"
    site.inside("dd", "if=/dev/urandom", f"of={large}", "bs=1M", "count=20", "status=none")
    site.inside("chown", f"{site.name}-app:", large)
    site.tiny.version = "4"
    assert site.push().code == 0
    found = call(site, "usage")
    assert found["told_by"] == "extents"
    last = found["deployments"][-1]
    assert last["live"]
    assert last["parts"]["data"] >= 20 << 20
    assert last["freed"] < 1 << 20  # its backup of data/ is a snapshot
    assert found["parts"]["data"]["freed"] < 1 << 20
    site.inside("rm", large)
    assert call(site, "usage")["deployments"][-1]["freed"] >= 20 << 20


def test_it_is_removed(site: Site, new_site: NewSite) -> None:
    other = new_site()
    assert other.push().code == 0
    remove = ("salt-call", "--local", "mc_project.remove", site.name)
    site.inside(*remove, f"confirm={other.name}", check=False)
    assert site.version == site.tiny.version
    removed = call(site, "remove", f"confirm={site.name}")
    assert f"account {site.name}-app" in removed
    assert (
        site.inside("find", "/srv", "/etc/systemd", "/etc/corpus", "-name", f"{site.name}*") == ""
    )
    assert site.inside("getent", "passwd", site.name, f"{site.name}-app", check=False) == ""
    assert "not-found" in site.inside(
        "systemctl", "show", "-p", "LoadState", f"{site.name}.service"
    )
    assert other.version == "1"
    assert wrong(other) == []
    assert site.push().code != 0
