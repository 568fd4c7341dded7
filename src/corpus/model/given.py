"""Arguments as people give them: on a command line, in a job, in JSON.

What a function takes its annotations say; a value is made that, or refused. Salt's command line
makes a number of what looks like one: where a text is taken, a whole number is one as well, and in
lists any number. A mapping may be of any kind, and 0 and 1 may be False and True.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from corpus.model.errors import InvalidInput

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_SAID = {
    bool: "True or False", int: "a whole number", float: "a number", str: "a text",
    list: "a list", dict: "a mapping", NoneType: "None",
}  # fmt: skip


@dataclass(frozen=True)
class Within:
    """What a number is in: from ``least`` to ``most``, both included."""

    least: float
    most: float


class _Unfit(ValueError):
    """A value is none of a type; the text says what it would have to be."""


def fitted(name: str, value: object, wanted: Any) -> Any:
    """Return the argument ``name`` as its annotation has it.

    ``wanted``: ``bool``, ``int``, ``float``, ``str``, ``None``, lists of texts, mappings, several
    of them, and numbers that are annotated with what they are ``Within``. Raises InvalidInput.
    """
    choices = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    # What it is already, before what it might be made: «5» is a text where texts are taken.
    reasons = []
    for choice in sorted(choices, key=lambda one: _plain(one) is not type(value)):
        try:
            return _made(value, choice)
        except _Unfit as error:
            reasons.append(str(error))
    said = [reason for reason in dict.fromkeys(reasons) if reason != _SAID[NoneType]]
    raise InvalidInput(
        f"{name} is {' or '.join(said)}, not {ascii(value)[:60]}", f"the argument {name}",
        "give another value, or leave it out where there is a default",
    )  # fmt: skip


def _plain(wanted: Any) -> Any:
    """Return the type that an annotation is of, without what is said of it besides."""
    if get_origin(wanted) is Annotated:
        return _plain(get_args(wanted)[0])
    return get_origin(wanted) or wanted


def _made(value: object, wanted: Any) -> Any:
    plain, found = _plain(wanted), value
    if plain is str:
        found = _text(value)
    elif plain is int:
        found = _whole(value)
    elif plain is float:
        found = _number(value)
    elif plain is list and isinstance(value, list | tuple):
        found = [_word(one) for one in value]
    elif plain is dict and isinstance(value, Mapping):
        found = dict(value)
    elif plain is bool and type(value) is int and value in (0, 1):
        found = bool(value)
    elif plain is not type(value):
        raise _Unfit(_SAID[plain])
    if get_origin(wanted) is Annotated:
        for bounds in get_args(wanted)[1:]:
            if not bounds.least <= found <= bounds.most:
                raise _Unfit(f"from {bounds.least} to {bounds.most}")
    return found


def _word(value: object) -> str:
    """Return an element of a list: a command's argument may look like any number."""
    return str(value) if type(value) is float else _text(value)


def _text(value: object) -> str:
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        raise _Unfit(_SAID[str])
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Unfit("a text of characters that there are") from None
    if "\0" in value:
        raise _Unfit("a text without NUL")
    return value


def _whole(value: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    raise _Unfit(_SAID[int])


def _number(value: object) -> float:
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unfit(_SAID[float])
    if abs(value) > 1e18 or not math.isfinite(value):
        raise _Unfit("a number that can be counted to")
    return float(value)
