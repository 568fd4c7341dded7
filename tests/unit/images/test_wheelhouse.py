import re
from pathlib import Path

import pytest

from corpus.images import wheelhouse

LOCK = """\
aiohttp==3.1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
salt==3008.3 \\
    --hash=sha256:cc
timelib==0.3 \\
    --hash=sha256:dd
"""
LOCKS = Path(__file__).parents[3] / "requirements"


def test_a_lock_is_taken_apart() -> None:
    assert wheelhouse.select(LOCK, frozenset({"salt"})) == (
        "salt==3008.3 \\\n    --hash=sha256:cc\n"
    )
    rest = wheelhouse.select(LOCK, frozenset({"salt", "timelib"}), inverse=True)
    assert rest == "aiohttp==3.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


@pytest.mark.parametrize("name", ["salt.lock", "build.lock"])
def test_locks_hold_hashes_and_no_address(name: str) -> None:
    text = (LOCKS / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)", text, re.M)
    for entry in re.split(r"(?m)^(?=\S)", text):
        if "==" in entry:
            assert "--hash=sha256:" in entry


def test_what_is_made_from_source_is_in_the_lock() -> None:
    text = (LOCKS / "salt.lock").read_text()
    for name in wheelhouse.FROM_SOURCE | wheelhouse.LEFT_OUT:
        assert wheelhouse.select(text, frozenset({name})), name
