"""Values that were read from a file: whether their fields hold what they are declared to hold."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_T = TypeVar("_T")
_Check = Callable[[Any], bool]


def well_typed(value: _T) -> _T:
    """Return a dataclass's value, whole; raises ValueError, which names the field that is not.

    A whole number is one of ``float``, too; a truth value is no number.
    """
    kind: Any = type(value)
    for name, holds in _checks(kind):
        if not holds(found := getattr(value, name)):
            raise ValueError(f"{name} is {found!r:.100}")
    return value


@functools.cache
def _checks(kind: Any) -> list[tuple[str, _Check]]:
    return [(name, _check(hint)) for name, hint in get_type_hints(kind).items()]


def _check(hint: Any) -> _Check:
    """Return what tells whether a value is of a type; once for each, since records are many."""
    origin, within = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        checks = [_check(one) for one in within]
        return lambda value: any(holds(value) for holds in checks)
    if origin is tuple:
        each = _check(within[0])
        return lambda value: type(value) is tuple and all(map(each, value))
    if is_dataclass(hint):
        return lambda value: type(value) is hint and bool(well_typed(value))
    kinds = {float: (int, float), None: (NoneType,)}.get(hint, (hint,))
    return lambda value: type(value) in kinds
