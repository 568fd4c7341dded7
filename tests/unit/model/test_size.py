"""Sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.model.errors import InvalidInput
from corpus.model.size import format_size, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5G", 5 << 30),
        ("5g", 5 << 30),
        ("512M", 512 << 20),
        ("10GiB", 10 << 30),
        ("10 GB", 10 << 30),
        ("1.5G", 3 << 29),
        ("0.25K", 256),
        ("1T", 1 << 40),
        ("4096", 4096),
        ("4096B", 4096),
        (" 2M ", 2 << 20),
        (7, 7),
    ],
)
def test_parse(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "0", "0G", "-1G", "G", "5X", "5G5", "5,5G", "1e9", "٥G", "5G\n5", "9" * 16, "9999999T"],
)
def test_a_bad_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_size(text)
    assert caught.value.mend


@pytest.mark.parametrize("size", [0, -1, 1 << 60, True])
def test_numbers_out_of_range(size: int) -> None:
    with pytest.raises(InvalidInput):
        parse_size(size)


@given(st.integers(min_value=1, max_value=(1 << 50) - 1))
def test_what_is_shown_can_be_read_back_within_its_last_digit(size: int) -> None:
    assert abs(parse_size(format_size(size)) - size) <= 0.05 * size


@given(st.integers(min_value=1, max_value=1023), st.sampled_from(["K", "M", "G", "T"]))
def test_whole_units_come_back_exactly(number: int, unit: str) -> None:
    assert format_size(parse_size(f"{number}{unit}")) == f"{number}{unit}"


def test_a_share_is_of_the_whole_and_a_size_is_itself() -> None:
    assert parse_share("25%", 4 << 30) == 1 << 30
    assert parse_share("512M", 4 << 30) == 512 << 20
    for wrong in ("0%", "101%", "%", "x"):
        with pytest.raises(InvalidInput):
            parse_share(wrong, 4 << 30)
