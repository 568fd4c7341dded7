"""A directory shown over another to one process alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from corpus.hosts.local import Local

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")

# In a process of its own: the block wants a single thread, which pytest does not promise.
BUILD = """
import subprocess, sys
from pathlib import Path
from corpus.hosts import kernel
new, run = map(Path, sys.argv[1:])
def live(): return Path(f"/proc/{subprocess.os.getppid()}/root{run}/file").read_text()
try:
    with kernel.private_bind(new, run):
        assert not (run / "file").exists()
        subprocess.run(["touch", str(run / "built")], check=True)
        print("others see", live())
        if "stop" in str(new): raise KeyboardInterrupt
except KeyboardInterrupt:
    print("interrupted")
print("afterwards", (run / "file").read_text(), sorted(p.name for p in new.iterdir()))
"""


@pytest.mark.parametrize("ending", ["go", "stop"])
def test_a_build_sees_the_new_directory_and_others_the_live_one(
    tmp_path: Path, ending: str
) -> None:
    run, new = tmp_path / "run", tmp_path / f"new-{ending}"
    run.mkdir()
    new.mkdir()
    (run / "file").write_text("live")
    before = Path("/proc/self/mountinfo").read_text()
    done = Local().run([sys.executable, "-c", BUILD, str(new), str(run)])
    lines = done.out.splitlines()
    assert lines[0] == "others see live"
    assert ("interrupted" in lines) == (ending == "stop")
    assert lines[-1] == "afterwards live ['built']"
    assert Path("/proc/self/mountinfo").read_text() == before
