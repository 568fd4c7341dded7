"""Call Salt's functions on a lab's machines, as a sysadmin would with ``salt-call --local``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from corpus.hosts.base import Host
from corpus.model.errors import CorpusError


def call(
    host: Host,
    function: str,
    *args: Any,
    timeout: float = 300,
    tell: Callable[[str], None] = lambda line: None,
    **kwargs: Any,
) -> Any:
    """Return what a Salt function returns. Raises CorpusError with what it says instead.

    ``tell`` gets, at the end, each line that was written to standard error: a deployment's log.
    """
    words = [json.dumps(value) if not isinstance(value, str) else value for value in args]
    words += [
        f"{key}={json.dumps(value) if not isinstance(value, str) else value}"
        for key, value in kwargs.items()
    ]
    argv = ["salt-call", "--local", "--out=json", "--retcode-passthrough", "--log-level=quiet"]
    result = host.run([*argv, function, *words], check=False, timeout=timeout)
    for line in result.err.splitlines():
        tell(line)
    try:
        found = json.loads(result.out)["local"]
    except (ValueError, KeyError, TypeError):
        said = (result.err or result.out).strip()
        raise CorpusError(f"{function} failed\n{said}", where=host.name) from None
    if result.code != 0 and isinstance(found, str):
        raise CorpusError(f"{function} failed\n{found}", where=host.name)
    return found
