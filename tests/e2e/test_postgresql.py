"""The guestbook on PostgreSQL: what is no file comes back too, by the project's own macros.

Schema and rows are compared by ``pg_dump``, before and after.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from corpus.lab.tenant import Developer, Environment, Push
from patience import wait_until
from sites import environment, lab, prepared

__all__ = ["environment", "lab", "prepared"]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HOST_NAME = "pg.localhost"
NAME = "guestbook"
ROOT = f"/srv/projects/{NAME}"
BROKEN = ("guestbook-versions/v3-broken", "guestbook-versions/v3-broken-postgresql")
TIDY = "migrations/0003_tidy.sql"


class Guestbook:
    """The project in its environment, and the tree that is pushed to it."""

    def __init__(self, environment: Environment, folder: Path) -> None:
        self.environment = environment
        developer = Developer(folder)
        environment.init_project(NAME, developer.public_key)
        environment.route(HOST_NAME, 8000)
        self.code = developer.clone(NAME)

    def lay(self, *names: str) -> None:
        """Copy examples over the tree."""
        for name in names:
            shutil.copytree(EXAMPLES / name, self.code.tree, dirs_exist_ok=True)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.code.tree / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def push(self, message: str, **more: Any) -> Push:
        self.code.commit(message)
        return self.code.push(self.environment, NAME, **more)

    def take_back(self) -> None:
        """Make the tree that of the live version again, to go on from there."""
        self.code.git("reset", "-q", "--hard", self.ledger("live")[-1]["commit"])

    def ask(self, path: str, body: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.environment.lab.http_port}{path}",
            headers={"Host": HOST_NAME, "Content-Type": "application/json"},
            data=json.dumps(body).encode() if body else None,
        )
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.load(answer)

    def inside(self, *argv: str) -> str:
        return self.environment.host.run(argv).out

    def ledger(self, outcome: str = "") -> list[dict[str, Any]]:
        lines = self.inside("cat", f"{ROOT}/.corpus/ledger.jsonl").splitlines()
        return [e for e in map(json.loads, lines) if outcome in ("", e["outcome"])]

    def state(self) -> tuple[str, Any]:
        """Return the digest of schema and rows, and what visitors see."""
        text = self.inside("runuser", "-u", "postgres", "--", "pg_dump", NAME)
        # Newer ones print a random word around what psql may not interpret.
        lines = [line for line in text.splitlines() if "restrict" not in line]
        assert any("COPY public.entries" in line for line in lines)
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return digest, (self.ask("/version"), self.ask("/api/entries"))

    def wait_for(self, outcome: str, patience: float = 90) -> None:
        wait_until(
            lambda: self.ledger()[-1]["outcome"] == outcome and not self.unfinished,
            patience,
            told=lambda: self.ledger()[-1],
        )

    @property
    def unfinished(self) -> bool:
        return "journal" in self.inside("ls", f"{ROOT}/.corpus").split()

    def databases(self) -> set[str]:
        query = "SELECT datname FROM pg_database WHERE NOT datistemplate"
        told = self.inside("runuser", "-u", "postgres", "--", "psql", "-XAtc", query)
        return set(told.split())


@pytest.fixture(scope="module")
def guestbook(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Guestbook:
    """Return the guestbook with version 2 live, and entries of both versions."""
    made = Guestbook(environment, tmp_path_factory.mktemp("developer"))
    made.lay("guestbook", "guestbook-postgresql")
    first = made.push("A guestbook on PostgreSQL")
    assert first.code == 0, first.text
    made.ask("/api/entries", {"name": "Ada", "message": "of version 1, with 'quotes' and \\"})
    made.lay("guestbook-versions/v2")
    second = made.push("Moods")
    assert second.code == 0, second.text
    made.ask("/api/entries", {"name": "Grace", "message": "ü", "mood": "happy"})
    return made


def test_both_versions_are_live_and_migrated(guestbook: Guestbook) -> None:
    version, entries = guestbook.ask("/version"), guestbook.ask("/api/entries")["entries"]
    assert version == {"version": "2.0.0", "schema": 2, "entries": 2}
    assert [(entry["name"], entry["mood"]) for entry in entries] == [
        ("Grace", "happy"),
        ("Ada", ""),
    ]
    assert [entry["outcome"] for entry in guestbook.ledger()] == ["live", "live"]
    assert guestbook.inside("ls", f"{ROOT}/data") == ""


def test_a_migration_that_destroys_rows_and_fails(guestbook: Guestbook) -> None:
    before = guestbook.state()
    guestbook.lay(*BROKEN)
    push = guestbook.push("Tidy")
    guestbook.take_back()
    assert push.code != 0
    assert 'column "txt" does not exist' in push.text
    assert "rolled back: code and data are those of before" in push.text
    assert guestbook.state() == before
    assert guestbook.databases() == {"postgres", NAME}


def test_killed_while_it_migrates(guestbook: Guestbook) -> None:
    before = guestbook.state()
    guestbook.lay(*BROKEN)
    guestbook.edit(TIDY, "COMMIT;\nBEGIN;", "COMMIT;\nSELECT pg_sleep(30);\nBEGIN;")
    reached = threading.Event()

    def tell(line: str) -> None:
        if "-----> post_install" in line:
            reached.set()

    push = threading.Thread(target=guestbook.push, args=("Tidy slowly",), kwargs={"tell": tell})
    push.start()
    assert reached.wait(90)
    wait_until_damaged(guestbook)
    service = ("--kill-who=main", "--signal=KILL", "corpus-deploy.service")
    guestbook.inside("systemctl", "kill", *service)
    push.join(120)
    guestbook.wait_for("rolled_back")
    guestbook.take_back()
    assert "cut off" in guestbook.ledger()[-1]["error"]
    assert guestbook.state() == before


def wait_until_damaged(guestbook: Guestbook) -> None:
    query = "SELECT count(*) FROM entries"
    asking = ("runuser", "-u", "postgres", "--", "psql", "-XAtc", query, NAME)
    wait_until(lambda: guestbook.inside(*asking).strip() == "0")


def test_a_dump_that_does_not_load_is_mended_by_hand(guestbook: Guestbook) -> None:
    before = guestbook.state()
    guestbook.lay(*BROKEN)
    cut = '> "$DUMP" && cp "$DUMP" /var/tmp/whole && truncate --size=-100 "$DUMP"'
    guestbook.edit(".salt/top.sls", '> "$DUMP"', cut)
    push = guestbook.push("Tidy")
    assert push.code != 0
    assert "THE ROLLBACK FAILED" in push.text
    assert "pg_restore" in push.text
    assert guestbook.ledger()[-1]["outcome"] == "rollback_failed"
    # The damaged database is not dropped for a dump that cannot replace it.
    assert NAME in guestbook.databases()
    archive = f"{ROOT}/archives/{guestbook.ledger()[-1]['id']}"
    guestbook.inside("cp", "/var/tmp/whole", f"{archive}/dumps/database")
    guestbook.inside("systemctl", "restart", "corpus-deploy")
    guestbook.wait_for("rolled_back")
    guestbook.take_back()
    assert guestbook.state() == before
    assert guestbook.databases() == {"postgres", NAME}


def test_a_rollback_by_hand_takes_the_rows_back_too(guestbook: Guestbook) -> None:
    rollback = ("salt-call", "--local", "mc_project.rollback", NAME)
    guestbook.inside(*rollback, "with_data=True")
    version, entries = guestbook.ask("/version"), guestbook.ask("/api/entries")["entries"]
    assert version == {"version": "1.0.0", "schema": 1, "entries": 1}
    assert [entry["name"] for entry in entries] == ["Ada"]
