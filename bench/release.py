"""Releases of 1 GB in 20,000 files: making, checking and unpacking, beside the bare tools."""

from __future__ import annotations

import json
from typing import Any

from bench.data import LARGE
from bench.figures import Figure, median, of
from bench.stage import Stage, say, script

_MAKE = 1.1  # times the reference
_CHECK = 1.1


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Measure in an environment, on its btrfs."""
    with stage.environment(size="10G") as environment:
        say(f"make, check, unpack: {LARGE.name} in {LARGE.files} files")
        words = ["/srv/bench-release", str(LARGE.size), str(LARGE.files), str(runs)]
        found = json.loads(script(environment.host, "release_step", *words, timeout=1800))
    return figures(found["seconds"], found["archive_size"])


def figures(seconds: dict[str, list[float]], archive_size: int) -> list[Figure]:
    """Return the figures of what was measured."""
    middle = {name: median(values) for name, values in seconds.items()}
    speed = {
        f"{name}_mb_per_s": round(archive_size / 1e6 / middle[name], 1)
        for name in ("verify", "cat", "digest", "sha256sum")
    }
    slower = max(("cat", "digest"), key=lambda name: middle[name])
    make = of(
        "release.make.1GB", seconds["make"], reference="tar | zstd -3",
        reference_value=middle["make.bare"], goal=f"<= {_MAKE} times the reference",
        met=middle["make"] <= _MAKE * middle["make.bare"], more={"archive_size": archive_size},
    )  # fmt: skip
    check: dict[str, Any] = {**speed, "signature_alone": middle["signature"]}
    verify = of(
        "release.verify.1GB", seconds["verify"], reference=f"the slower of two: {slower}",
        reference_value=middle[slower], goal=f"<= {_CHECK} times the reference",
        met=middle["verify"] <= _CHECK * middle[slower], more=check,
    )  # fmt: skip
    unpack = of("release.unpack.1GB", seconds["unpack"], reference="tar -x",
                reference_value=middle["unpack.bare"])  # fmt: skip
    return [make, verify, unpack]
