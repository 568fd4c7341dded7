"""A deployment that needs more room than there is: the node gives it, or it is refused cleanly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.lab.tenant import Environment
from sites import Site, lab, new_site, prepared

__all__ = ["lab", "new_site", "prepared"]

NewSite = Callable[..., Site]
SIZE = 512 << 20
GIB = 1 << 30


@pytest.fixture(scope="module")
def environment(prepared: Lab) -> Iterator[Environment]:
    """Return a small environment."""
    made = Environment.create(prepared, platform="staging", size=SIZE, memory="1G")
    try:
        yield made
    finally:
        made.destroy()


def inspect(site: Site) -> dict[str, Any]:
    environment = site.environment
    found: dict[str, Any] = salt.call(environment.lab.node(), "corpus_node.inspect", environment.id)
    return found


def fill(site: Site, mib: int) -> None:
    site.inside("dd", "if=/dev/urandom", "of=/srv/ballast", "bs=1M", f"count={mib}", "status=none")
    site.inside("sync")


def refused(site: Site, *told: str) -> None:
    """Push; nothing of the live version may be touched."""
    before = site.digest()
    push = site.push_tree("again")
    assert push.code != 0
    for text in told:
        assert text in push.text, push.text
    assert (site.version, site.digest()) == ("1", before)
    assert site.ledger()[-1]["outcome"] == "refused"
    assert site.leftovers() == []


def test_room_is_asked_of_the_node_and_its_answer_is_final(new_site: NewSite) -> None:
    site = new_site()
    assert site.push().code == 0
    assert inspect(site)["size"] == SIZE
    fill(site, (SIZE - inspect(site)["used"] >> 20) - 30)
    site.tiny.version = "2"
    site.tiny.write(site.code.tree)
    node, id = site.environment.lab.node(), site.environment.id

    node.run(["systemctl", "stop", f"corpus-ask@{id}.socket"])
    refused(site, "the node does not say how much room there is", "corpus_node.start")
    salt.call(node, "corpus_node.start", id)
    salt.call(node, "corpus_node.limit", id, size_limit="512M")
    refused(site, "the node refuses", "may have 512M at the most", "lower retention")
    assert inspect(site)["size"] == SIZE

    salt.call(node, "corpus_node.limit", id, size_limit="6G")
    push = site.push_tree("at last")
    assert push.code == 0, push.text
    assert "5G asked of the node: the project may now use 5.5G" in push.text
    assert site.version == "2"
    assert inspect(site)["size"] == SIZE + 5 * GIB
    assert site.leftovers() == []
