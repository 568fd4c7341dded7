from pathlib import Path

from corpus.images import keys
from corpus.images.source import Checkout


def checkout(root: Path) -> Checkout:
    (root / "src/corpus/__pycache__").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "src/corpus/a.py").write_text("a = 1\n")
    return Checkout(root)


def test_a_key_tells_name_and_inputs_apart() -> None:
    assert keys.key("base", a=1) == keys.key("base", a=1)
    assert len({keys.key("base", a=1), keys.key("base", a=2), keys.key("salt", a=1)}) == 3


def test_only_source_counts(tmp_path: Path) -> None:
    first = checkout(tmp_path).digest()
    (tmp_path / "src/corpus/__pycache__/a.pyc").write_text("x")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("x")
    assert Checkout(tmp_path).digest() == first
    (tmp_path / "src/corpus/a.py").write_text("a = 2\n")
    assert Checkout(tmp_path).digest() != first


def test_a_copy_is_the_same_source(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one = checkout(tmp_path / "one")
    (one.root / "requirements").mkdir()
    (one.root / "requirements/salt.lock").write_text("salt==1\n")
    copy = one.copied(tmp_path / "two")
    assert copy.digest() == one.digest()
    assert copy.lock("salt").read_text() == "salt==1\n"
