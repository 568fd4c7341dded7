"""Commands of one host share the seconds that they have."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from corpus.hosts.deadline import Deadline
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed


def test_what_is_left_is_what_a_command_may_take() -> None:
    fake = Fake()
    host = Deadline(fake, 60)
    host.run(["one"])
    host.run(["two"], timeout=5)
    first, second = (call.timeout or 0 for call in fake.calls)
    assert 50 < first <= 60
    assert second == 5
    host.run(["three"], most=1000)
    assert [call.most for call in fake.calls] == [4 << 20, 4 << 20, 1000]


def test_past_the_time_nothing_runs_any_more() -> None:
    host = Deadline(Local(), 0.3)
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(CommandFailed) as caught:
            host.run(["sleep", "60"], check=False)
        assert caught.value.code is None
    assert time.monotonic() - begun < 30


def test_files_are_the_other_hosts(tmp_path: Path) -> None:
    host = Deadline(Local(), 5)
    host.put(tmp_path / "file", b"data", 0o600)
    assert host.get(tmp_path / "file") == b"data"
