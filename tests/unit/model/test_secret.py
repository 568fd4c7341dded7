"""Secrets print a mask."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.model.secret import Secret, masked

VALUE = "correct horse"


@pytest.mark.parametrize(
    "show",
    [str, repr, "{}".format, "{:>20}".format, "{!r}".format, lambda s: f"{s}", lambda s: f"{[s]}"],
)
def test_no_way_of_printing_shows_it(show: object) -> None:
    shown = show(Secret(VALUE))  # type: ignore[operator]
    assert VALUE not in shown
    assert Secret.mask in shown


def test_the_old_way_of_formatting_neither() -> None:
    assert VALUE not in "%s %r" % (Secret(VALUE), Secret(VALUE))  # noqa: UP031


def test_reveal_is_the_way_out() -> None:
    assert Secret(VALUE).reveal() == VALUE


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(VALUE), protocol)


def test_it_is_not_copied_or_serialised_by_accident() -> None:
    with pytest.raises(TypeError):
        copy.deepcopy({"key": Secret(VALUE)})
    with pytest.raises(TypeError):
        json.dumps(Secret(VALUE))
    with pytest.raises((AttributeError, TypeError)):
        vars(Secret(VALUE))


def test_equality_and_hash() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_the_longest_secret_is_masked_first() -> None:
    assert masked("abcdef abcd", ["abcd", "abcdef"]) == f"{Secret.mask} {Secret.mask}"


def test_short_words_are_not_secrets() -> None:
    assert masked("yes no", ["no", ""]) == "yes no"


@given(st.text(max_size=40), st.text(min_size=4, max_size=12), st.text(max_size=40))
def test_a_masked_text_no_longer_has_it(before: str, secret: str, after: str) -> None:
    shown = masked(before + secret + after, [secret], mask="\0")
    assert secret not in shown or "\0" in secret
