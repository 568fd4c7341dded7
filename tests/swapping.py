"""What a guest's root does in ``/srv`` when a deployment swaps versions, as a script for Python."""

SWAP = """
from pathlib import Path
from corpus.hosts import kernel, subvolumes
root = Path("/srv/sub"); subvolumes.create(root)
one, two = root / "one", root / "two"
subvolumes.create(one); (one / "f").write_text("one")
subvolumes.snapshot(one, two); (two / "f").write_text("two")
kernel.exchange(one, two)
assert (one / "f").read_text() == "two" and (two / "f").read_text() == "one"
subvolumes.delete(root)
assert not root.exists()
"""
