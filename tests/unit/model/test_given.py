"""Arguments are made what a function takes, or refused in words that help."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType
from typing import Annotated, Any

import pytest

from corpus.model.errors import InvalidInput
from corpus.model.given import Within, fitted

Seconds = Annotated[int, Within(0, 3600)]


@pytest.mark.parametrize(
    ("value", "wanted", "made"),
    [
        (True, bool, True),
        ("30", Seconds, 30),
        (30.0, Seconds, 30),
        (0, Seconds, 0),
        ("0.5", float, 0.5),
        (2, float, 2.0),
        (12345678, str, "12345678"),  # an id of decimal digits, as Salt's command line reads it
        ("abc", str, "abc"),
        (None, str | None, None),
        (5, str | int | None, 5),
        ("5", str | int | None, "5"),
        (False, str | bool, False),
        ("none", int | str | None, "none"),
        (8000, Seconds | str | None, "8000"),
        (["a", 1], str | list[str] | None, ["a", "1"]),
        (("a",), list[str], ["a"]),
        ({"a": None}, str | dict[str, Any], {"a": None}),
        (OrderedDict(a=1), str | dict[str, Any] | None, {"a": 1}),  # Salt's YAML gives such
        (MappingProxyType({"a": 1}), dict[str, Any], {"a": 1}),
        (["sleep", 0.5], list[str], ["sleep", "0.5"]),  # as Salt's command line reads it
        (1, bool, True),
        (0, bool | None, False),
        (1, str | bool, "1"),
        (0, bool | int, 0),
    ],
)
def test_it_is_made_what_is_taken(value: object, wanted: Any, made: object) -> None:
    found = fitted("it", value, wanted)
    assert (found, type(found)) == (made, type(made))


@pytest.mark.parametrize(
    ("value", "wanted", "message"),
    [
        ("False", bool, "it is True or False, not 'False'"),
        (2, bool, "it is True or False, not 2"),
        (1.0, bool, "True or False"),
        ("1", bool, "True or False"),
        ([("a", 1)], dict[str, Any], "a mapping"),
        ([True], list[str], "a text"),
        ("abc", Seconds, "it is a whole number, not 'abc'"),
        (True, Seconds, "a whole number"),
        (1.5, Seconds, "a whole number"),
        ("١", Seconds, "a whole number"),
        (-1, Seconds, "it is from 0 to 3600, not -1"),
        (10**30, Seconds | None, "from 0 to 3600"),
        (float("nan"), float, "a number that can be counted to"),
        (10**30, float, "a number that can be counted to"),
        (None, str, "a text"),
        (b"x", str, "a text"),
        (True, str, "a text"),
        ("a\0b", str, "a text without NUL"),
        ("\ud800", str, "characters that there are"),
        ([["a"]], list[str], "a text"),
        ({}, list[str], "a list"),
        ([], str | dict[str, Any], "a text or a mapping"),
        (1.5, str | int | None, "a text or a whole number, not 1.5"),
    ],
)
def test_what_cannot_be_is_refused(value: object, wanted: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        fitted("it", value, wanted)
    assert caught.value.where == "the argument it"
