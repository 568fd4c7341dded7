"""What every test relies on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ON_THE_KERNEL = ("e2e", "integration")  # they share one lab, and time what they do


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Take away what Salt adds to the import system, an importer of the kind before Python 3.4.

    Python passes over one without ``find_spec``; pytest, which asks them itself, trips.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]


class OneLab(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps in one process what shares the lab, and elsewhere each module."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        return "lab" if path.parts[1] in ON_THE_KERNEL else str(path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneLab:
    """Share the tests out, where there are several processes (``--dist loadscope``)."""
    return OneLab(config, log)
