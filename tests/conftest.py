"""What every test relies on."""

from __future__ import annotations

import sys

import pytest


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Take away what Salt adds to the import system, an importer of the kind before Python 3.4.

    Python passes over one without ``find_spec``; pytest, which asks them itself, trips.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
