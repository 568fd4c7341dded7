"""Held traffic: 100 requests a second while a good and a bad version are pushed."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.tiny import Tiny, command
from tests.load import Load

from bench.figures import Figure, of
from bench.stage import Stage, say
from corpus.lab import salt
from corpus.lab.tenant import Checkout, Environment

HOST_NAME = "tiny.localhost"
UNIT = "tiny.service"
_STAMPS = ("ActiveExitTimestampMonotonic", "InactiveEnterTimestampMonotonic",
           "ActiveEnterTimestampMonotonic")  # fmt: skip


@dataclass
class Tally:
    """What became of the requests of one kind of scene, over all its runs."""

    sent: int = 0
    failures: list[str] = field(default_factory=list)
    twice: int = 0
    lost: int = 0
    waits: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)

    def take(self, load: Load, entries: list[str]) -> None:
        """Add one run: each POST that was answered well must be there once, no other twice."""
        kept = Counter(entries)
        self.sent += load.sent
        self.failures += load.failures
        self.waits.append(max(load.waits))
        self.twice += sum(1 for count in kept.values() if count > 1)
        self.lost += sum(1 for text in load.posted if text not in kept)


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Push good and bad versions under load; then restart the same service unheld."""
    with stage.environment() as environment:
        scenes = Scenes(stage, environment)
        good, bad, held, plain = Tally(), Tally(), Tally(), Tally()
        for number in range(runs):
            say(f"a good push under load, {number + 1} of {runs}")
            scenes.push(good, f"good-{number}", good=True)
            say("a bad push under load")
            scenes.push(bad, f"bad-{number}", good=False)
            say("systemctl restart under load, the proxy waiting or not")
            scenes.restart(held, hold=60)
            scenes.restart(plain, hold=0)
    return [
        *_pushes("good", good, plain),
        *_pushes("bad", bad, plain),
        _failed("traffic.restart.waiting-proxy.failed", held),
        _failed("traffic.restart.failed", plain),
    ]


class Scenes:
    """The tiny project, live in an environment, and what is done to it under load."""

    def __init__(self, stage: Stage, environment: Environment) -> None:
        self.environment = environment
        self.port = stage.lab.http_port
        self.node = stage.lab.node()
        self.tiny = Tiny("tiny")
        self.code: Checkout = stage.developer.clone("tiny")
        environment.init_project("tiny", stage.developer.public_key)
        environment.route(HOST_NAME, self.tiny.port)
        assert self._push() == 0

    def push(self, tally: Tally, version: str, *, good: bool) -> None:
        """Push a version; a bad one fails after its service has started."""
        live, self.tiny.version = self.tiny.version, version
        self.tiny.phases = {} if good else {"post_install": command("bad", "sleep 0.5; false")}
        codes: list[int] = []
        self._under_load(tally, lambda: codes.append(self._push()))
        assert (codes == [0]) is good, f"the push ended with {codes}"
        self.tiny.version = version if good else live
        assert json.loads(self._get("/version"))["version"] == self.tiny.version
        tally.held.append(float(self._last_entry()["held"]))
        tally.stopped.append(self._stopped())

    def restart(self, tally: Tally, *, hold: int) -> None:
        """Restart the service as an administrator would, the proxy holding so many seconds."""
        self._route(hold)
        inside = self.environment.host
        self._under_load(tally, lambda: inside.run(["systemctl", "restart", UNIT]))
        tally.stopped.append(self._stopped())
        self._route(60)

    def _route(self, hold: int) -> None:
        words = (self.environment.id, HOST_NAME, self.tiny.port)
        salt.call(self.node, "corpus_node.route", *words, hold=hold)
        time.sleep(1)

    def _under_load(self, tally: Tally, act: Callable[[], object]) -> None:
        inside = self.environment.host
        inside.run(["rm", "-f", "/srv/projects/tiny/data/entries"])
        load = Load(self.port, HOST_NAME).start()
        time.sleep(1)
        act()
        time.sleep(1)
        load.finish()
        tally.take(load, json.loads(self._get("/entries")))

    def _push(self) -> int:
        self.tiny.write(self.code.tree)
        self.code.commit(f"Version {self.tiny.version}")
        return self.code.push(self.environment, "tiny", ref="+HEAD:refs/heads/master").code

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Host": HOST_NAME}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: bytes = answer.read()
        return body

    def _last_entry(self) -> dict[str, float]:
        ledger = "/srv/projects/tiny/.corpus/ledger.jsonl"
        line = self.environment.host.run(["tail", "-n", "1", ledger]).out
        found: dict[str, float] = json.loads(line)
        return found

    def _stopped(self) -> float:
        """Return the seconds from the service's last stop to its start, as systemd saw them."""
        ask = ["systemctl", "show", UNIT, *(f"--property={stamp}" for stamp in _STAMPS)]
        text = self.environment.host.run(ask).out
        stamps = dict(line.split("=", 1) for line in text.splitlines())
        start, stop = int(stamps[_STAMPS[2]]), int(stamps[_STAMPS[0]])
        return (start - stop) / 1e6


def _failed(name: str, tally: Tally, **rest: object) -> Figure:
    more = {"sent": tally.sent, "lost": tally.lost, "kinds": dict(Counter(tally.failures)),
            "longest_wait": max(tally.waits), "stopped": tally.stopped}  # fmt: skip
    return Figure(name, len(tally.failures), "requests", more=more, **rest)  # type: ignore[arg-type]


def _pushes(kind: str, tally: Tally, plain: Tally) -> list[Figure]:
    name = f"traffic.{kind}"
    failures = len(plain.failures)
    figures = [
        _failed(f"{name}.failed", tally, reference="restart unheld", reference_value=failures,
                goal="0", met=not tally.failures),
        Figure(f"{name}.posts-twice", tally.twice, "requests", goal="0", met=tally.twice == 0),
        Figure(f"{name}.posts-lost", tally.lost, "requests", goal="0", met=tally.lost == 0),
        of(f"{name}.longest-wait", tally.waits, reference="restart unheld",
           reference_value=round(max(plain.waits), 4)),
        of(f"{name}.held", tally.held),
    ]  # fmt: skip
    if kind == "good":
        stop = round(sum(plain.stopped) / len(plain.stopped), 4)
        figures.append(
            of(f"{name}.stop-to-start", tally.stopped, reference="restart", reference_value=stop)
        )
    return figures
