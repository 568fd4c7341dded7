"""The line between two nodes: what comes is what was sent, and who is silent is lost."""

from __future__ import annotations

import os
import threading

import pytest

from corpus.model.errors import CorpusError, Lost
from corpus.node.migration import frames
from corpus.node.migration.frames import Reader


def test_frames_come_as_they_were_sent_and_signs_of_life_are_none() -> None:
    source, target = os.pipe()
    lost = threading.Event()
    reader = Reader(source, lost.set)
    for part in (
        frames.request("begin", {"a": 1}),
        frames.frame(frames.ALIVE),
        frames.frame(frames.DATA, b"one"),
        frames.frame(frames.ALIVE),
        frames.frame(frames.DATA, b"two"),
        frames.frame(frames.END),
    ):
        os.write(target, part)
    assert reader.asked() == {"do": "begin", "a": 1}
    assert list(reader.stream()) == [b"one", b"two"]
    assert not lost.is_set()
    os.close(target)
    with pytest.raises(Lost):
        reader.next()
    assert lost.wait(30)
    os.close(source)


def test_who_is_silent_for_too_long_is_lost() -> None:
    source, target = os.pipe()
    reader = Reader(source, lambda: None, lease=0.05)
    with pytest.raises(Lost):
        reader.asked()
    for handle in (source, target):
        os.close(handle)


@pytest.mark.parametrize(
    "part",
    [
        frames.frame(frames.JSON, b"[]"),
        frames.frame(frames.JSON, b"[" * 50_000),
        frames.frame(frames.DATA, b""),
    ],
    ids=["no object", "too deep", "no JSON"],
)
def test_nonsense_is_no_request(part: bytes) -> None:
    source, target = os.pipe()
    reader = Reader(source, lambda: None)
    os.write(target, part)
    with pytest.raises(CorpusError, match="not a request"):
        reader.asked()
    os.close(target)
