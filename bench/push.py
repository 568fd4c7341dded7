"""Push to live: a one-line change, from the start of ``git push`` to what HTTP answers."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench import floor
from bench.figures import Figure, median, of
from bench.stage import EXAMPLES, Stage, Visitor, say, script
from corpus.lab.tenant import Checkout, Environment

_REST = 0.5  # seconds after a push: what it tidies up must not burden the next


@dataclass
class Target:
    """Something that is pushed to, and the seconds that its pushes took."""

    name: str
    environment: Environment
    code: Checkout
    change: Callable[[Checkout, int], str]
    path: str
    live: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    @property
    def host_name(self) -> str:
        return f"{self.name}.localhost"

    def push(self, number: int) -> None:
        """Change one line, push, wait until it is seen; note how long it took."""
        wanted = self.change(self.code, number)
        self.code.commit(f"One line, {number}")
        port = self.environment.lab.http_port
        visitor = Visitor(port, self.host_name, self.path, wanted)
        visitor.start()
        self.starts.append(time.time())
        began = time.perf_counter()
        push = self.code.push(self.environment, self.name)
        ended = time.perf_counter()
        self.ends.append(time.time())
        assert push.code == 0, push.text
        self.live.append(visitor.wait(30) - began)
        self.done.append(ended - began)

    def forget(self) -> None:
        """Drop what the first push took: it sets things up."""
        for values in (self.live, self.done, self.starts, self.ends):
            values.clear()


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Push ``runs`` times to each target in turn, with salt-call between them."""
    with stage.environment() as environment:
        say("first pushes: nginx and the guestbook's requirements are installed")
        targets = list(_targets(stage, environment))
        calls: list[float] = []
        for number in range(1, runs + 1):
            say(f"round {number} of {runs}")
            for target in targets if number % 2 else reversed(targets):
                target.push(number)
                time.sleep(_REST)
            calls += json.loads(script(environment.host, "salt_call", "1"))
        parts = {t.name: breakdown(t) for t in targets if t.name != floor.NAME}
    return _figures({t.name: t for t in targets}, calls, parts)


def _targets(stage: Stage, environment: Environment) -> Iterator[Target]:
    key = stage.developer.public_key
    for name, port, change, path in (
        ("static", 80, _change_page, "/"),
        ("guestbook", 8000, _change_version, "/version"),
    ):
        environment.init_project(name, key)
        environment.route(f"{name}.localhost", port)
        code = stage.developer.clone(name)
        shutil.copytree(EXAMPLES / name, code.tree, dirs_exist_ok=True)
        target = Target(name, environment, code, change, path)
        target.push(0)
        target.forget()
        yield target
    floor.make(environment, key)
    code = stage.developer.clone(floor.NAME)
    shutil.copytree(EXAMPLES / "static", code.tree, dirs_exist_ok=True)
    target = Target(floor.NAME, environment, code, _change_page, "/")
    target.push(0)
    target.forget()
    yield target


def _change_page(code: Checkout, number: int) -> str:
    page = code.tree / "public" / "index.html"
    wanted = f"It is live, version {number}."
    page.write_text(re.sub(r"<h1>.*</h1>", f"<h1>{wanted}</h1>", page.read_text()))
    return wanted


def _change_version(code: Checkout, number: int) -> str:
    module = code.tree / "guestbook" / "__init__.py"
    wanted = f"1.0.{number}-bench"
    module.write_text(re.sub(r'VERSION = ".*"', f'VERSION = "{wanted}"', module.read_text()))
    return wanted


def breakdown(target: Target) -> dict[str, float]:
    """Return where the time of a push goes, the median seconds of each part.

    ``before``: git, SSH and the hook until the deployment has its lock; then its steps;
    ``after``: from the ledger's entry until git push has ended.
    """
    root = f"/srv/projects/{target.name}"
    text = target.environment.host.run(["cat", f"{root}/.corpus/ledger.jsonl"]).out
    entries = [json.loads(line) for line in text.splitlines()][-len(target.starts) :]
    found: dict[str, list[float]] = {}
    for entry, start, end in zip(entries, target.starts, target.ends, strict=True):
        steps = entry["steps"]
        between = entry["ended"] - entry["started"] - sum(steps.values())
        parts = {"before": entry["started"] - start, **steps, "journal, live": between}
        parts["after"] = end - entry["ended"]
        for name, seconds in parts.items():
            found.setdefault(name, []).append(seconds)
        found.setdefault("(held)", []).append(entry["held"])
    return {name: round(median(seconds), 3) for name, seconds in found.items()}


def _figures(
    targets: dict[str, Target],
    calls: list[float],
    parts: dict[str, dict[str, float]],
) -> list[Figure]:
    base, call = median(targets["floor"].live), median(calls)
    figures = [
        of("push.floor", targets["floor"].live),
        of("push.floor.exit", targets["floor"].done),
        of("push.salt-call", calls),
    ]
    for name, allowed in (("static", 1.0), ("guestbook", 3.0)):
        live = targets[name].live
        figures.append(
            of(
                f"push.{name}",
                live,
                reference="floor",
                reference_value=base,
                goal=f"<= floor + {allowed} s",
                met=median(live) <= base + allowed,
                more={"seconds_of": parts[name]},
            )
        )
        done = targets[name].done
        exit_of_floor = median(targets["floor"].done)
        figures.append(
            of(f"push.{name}.exit", done, reference="floor", reference_value=exit_of_floor)
        )
    live = targets["static"].live
    beside = Figure("push.static by salt-call", median(live), "s", "salt-call test.ping", call,
                    "<= 1.5 x salt-call", median(live) <= 1.5 * call)  # fmt: skip
    return [*figures, beside]
