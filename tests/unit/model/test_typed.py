"""A value whose fields do not hold what they are declared to hold is found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pytest

from corpus.model.typed import well_typed


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    number: int


@dataclass(frozen=True)
class Outer:
    text: str = ""
    number: int = 0
    on: bool = False
    share: float | None = None
    words: tuple[str, ...] = ()
    inner: Inner | None = None
    all: tuple[Inner, ...] = ()
    colour: Colour = Colour.RED


WHOLE = Outer("a", 1, True, 0.5, ("b",), Inner(1), (Inner(2), Inner(3)))


def test_what_holds_what_it_should_is_returned() -> None:
    for value in (Outer(), WHOLE, replace(WHOLE, share=2)):
        assert well_typed(value) is value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", 5),
        ("text", None),
        ("text", ["a"]),
        ("number", "1"),
        ("number", True),
        ("number", 1.5),
        ("on", 1),
        ("share", "0.5"),
        ("share", True),
        ("words", ["b"]),
        ("words", ("b", 1)),
        ("inner", {"number": 1}),
        ("all", (Inner(1), 2)),
        ("colour", "red"),
    ],
)
def test_what_does_not_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} is "):
        well_typed(replace(WHOLE, **{name: value}))


def test_what_is_wrong_within_is_named() -> None:
    with pytest.raises(ValueError, match=r"^number is 'x'"):
        well_typed(Outer(inner=Inner("x")))  # type: ignore[arg-type]
