"""The edge to Salt: errors with their exit codes, arguments as people give them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from inspect import BoundArguments, signature
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from salt.exceptions import CommandExecutionError

from corpus.model.errors import CorpusError, InvalidInput
from corpus.model.given import Within, fitted

_P = ParamSpec("_P")
_T = TypeVar("_T")
Patience = Annotated[int, Within(0, 3600)]
"""Seconds until what is to end is killed."""
Wait = Annotated[float, Within(0, 3600)]
"""Seconds that something is waited for."""
Lasting = Annotated[float, Within(0, 86400)]
"""Seconds that a command may take."""
Days = Annotated[int, Within(0, 100_000)]
Count = Annotated[int, Within(1, 1000)]
Port = Annotated[int, Within(1, 65535)]


def edge(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make arguments what the annotations say, and errors Salt's, with our ``exit_code``.

    An error of ours, or of the system, becomes a CommandExecutionError. ``salt-call`` itself ends
    with 1 for every error. Salt's loader has put ``__context__`` into the module of ``function``.
    """
    taken = signature(function)
    named = [name for name, one in taken.parameters.items() if one.kind is not one.VAR_KEYWORD]

    def fit(bound: BoundArguments) -> None:
        wanted = get_type_hints(function, include_extras=True)
        for name in named:
            if name in bound.arguments:
                bound.arguments[name] = fitted(name, bound.arguments[name], wanted[name])

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        bound = taken.bind(*args, **kwargs)
        try:
            fit(bound)
            return function(*bound.args, **bound.kwargs)
        except (CorpusError, OSError) as error:
            told = error if isinstance(error, CorpusError) else _of_the_system(error)
            function.__globals__["__context__"]["retcode"] = told.exit_code
            failure = CommandExecutionError(str(told))
            failure.exit_code = told.exit_code
            raise failure from error

    return call


def _of_the_system(error: OSError) -> CorpusError:
    where = None if error.filename is None else ascii(os.fsdecode(error.filename))[:200]
    return CorpusError(f"the system says: {error.strerror or error}", where,
                       "see to that, then call it again")  # fmt: skip


def words(given: str | list[Any] | None) -> list[str]:
    """Return a list for a list, or for a text with commas or line ends between its parts."""
    if given is None:
        return []
    parts = given.replace("\n", ",").split(",") if isinstance(given, str) else given
    return [str(part).strip() for part in parts if str(part).strip()]


def pairs(given: str | dict[str, Any] | None) -> dict[str, str]:
    """Return a mapping for a mapping, or for a text such as ``a=1,b=2``. Raises InvalidInput."""
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    found = words(given)
    if not all("=" in word for word in found):
        raise InvalidInput(f"not pairs: {given!r:.60}", mend="write NAME=VALUE,NAME=VALUE")
    return dict(word.split("=", 1) for word in found)


def planned(changes: list[str]) -> dict[str, Any]:
    """Return what a call with ``test=True`` returns: the changes that the real one would make."""
    return {"test": True, "changes": changes}
