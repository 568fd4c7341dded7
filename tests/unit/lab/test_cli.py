from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.lab import record
from corpus.lab.__main__ import main
from corpus.lab.paths import LabPaths
from corpus.lab.settings import settings_for


def test_help_tells_every_command_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for word in (
        "up",
        "stop",
        "down",
        "status",
        "shell",
        "exec",
        "link",
        "cut",
        "examples:",
        "Exit code",
    ):
        assert word in shown


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--lab=../x", "status"], 2),
        (["up", "--lab", "x" * 300], 2),
        (["up", "--subnet=8.8.8.0/24"], 2),
        (["up", "--http-port=99999"], 2),
        (["up", "--pool-size=1M"], 2),
        (["shell"], 3),
        (["exec", "--", "true"], 3),
        (["exec", "--node", "node2", "--", "true"], 3),
        (["up", "--nodes=0"], 2),
        (["up", "--storage=paper"], 2),
        (["link", "node1", "slow"], 3),
        (["link", "node2", "down"], 3),
        (["cut", "node1", "node2"], 3),
    ],
)
def test_what_cannot_be_ends_with_its_own_code_and_a_way_out(
    argv: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--root={tmp_path}", *argv]) == code
    error = capsys.readouterr().err
    assert error.startswith("corpus-lab: ")
    assert "to mend:" in error
    assert list(tmp_path.iterdir()) == []


def test_a_lab_is_named_before_or_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Seen:
        def __init__(self, name: str, *_: object, **__: object) -> None:
            asked.append(name)

        def facts(self) -> dict[str, object]:
            node = {"ssh_ports": [1, 2], "memory": 1 << 20, "pool": None}
            return {"state": "running", "nodes": [node]}

    monkeypatch.setattr("corpus.lab.__main__.Lab", Seen)
    assert main(["--lab=one", "status"]) == 0
    assert "1 - 2" in capsys.readouterr().out
    assert main(["status", "--lab=two", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "running"
    assert asked == ["one", "two"]


def test_new_settings_stand_on_those_the_lab_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings_for("two", {"root": tmp_path, "http_port": 81, "subnet": "10.86.7.0/24"})
    record.save(LabPaths("two", tmp_path), record.Record(made))
    asked: list[object] = []

    class Seen:
        def __init__(self, name: str, settings: object, **_: object) -> None:
            asked.append(settings)

        def up(self) -> None: ...

    monkeypatch.setattr("corpus.lab.__main__.Lab", Seen)
    main(["up", "--quiet", "--lab=two", f"--root={tmp_path}", "--http-port=82"])
    assert asked == [settings_for("two", {**made.as_dict(), "http_port": 82})]


def test_words_for_a_node_and_its_command_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        "corpus.lab.__main__._enter", lambda lab, number, argv: asked.append((number, argv)) or 0
    )
    assert main(["exec", "--node", "node2", "--", "ls", "--node", "node3"]) == 0
    assert main(["exec", "ls", "-l"]) == 0
    assert main(["shell", "--node=node3"]) == 0
    assert asked == [(2, ["ls", "--node", "node3"]), (1, ["ls", "-l"]), (3, ["bash", "--login"])]
    for name in ("2", "node", "nodex", "host"):
        with pytest.raises(SystemExit):
            main(["shell", "--node", name])
