"""The error tree: what each says and exits with."""

from __future__ import annotations

import json
import pickle

import pytest

from corpus.model import errors
from corpus.model.errors import CommandFailed, CorpusError


def _tree(kind: type[CorpusError] = CorpusError) -> list[type[CorpusError]]:
    return [kind] + [found for below in kind.__subclasses__() for found in _tree(below)]


def test_an_error_says_what_where_and_how_to_mend_it() -> None:
    error = errors.NotFound("no such project: x", where="node 1", mend="list them")
    assert str(error) == "no such project: x\n  where:   node 1\n  to mend: list them"
    assert str(errors.NotFound("gone")) == "gone"


def test_every_kind_is_drawn_with_its_exit_code() -> None:
    drawn = errors.__doc__ or ""
    for kind in _tree():
        lines = [line.split() for line in drawn.splitlines() if f" {kind.__name__} " in f"{line} "]
        assert lines, f"{kind.__name__} is not in the drawing"
        assert str(kind.exit_code) in lines[0], kind.__name__


@pytest.mark.parametrize("kind", [kind for kind in _tree() if kind is not CommandFailed])
def test_errors_travel(kind: type[CorpusError]) -> None:
    error = kind("what", "where", "mend")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert json.loads(json.dumps(error.as_dict()))["error"] == kind.__name__


def test_a_failed_command_shows_the_end_of_its_output() -> None:
    error = CommandFailed(["make", "all"], 2, "\n".join(map(str, range(100))), mend="fix it")
    lines = str(error).splitlines()
    assert lines[0] == "the command ended with 2: make all"
    assert lines[1:21] == [str(number) for number in range(80, 100)]
    back = pickle.loads(pickle.dumps(error))
    assert (back.argv, back.code, back.output, back.mend) == (
        ("make", "all"),
        2,
        error.output,
        "fix it",
    )


def test_a_command_past_its_time() -> None:
    assert "ran past its time" in str(CommandFailed(["sleep"], None, ""))


@pytest.mark.parametrize(
    "error",
    [
        errors.PhaseFailed("it said hunter22", "at hunter22", "not hunter22"),
        CommandFailed(["tell", "hunter22"], 1, "hunter22\n", "not hunter22"),
    ],
)
def test_a_masked_error_shows_it_nowhere(error: CorpusError) -> None:
    error.mask(lambda text: text.replace("hunter22", "****"))
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert "****" in str(one)
        assert "hunter22" not in f"{one!s}{one!r}{vars(one)}{one.as_dict()}"
