"""Modes and platform types."""

from __future__ import annotations

import pytest

from corpus.model.errors import InvalidInput
from corpus.model.mode import Mode, Platform, parse_mode, parse_platform


def test_each_platform_has_its_mode() -> None:
    assert [platform.default_mode for platform in Platform] == [
        Mode.EDITABLE,
        Mode.COOKING,
        Mode.FINAL,
    ]


def test_the_rfc_s_other_word_for_editable() -> None:
    assert parse_mode("mixin") is Mode.EDITABLE


@pytest.mark.parametrize("mode", list(Mode))
def test_modes_by_name(mode: Mode) -> None:
    assert parse_mode(str(mode)) is mode


@pytest.mark.parametrize("text", ["", "Cooking", "cook", "x" * 200, "mixin "])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a mode") as caught:
        parse_mode(text)
    assert "cooking" in str(caught.value)
    assert len(str(caught.value)) < 200
    with pytest.raises(InvalidInput, match="not a platform"):
        parse_platform(text)


def test_platforms_by_name() -> None:
    assert parse_platform("staging") is Platform.STAGING
