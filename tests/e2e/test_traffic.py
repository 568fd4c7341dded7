"""100 requests a second through the proxy while a good and a bad version are pushed."""

from __future__ import annotations

import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable

import pytest

from corpus.lab import salt
from e2e.tiny import command, waits
from load import Load
from sites import Site, environment, lab, new_site, prepared

__all__ = ["environment", "lab", "new_site", "prepared"]


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_no_request_fails_and_no_post_runs_twice(new_site: Callable[..., Site], good: bool) -> None:
    site = new_site()
    assert site.push().code == 0
    load = Load(site.environment.lab.http_port, site.host_name).start()
    time.sleep(1)
    site.tiny.version = "2"
    if not good:
        site.tiny.phases["post_install"] = command("bad", "sleep 0.5; false")
    push = site.push()
    time.sleep(1)
    load.finish()
    assert (push.code == 0) is good
    assert site.version == ("2" if good else "1")
    assert load.sent > 150
    assert load.failures == []
    kept = Counter(site.entries)
    assert [entry for entry, count in kept.items() if count > 1] == []
    assert set(load.posted) == set(kept)


def test_past_the_projects_hold_visitors_get_a_page(new_site: Callable[..., Site]) -> None:
    site = new_site(settings={"hold": 2})
    assert site.push().code == 0
    site.tiny.version = "2"
    site.tiny.phases["post_install"] = waits("/run/go-on")
    held = threading.Event()
    push = threading.Thread(
        target=site.push, args=("slow", lambda line: held.set() if "post_install" in line else None)
    )
    push.start()
    assert held.wait(60)
    asked = time.monotonic()
    with pytest.raises(urllib.error.HTTPError) as caught:
        site.ask("/entries", "lost?")
    assert caught.value.code == 503
    assert caught.value.headers["Retry-After"] == "10"
    assert "Back in a moment" in caught.value.read().decode()
    assert time.monotonic() - asked < 30  # of the 60 that are usual
    site.inside("touch", "/run/go-on")
    push.join()
    site.inside("rm", "/run/go-on")
    assert site.version == "2"
    assert site.entries == []
    assert site.leftovers() == []


def test_past_the_hold_there_is_a_maintenance_page(new_site: Callable[..., Site]) -> None:
    site = new_site()
    assert site.push().code == 0
    lab_node = site.environment.lab.node()
    salt.call(
        lab_node, "corpus_node.route", site.environment.id, site.host_name, site.tiny.port, hold=2
    )
    site.inside("systemctl", "stop", f"{site.name}.service")
    asked = time.monotonic()
    with pytest.raises(urllib.error.HTTPError) as caught:
        site.ask("/version")
    assert caught.value.code == 503
    assert caught.value.headers["Retry-After"]
    assert 1.5 < time.monotonic() - asked < 30
