"""What can be the matter with a lab's links, and what is remembered of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.commands import tc
from corpus.hosts.fake import Fake
from corpus.lab import links
from corpus.lab.links import Link, Links
from corpus.lab.node import LabNode
from corpus.lab.paths import LabPaths
from corpus.lab.pool import Pool
from corpus.lab.settings import Settings
from corpus.model.errors import InvalidInput, Unsupported


@pytest.mark.parametrize(
    ("words", "link", "shown"),
    [
        (["down"], Link(down=True), "down"),
        (["slow", "50ms"], Link(delay=50), "up, slow 50ms"),
        (["loss", "10%"], Link(loss=10), "up, loss 10%"),
        (["rate", "1mbit"], Link(rate=1_000_000), "up, rate 1000kbit"),
        (["rate", "64kbit"], Link(rate=64_000), "up, rate 64kbit"),
    ],
)
def test_faults_add_up_until_the_link_is_up_again(words: list[str], link: Link, shown: str) -> None:
    assert Link().but(words) == link
    assert str(link) == shown
    both = link.but(["loss", "3%"])
    assert both.loss == 3
    assert (both.down, both.delay, both.rate) == (link.down, link.delay, link.rate)
    assert both.but(["up"]) == Link()


@pytest.mark.parametrize(
    "words",
    [[], ["sideways"], ["up", "now"], ["slow"], ["slow", "50"], ["slow", "0ms"], ["loss", "100%"],
     ["loss", "10"], ["loss", "0%"], ["rate", "0mbit"], ["rate", "1m; reboot"], ["rate", "١kbit"],
     ["slow", "50ms", "60ms"]],
)  # fmt: skip
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(InvalidInput, match="not what a link can be"):
        Link().but(words)


def test_a_link_that_is_up_again_is_cut_off_from_no_one() -> None:
    found = Links().cut(2, 1).cut(1, 3).cut(3, 2).change(1, ["slow", "5ms"])
    assert found.cut_from(1) == [2, 3]
    found = found.change(1, ["up"])
    assert found == Links().cut(2, 3)
    with pytest.raises(InvalidInput):
        Links().cut(2, 2)


def test_they_are_remembered_and_half_a_file_is_none(tmp_path: Path) -> None:
    paths = LabPaths("two", tmp_path)
    paths.root.mkdir()
    assert links.load(paths) == Links()
    found = Links().change(2, ["loss", "10%"]).change(1, ["down"]).cut(1, 3)
    links.save(paths, found)
    assert links.load(paths) == found
    paths.links.write_text(paths.links.read_text()[:20])
    assert links.load(paths) == Links()


def test_only_a_delay_asks_for_netem() -> None:
    assert tc.slow("x", 1_000_000) == [
        "tc", "qdisc", "add", "dev", "x", "root", "tbf", "rate", "1000000bit",
        "burst", "16384", "latency", "400ms",
    ]  # fmt: skip
    assert tc.late("x", 50, 8000)[6:] == [
        "netem", "limit", "10000", "delay", "50ms", "rate", "8000bit"
    ]  # fmt: skip


def test_a_kernel_without_netem_is_told_so_with_a_way_out(tmp_path: Path) -> None:
    settings, paths, host = Settings(nodes=2), LabPaths("two", tmp_path), Fake()
    host.prepare_failure("netem", code=2, err="Error: Specified qdisc kind is unknown.")
    pool = Pool(host, paths, settings)
    node = LabNode(host, paths.node(2), settings.members[1], pool, lambda text: None)
    node.apply(Link(down=True))
    assert ("ip", "link", "set", "dev", "cveth-two2", "down") in host.commands
    with pytest.raises(Unsupported, match="qdisc kind is unknown") as caught:
        node.apply(Link(delay=50))
    assert "CONFIG_NET_SCH_NETEM" in (caught.value.mend or "")
