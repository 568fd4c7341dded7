"""What a killed ``lxc-start`` leaves: processes without a monitor, control groups."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def groups(id: str, root: Path = CGROUPS) -> list[Path]:
    """Return the control groups of a guest, in every hierarchy, inner ones first."""
    tops = [p for shape in ("", "*/") for p in root.glob(f"{shape}lxc.*.{id}*")]
    found = {path for top in tops for path in [top, *top.rglob("*")] if path.is_dir()}
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def alive(id: str, root: Path = CGROUPS) -> bool:
    """Tell whether anything of a guest's runs, whatever LXC calls it."""
    for path in groups(id, root):
        if not any(part.startswith("lxc.monitor.") for part in path.parts):
            with suppress(OSError):
                if (path / "cgroup.procs").read_text().strip():
                    return True
    return False


def clear(id: str, root: Path = CGROUPS, patience: float = 5.0) -> None:
    """Kill what still runs in a guest's control groups and remove them.

    For a guest that LXC calls stopped: its init may live on when its monitor was killed.
    """
    deadline = time.monotonic() + patience
    while (left := groups(id, root)) and time.monotonic() < deadline:
        for path in left:
            with suppress(OSError):
                for pid in (path / "cgroup.procs").read_text().split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            with suppress(OSError):
                path.rmdir()
        if groups(id, root):
            time.sleep(0.02)
