"""What every test relies on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ON_THE_KERNEL = ("e2e", "integration")  # they share one lab, and time what they do


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Take away what Salt adds to the import system, an importer of the kind before Python 3.4.

    Python passes over one without ``find_spec``; pytest, which asks them itself, trips.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]


@pytest.hookimpl(tryfirst=True)  # xdist reads the mark in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one process, where there are several (``-n``), what shares the lab."""
    for item in items:
        if item.path.relative_to(HERE).parts[0] in ON_THE_KERNEL:
            item.add_marker(pytest.mark.xdist_group("lab"))
