"""The harness's hand within an environment: requests and answers, a line of JSON each.

It runs with Python alone (``python3 control.py PROJECT``) and knows nothing of the code that
it looks at: what it tells of a project is read from files, systemd and the firewall.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAME = sys.argv[1]
ROOT = Path("/srv/projects") / NAME
FOLDER = Path("/run/corpus-faults")
BALLAST = Path("/var/tmp/corpus-faults-ballast")
SERVICE = "corpus-deploy.service"


def order(instructions: list[dict[str, str]]) -> None:
    """Have the deploy service do something at a moment; nothing is left of a former order."""
    FOLDER.mkdir(exist_ok=True)
    for name in ("go", "reached"):
        (FOLDER / name).unlink(missing_ok=True)
    partial = FOLDER / "order.partial"
    partial.write_text(json.dumps(instructions))
    partial.replace(FOLDER / "order.json")


def reached() -> bool:
    """Tell whether a deployment pauses."""
    return (FOLDER / "reached").exists() and not (FOLDER / "go").exists()


def pending() -> list[dict[str, str]]:
    """Return what was ordered and has not come about."""
    path = FOLDER / "order.json"
    return list(json.loads(path.read_text())) if path.exists() else []


def go() -> None:
    """Let a deployment that pauses go on."""
    (FOLDER / "go").touch()


def run(argv: list[str]) -> str:
    """Run a command and return what it says."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def fill() -> int:
    """Take every byte that the quota leaves; return how many they were."""
    taken = 0
    with BALLAST.open("wb") as file:
        piece = 256 << 20
        while piece >= 4096:
            try:
                os.posix_fallocate(file.fileno(), taken, piece)
                taken += piece
            except OSError:
                piece //= 2
    os.sync()
    rest = BALLAST.with_suffix(".rest")  # what the commit gave back, page by page
    with contextlib.suppress(OSError), rest.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4096))
    return taken


def free() -> None:
    """Give the room back."""
    BALLAST.unlink(missing_ok=True)
    BALLAST.with_suffix(".rest").unlink(missing_ok=True)
    os.sync()


def tree(folder: Path) -> dict[str, list[str]]:
    """Return mode, owner and digest of all that a directory holds."""
    found = {}
    for path, names, files in os.walk(folder):
        if ".git" in names:
            names.remove(".git")
        for name in names + files:
            entry = Path(path, name)
            state = entry.lstat()
            digest = ""
            if entry.is_symlink():
                digest = os.readlink(entry)  # noqa: PTH115  its text, not where it leads
            elif entry.is_file():
                digest = hashlib.sha256(entry.read_bytes()).hexdigest()
            owner = pwd.getpwuid(state.st_uid).pw_name
            found[str(entry.relative_to(folder))] = [oct(state.st_mode), owner, digest]
    return found


def text(path: Path) -> str:
    """Return a file's text, nothing when it is absent."""
    return path.read_text(errors="replace") if path.exists() else ""


def ledger() -> list[dict[str, Any]]:
    """Return the ledger's entries."""
    return [json.loads(line) for line in text(ROOT / ".corpus/ledger.jsonl").splitlines()]


def locked() -> bool:
    """Tell whether the project's lock is held."""
    try:
        with (ROOT / ".corpus/lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def busy() -> dict[str, Any]:
    """Return what tells whether a deployment is under way, quickly."""
    return {
        "locked": locked(),
        "journal": (ROOT / ".corpus/journal").exists(),
        "entries": [entry["outcome"] for entry in ledger()],
        "service": run(["systemctl", "is-active", SERVICE]).strip(),
    }


def strike(all_of_it: bool) -> list[int]:
    """Kill the deployers, or the whole service; return who was hit."""
    first = main_pid()
    pids = sorted(int(pid) for pid in members() - {first})
    if not all_of_it:
        pids = [pid for pid in pids if parent(pid) == first]
    elif first != "0":  # which it is while it starts again
        pids.append(int(first))
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids


def parent(pid: int) -> str:
    """Return the parent of a process."""
    fields = text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[1] if fields else ""


def main_pid() -> str:
    """Return the first process of the deploy service."""
    return run(["systemctl", "show", "-P", "MainPID", SERVICE]).strip()


def members() -> set[str]:
    """Return the processes of the deploy service."""
    group = run(["systemctl", "show", "-P", "ControlGroup", SERVICE]).strip()
    bases = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
    # While the service starts again it has no group: the root's processes are not its own.
    listed = [Path(base + group, "cgroup.procs") for base in bases if group]
    return {pid for path in listed for pid in text(path).split()}


def processes() -> list[str]:
    """Return the processes of the deploy service but its first."""
    told = []
    for pid in sorted(members() - {main_pid()}):
        words = text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")
        told.append(f"process {pid} {words}".strip())
    return told


def leftovers() -> list[str]:
    """Return what no deployment that has ended leaves."""
    patterns = (
        ".corpus/journal", ".corpus/salt/*", ".corpus/*.partial", "build/run-*", "deploy/.*",
        "deploy/*.partial", "archives/*/*.partial", "archives/*/*.restoring", "releases/*.partial",
        "releases/.*", "project/.git/*.lock", "git/*/*.lock",
    )  # fmt: skip
    # What a prune had set aside when it died goes with the next push.
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    left = [str(path) for path in found if path.suffix != ".gone"]
    left += ["lock"] if locked() else []
    left += [f"mount {point}" for point in mounts() if not (bound() and point == ROOT / "project")]
    for kind, name in (("set", "held"), ("map", "pages")):
        told = run(["nft", "list", kind, "inet", "corpus", name])
        left += [f"{name}: {told.partition('elements')[2]}"] if "elements" in told else []
    known = {entry["id"] for entry in ledger()}
    for folder in ("deploy", "archives"):
        names = {path.name for path in (ROOT / folder).iterdir() if path.suffix != ".gone"}
        names -= {"current"}
        left += [f"{folder}/{name} of no deployment" for name in sorted(names - known)]
    return left + processes()


def mounts() -> list[Path]:
    """Return where something is mounted below the project."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4]) for line in lines]
    return [point for point in points if ROOT in point.parents]


def bound() -> bool:
    """Tell whether run/ and project/ are one directory."""
    return (ROOT / "run").samefile(ROOT / "project")


def git(*words: str) -> str:
    """Ask the project's repository, as its owner."""
    return run(["runuser", "-u", NAME, "--", "git", "-C", f"{ROOT}/git/project.git", *words])


def journal() -> str:
    """Return what the deploy service and the project's own said lately."""
    units = [f"--unit={unit}" for unit in (SERVICE, "corpus-recover.service", f"{NAME}.service")]
    logs = sorted((ROOT / ".corpus/logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
    told = "".join(f"\n{path.name}\n{text(path)}" for path in logs[-4:])
    return run(["journalctl", "--no-pager", "--lines=200", *units]) + told


def checkout() -> str:
    """Return the commit that is checked out, and what differs from it."""
    there = ["git", "-c", "safe.directory=*", "-C", f"{ROOT}/project"]
    return run([*there, "rev-parse", "HEAD"]) + run([*there, "status", "--porcelain"])


def offered() -> list[str]:
    """Return the manifests that paired environments may read."""
    found = (ROOT / "releases").glob("*.manifest.json")
    return sorted(path.name for path in found if path.stat().st_mode & 0o777 == 0o640)


def entries_aside() -> list[str]:
    """Return the visitors' entries that the last deployment put aside."""
    last = [entry["id"] for entry in ledger()[-1:]]
    return [
        entry for name in last for entry in text(ROOT / f"archives/{name}/data/entries").split()
    ]


def probe() -> dict[str, Any]:
    """Return all that an invariant is about."""
    current = ROOT / "deploy/current"
    return {
        "run": tree(ROOT / "run"),
        "data": tree(ROOT / "data"),
        "entries": text(ROOT / "data/entries").split(),
        "aside": entries_aside(),
        "history": text(ROOT / "data/fixed/deep/history"),
        "database": text(Path(f"/var/lib/{NAME}.db")),
        "branch": git("rev-parse", "--quiet", "--verify", "refs/heads/master").strip(),
        "checkout": checkout(),
        "current": os.readlink(current) if current.is_symlink() else "",  # noqa: PTH115
        "unit": run(["systemctl", "is-active", f"{NAME}.service"]).strip(),
        "bound": bound(),
        "ledger": ledger(),
        "releases": sorted(path.name for path in (ROOT / "releases").iterdir()),
        "offered": offered(),
        "leftovers": leftovers(),
    }  # fmt: skip


WRITE = (order, go, run, fill, free, strike)
READ = (reached, pending, busy, ledger, leftovers, journal, probe)
CALLS: dict[str, Callable[..., Any]] = {call.__name__: call for call in (*WRITE, *READ)}


def main() -> None:
    """Answer until the line is closed."""
    for line in sys.stdin:
        name, *given = json.loads(line)
        try:
            answer: dict[str, Any] = {"is": CALLS[name](*given)}
        except Exception as error:
            answer = {"error": f"{name}: {error!r}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
