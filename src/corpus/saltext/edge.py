"""The edge to Salt: errors with their exit codes, arguments as people give them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from salt.exceptions import CommandExecutionError

from corpus.model.errors import CorpusError, InvalidInput

_P = ParamSpec("_P")
_T = TypeVar("_T")


def edge(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make an error of ours Salt's CommandExecutionError, with our ``exit_code``.

    ``salt-call`` itself ends with 1 for every error. Salt's loader has put ``__context__`` into
    the module of ``function``.
    """

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except CorpusError as error:
            function.__globals__["__context__"]["retcode"] = error.exit_code
            failure = CommandExecutionError(str(error))
            failure.exit_code = error.exit_code
            raise failure from error

    return call


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
