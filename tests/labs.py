"""The lab that tests share: a whole compute node, made once a session.

``CORPUS_TEST_LAB=keep`` leaves it up for the next run, which then starts in a second.
A module takes part with ``from labs import lab`` (pytest finds fixtures by their name there).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from corpus.lab.machine import Lab, assert_clean

NAME = "test"


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Return the lab ``test``, up, with ports, subnet and directory of its own."""
    if os.geteuid() != 0:
        pytest.skip("a lab is made by root alone")
    made = Lab(NAME)
    made.up()
    yield made
    if os.environ.get("CORPUS_TEST_LAB") != "keep":
        made.down()
        assert_clean(NAME)
