"""From an environment to the world: mail by the node's relay, a web hook through its NAT."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import sinks
from corpus.lab.machine import Lab
from corpus.lab.tenant import Environment
from e2e.tiny import command
from integration.test_ask import settings
from patience import wait_until
from sinks import SECRET, Relay, Web
from sites import Site, lab, new_site, prepared

__all__ = ["lab", "new_site", "prepared"]

NewSite = Callable[..., Site]
TO = {"notify": {"mail": ["ann@example.org"]}}


@pytest.fixture(scope="module")
def _relay(prepared: Lab) -> Iterator[Relay]:
    """Run a relay beyond the node."""
    with Relay(host=str(prepared.settings.gateway)).running() as running:
        yield running


@pytest.fixture(scope="module")
def environment(prepared: Lab, _relay: Relay) -> Iterator[Environment]:
    """Return an environment that was told of a relay."""
    with settings(prepared.node(), f'relay = "{_relay.address}"'):
        made = Environment.create(prepared, platform="staging", size="5G", memory="1G")
    try:
        yield made
    finally:
        made.destroy()


@pytest.fixture
def relay(prepared: Lab, _relay: Relay) -> Iterator[Relay]:
    """Have the node lead to the relay; at its address there is then nothing else."""
    with settings(prepared.node(), f'relay = "{_relay.address}"'):
        yield _relay


@contextmanager
def reachable(lab: Lab) -> Iterator[None]:
    """Let environments reach the machine beyond the node, its router."""
    with settings(lab.node(), f'open_networks = ["{lab.settings.gateway}"]'):
        yield


def log(site: Site) -> str:
    return site.inside("cat", f"{site.root}/.corpus/logs/{site.ledger()[-1]['id']}.log")


def test_mail(new_site: NewSite, relay: Relay) -> None:
    site = new_site(settings=TO)
    assert site.push("Say hello").code == 0
    wait_until(lambda: "told ann@example.org" in log(site))
    site.tiny.phases["post_install"] = command("bad", "false")
    assert site.push("Break it").code != 0
    wait_until(lambda: "told ann@example.org" in log(site))
    name = site.inside("hostname").strip()
    live, back = relay.letters
    assert live["From"] == f"corpus@{name}"
    assert live["Subject"].startswith(f"[{site.name}] live: ")
    assert back["Subject"].startswith(f"[{site.name}] rolled back: ")
    assert "Break it" in back["Subject"]
    wait_until(lambda: site.inside("ls", f"{site.root}/.corpus/outbox") == "")


def test_web_hook(new_site: NewSite, prepared: Lab) -> None:
    beyond = str(prepared.settings.gateway)
    with reachable(prepared), Web(host=beyond).running() as web:
        hooks = [{"url": f"{web.url}/x", "secret": SECRET}]
        site = new_site(settings={"notify": {"hooks": hooks}})
        assert site.push("Say hello").code == 0
        wait_until(lambda: f"told {web.url}" in log(site))
    (told,) = web.told
    assert told["data"]["environment"] == site.environment.id
    assert told["data"]["environment_name"] == site.inside("hostname").strip()
    assert told["data"]["live"] == site.ledger()[-1]["commit"]
    assert SECRET[6:] not in log(site)


def test_who_pushes_does_not_wait_for_a_relay_that_hangs(
    new_site: NewSite, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "silent", ("ehlo",))
    site = new_site(settings=TO)
    began = time.monotonic()
    push = site.push("Say hello")
    took = time.monotonic() - began
    assert push.code == 0
    assert "not accepted" not in log(site), f"the push took {took:.1f} s"
    wait_until(lambda: "mail to ann@example.org was not accepted: " in log(site), 30)
    assert site.leftovers() == []


def test_nobody_at_the_web_hook(new_site: NewSite, prepared: Lab) -> None:
    with sinks.listening(sinks.hang_up, str(prepared.settings.gateway)) as port:
        url = f"http://{prepared.settings.gateway}:{port}"
    site = new_site(settings={"notify": {"hooks": [{"url": url, "secret": SECRET}]}})
    with reachable(prepared):
        assert site.push("Say hello").code == 0
        wait_until(lambda: f"the web hook {url} did not take it: " in log(site), 30)
    assert [entry["outcome"] for entry in site.ledger()] == ["live"]
