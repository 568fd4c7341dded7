"""Python virtual environments of projects, as a Salt state.

.. code-block:: yaml

    venv:
      project_venv.installed:
        - name: /srv/projects/guestbook/run/venv
        - requirements: /srv/projects/guestbook/run/requirements.txt
        - cache: /srv/projects/guestbook/build/cache
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from corpus.hosts.local import Local
from corpus.model.errors import CorpusError
from corpus.project import venv

__virtualname__ = "project_venv"
__opts__: dict[str, Any]

_DONE = {
    "present": "The environment is as its requirements want it",
    "cached": "The environment came from the cache",
    "built": "The environment was built",
}


def __virtual__() -> str:
    """Offer the states under the name ``project_venv``."""
    return __virtualname__


def installed(
    name: str,
    requirements: str,
    cache: str,
    python: str = str(venv.PYTHON),
    timeout: float | None = None,
) -> dict[str, Any]:
    """Make the environment ``name`` hold the packages of the file ``requirements``.

    It is kept in the directory ``cache`` and brought back from there as long as the
    requirements, the interpreter ``python`` and ``name`` stay the same. ``timeout`` bounds
    each command, in seconds.
    """
    answer: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        wanted = venv.plan(Path(name), Path(requirements), Path(cache), Path(python))
        before = wanted.current
        if __opts__.get("test"):
            if before != wanted.key:
                answer["result"] = None
                answer["comment"] = f"The environment would be made (key {wanted.key})"
                answer["changes"] = {"key": {"old": before, "new": wanted.key}}
            else:
                answer["comment"] = _DONE["present"]
            return answer
        how = venv.install(Local(), wanted, timeout=timeout)
    except CorpusError as error:
        return answer | {"result": False, "comment": str(error)}
    answer["comment"] = _DONE[how]
    if how != "present":
        answer["changes"] = {"key": {"old": before, "new": wanted.key}, "how": how}
    return answer
