"""Whatever the doctor can mend is found, mended once, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.model.finding import is_well
from corpus.project import layout
from projects import ids
from unit.project.wells import KEY, Well, config, rewrite, wrong
from unit.project.wells import well as well
from unit.project.wells import wells as wells

# What is broken, how, and what is said of it: all of them are mended.
BREAKS: dict[str, tuple[str, str, Callable[[Well], Any]]] = {
    "mode": ("permissions", "mode 0777", lambda w: w.paths.archives.chmod(0o777)),
    "folder": ("permissions", "absent", lambda w: shutil.rmtree(w.paths.build / "cache")),
    "records": (
        "permissions",
        "1 records are not root's alone",
        lambda w: w.paths.ledger.chmod(0o644),
    ),
    "salt link": (
        "links",
        "Salt does not find the project",
        lambda w: w.paths.salt_link.unlink(),
    ),
    "pillar link": (
        "links",
        "Salt does not find the project",
        lambda w: (w.paths.pillar_link.unlink(), w.paths.pillar_link.symlink_to("/nowhere")),
    ),
    "current": ("links", "it leads to nothing; live is ", lambda w: w.paths.current.unlink()),
    "unit": (
        "links",
        "systemd's links are not those of run/systemd",
        lambda w: (w.place.units / "demo.service").unlink(),
    ),
    "wanted": (
        "links",
        "systemd's links are not those of run/systemd",
        lambda w: (w.place.units / "multi-user.target.wants/demo.service").unlink(),
    ),
    "dangling unit": (
        "links",
        "systemd's links are not those of run/systemd",
        lambda w: (w.place.units / "old.service").symlink_to(w.paths.run / "systemd/old.service"),
    ),
    "keys": ("keys", "mode 0600", lambda w: (w.place.keys / "demo").chmod(0o600)),
    "no hook": ("hook", "absent: nobody can push", lambda w: layout.hook_of(w.project).unlink()),
    "hook": (
        "hook",
        "it was changed",
        lambda w: rewrite(layout.hook_of(w.project), "#!/bin/sh\n"),
    ),
    "hook mode": ("hook", "mode 0644", lambda w: layout.hook_of(w.project).chmod(0o644)),
    "hook elsewhere": (
        "hook",
        "absent",
        lambda w: (
            shutil.rmtree(layout.hook_of(w.project).parent),
            layout.hook_of(w.project).parent.symlink_to(w.scratch.folder),
        ),
    ),
    "setting": (
        "repositories",
        "not configured as it must be: receive.denydeletes",
        lambda w: config(w, "receive.denyDeletes", "false"),
    ),
    "refs": (
        "repositories",
        "not configured as it must be: receive.procreceiverefs",
        lambda w: config(w, "--unset-all", "receive.procReceiveRefs"),
    ),
    "pillar": (
        "repositories",
        "others than the account may read it",
        lambda w: w.paths.pillar_git.chmod(0o755),
    ),
    "no pillar": (
        "repositories",
        "no repository",
        lambda w: shutil.rmtree(w.paths.pillar_git),
    ),
    "archive": ("kept", "no deployment of that id is known", Well.orphan),
    "log": (
        "kept",
        "no deployment of that id is known",
        lambda w: os.utime(_touched(w.paths.log(next(iter(ids(1))))), (1, 1)),
    ),
    "build": ("leftovers", "half made", lambda w: (w.paths.build / "run-x").mkdir()),
    "gone": ("leftovers", "half made", lambda w: (w.paths.deploy / ".x.gone").mkdir()),
    "plan": ("leftovers", "half made", lambda w: (w.paths.build / "plan-x").mkdir()),
    "partial": ("leftovers", "half made", lambda w: (w.paths.deploy / "x.partial").mkdir()),
    "restoring": (
        "leftovers",
        "half made",
        lambda w: (w.paths.archives / w.live / "data.restoring").mkdir(),
    ),
    "rendered": ("leftovers", "half made", lambda w: (w.paths.state / "salt-x").mkdir()),
    "release": ("leftovers", "half made", lambda w: (w.paths.releases / ".x.partial").touch()),
    "record": ("leftovers", "half made", lambda w: (w.paths.state / ".journal.abcd1234").touch()),
    "reserve": ("disk", "the reserve", lambda w: (w.paths.state / "reserve").unlink()),
    "small reserve": (
        "disk",
        "the reserve",
        lambda w: (w.paths.state / "reserve").write_bytes(b"x"),
    ),
    "torn journal": ("journal", "before its first record", lambda w: w.paths.journal.touch(0o600)),
    "host key": ("host_key", "mode 0644", lambda w: w.host_key.chmod(0o644)),
    "public half": (
        "host_key",
        "not the public half",
        lambda w: w.place.host_key.write_text(KEY),
    ),
    "no public half": (
        "host_key",
        "not the public half",
        lambda w: w.place.host_key.unlink(),
    ),
    "a signer that nobody is paired with": (
        "peers",
        "not what follows from the pairs",
        lambda w: w.place.signers.write_text("demo@evil ssh-ed25519 AAAA\n"),
    ),
    "fetch key": (
        "fetch_keys",
        "mode 0644",
        lambda w: _fetch_key(w).chmod(0o644),
    ),
    "release key": ("release_key", "mode 0640", lambda w: w.place.release_key.chmod(0o640)),
}


def _fetch_key(well: Well) -> Path:
    well.place.fetch_keys.mkdir()
    return _touched(well.place.fetch_keys / "demo")


def _touched(path: Path) -> Path:
    path.touch(0o600)
    return path


@pytest.mark.parametrize("name", BREAKS)
def test_it_is_found_and_mended(well: Well, name: str) -> None:
    check, what, damage = BREAKS[name]
    before = well.scratch.digests()
    damage(well)
    found = wrong(well.examine())
    assert [each["check"] for each in found] == [check]
    assert what in found[0]["what"]
    assert found[0]["mend"]
    assert not found[0]["mended"]
    assert well.examine() == well.examine()  # looking changes nothing
    mended = wrong(well.examine(mend=True))
    assert [(each["check"], each["what"], each["mended"]) for each in mended] == [
        (check, found[0]["what"], True)
    ]
    assert is_well(mended)
    assert wrong(well.examine(mend=True)) == []
    assert well.scratch.digests() == before
