"""What is the matter with the links of a lab's nodes: down, late, lossy, slow; who is cut off.

One file holds it, and the kernel is made to follow that file, also after a node has started
anew. A link is the cable between a node and the lab's bridge: all that the node and its
environments send and receive, from other nodes, the host and the world, in both directions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from corpus.hosts.files import write_atomic
from corpus.lab.paths import LabPaths
from corpus.model.errors import InvalidInput

_DELAY = re.compile(r"([1-9]\d{0,4})ms", re.ASCII)
_LOSS = re.compile(r"([1-9]\d?)%", re.ASCII)
_RATE = re.compile(r"([1-9]\d{0,5})([km])bit", re.ASCII)
MEND = "say down, up, slow 50ms, loss 10% or rate 1mbit"


@dataclass(frozen=True)
class Link:
    """The link of one node, as it is at its best unless said.

    ``delay``: milliseconds, each way; ``loss``: of 100 packets, each way; ``rate``: bits a
    second, each way.
    """

    down: bool = False
    delay: int | None = None
    loss: int | None = None
    rate: int | None = None

    def but(self, words: Sequence[str]) -> Link:
        """Return the link with what ``words`` say, as ``["slow", "50ms"]``, besides.

        Raises InvalidInput.
        """
        what, *values = words or [""]
        if what == "up" and not values:
            return Link()
        if what == "down" and not values:
            return replace(self, down=True)
        value = values[0] if len(values) == 1 else ""
        if what == "slow" and (found := _DELAY.fullmatch(value)):
            return replace(self, delay=int(found[1]))
        if what == "loss" and (found := _LOSS.fullmatch(value)):
            return replace(self, loss=int(found[1]))
        if what == "rate" and (found := _RATE.fullmatch(value)):
            return replace(self, rate=int(found[1]) * {"k": 1000, "m": 1000_000}[found[2]])
        raise InvalidInput(f"not what a link can be: {' '.join(words)!r:.80}", mend=MEND)

    def __str__(self) -> str:
        """What ``corpus-lab link`` shows."""
        parts = [
            "down" if self.down else "up",
            *([f"slow {self.delay}ms"] if self.delay is not None else []),
            *([f"loss {self.loss}%"] if self.loss is not None else []),
            *([f"rate {self.rate // 1000}kbit"] if self.rate is not None else []),
        ]
        return ", ".join(parts)


@dataclass(frozen=True)
class Links:
    """The links of a lab's nodes by their numbers, and the pairs that are cut off."""

    nodes: dict[int, Link] = field(default_factory=dict)
    cuts: frozenset[tuple[int, int]] = frozenset()

    def of(self, number: int) -> Link:
        """Return the link of one node."""
        return self.nodes.get(number, Link())

    def cut_from(self, number: int) -> list[int]:
        """Return the nodes that one cannot reach, nor they it."""
        return sorted(a if b == number else b for a, b in self.cuts if number in (a, b))

    def change(self, number: int, words: Sequence[str]) -> Links:
        """Return the links with one of them changed; ``up`` ends what it is cut from, too."""
        link = self.of(number).but(words)
        nodes = {**self.nodes, number: link}
        cuts = self.cuts
        if link == Link():
            del nodes[number]
            cuts = frozenset(pair for pair in cuts if number not in pair)
        return Links(nodes, cuts)

    def cut(self, one: int, other: int) -> Links:
        """Return the links with two nodes cut off from each other, and from no one else."""
        if one == other:
            raise InvalidInput(
                f"node{one} cannot be cut off from itself", mend="name two nodes, or: link down"
            )
        pair = (min(one, other), max(one, other))
        return replace(self, cuts=self.cuts | {pair})


def load(paths: LabPaths) -> Links:
    """Return what is the matter with a lab's links; where nothing is recorded, nothing."""
    try:
        values = json.loads(paths.links.read_text())
        nodes = {int(number): Link(**link) for number, link in values["nodes"].items()}
        return Links(nodes, frozenset((one, other) for one, other in values["cuts"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Links()


def save(paths: LabPaths, links: Links) -> None:
    """Write what is the matter with a lab's links."""
    nodes = {str(number): asdict(link) for number, link in links.nodes.items()}
    text = json.dumps({"nodes": nodes, "cuts": sorted(links.cuts)})
    write_atomic(paths.links, text.encode() + b"\n", durable=False)


def ruleset(paths: LabPaths, links: Links) -> str:
    """Return the rules of the bridge that lose packets and cut nodes off from each other."""
    lost = [
        f'{way} "{paths.node(number).veth}" numgen random mod 100 < {link.loss} drop'
        for number, link in sorted(links.nodes.items())
        if link.loss is not None
        for way in ("iifname", "oifname")
    ]
    apart = [
        f'iifname "{paths.node(a).veth}" oifname "{paths.node(b).veth}" drop'
        for pair in sorted(links.cuts)
        for a, b in (pair, pair[::-1])
    ]
    table = paths.table
    text = f"add table bridge {table}\ndelete table bridge {table}\n"
    if not lost and not apart:
        return text
    chains = {
        "prerouting": [rule for rule in lost if rule.startswith("iifname")],
        "postrouting": [rule for rule in lost if rule.startswith("oifname")],
        "forward": apart,
    }
    body = "".join(
        f"    chain {hook} {{\n        type filter hook {hook} priority -250; policy accept;\n"
        + "".join(f"        {rule}\n" for rule in rules)
        + "    }\n"
        for hook, rules in chains.items()
    )
    return f"{text}table bridge {table} {{\n{body}}}\n"
