"""Sum the memory of one environment, on its node: argument its first process, as the node sees it.

PSS of its processes (smaps_rollup, proc_pid_smaps(5)), that of the deploy service among them and
that of LXC's monitor beside them, and what its memory control group is charged once its caches
were dropped. Bytes.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any


def pss(pid: str) -> int:
    """Return the proportional set size of a process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def processes(init: str) -> list[str]:
    """Return the processes that share the environment's process ids."""
    space = Path(f"/proc/{init}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "ns/pid").readlink() == space:
                found.append(entry.name)
    return found


def parent(pid: str) -> str:
    """Return the process that has started ``pid``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("PPid:"))


def group(init: str) -> Path:
    """Return the directory of its memory control group, of either layout."""
    for line in Path(f"/proc/{init}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        root = Path("/sys/fs/cgroup")
        if "memory" in controllers.split(",") or not controllers:
            parts = path.strip("/").split("/")
            last = max(n for n, part in enumerate(parts) if part.startswith("lxc.payload"))
            kept = root / ("memory" if controllers else "") / "/".join(parts[: last + 1])
            if (kept / "memory.stat").exists():
                return kept
    raise SystemExit("no memory control group")


def charged(folder: Path) -> int:
    """Drop the group's caches and return what it is charged then."""
    for name, value in (("memory.force_empty", "0"), ("memory.reclaim", "4G")):
        if (folder / name).exists():
            with contextlib.suppress(OSError):  # all that could go has gone
                (folder / name).write_text(value)
    old, new = folder / "memory.usage_in_bytes", folder / "memory.current"
    return int((old if old.exists() else new).read_text())


def look(init: str) -> dict[str, Any]:
    """Return what the environment whose first process is ``init`` takes."""
    shares = {pid: pss(pid) for pid in processes(init)}
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in shares}
    deploy = [pid for pid, words in commands.items() if b"corpus.saltext.service" in words]
    names = {
        pid: words.split(b"\0")[0].decode().rpartition("/")[2] for pid, words in commands.items()
    }
    return {
        "pss": sum(shares.values()),
        "deploy": sum(shares[pid] for pid in deploy),
        "monitor": pss(parent(init)),
        "processes": sorted([names[pid], size] for pid, size in shares.items()),
        "charged": charged(group(init)),
    }


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1])))
