import pytest

from corpus.images import recipes
from corpus.model.errors import NotFound


def test_both_images_stand_on_the_same_layers() -> None:
    assert recipes.ENVIRONMENT.layers == ("base", "salt", "environment", "code-environment")
    assert recipes.NODE.layers == ("base", "salt", "node", "code-node")


def test_names() -> None:
    assert recipes.named("node") is recipes.NODE
    with pytest.raises(NotFound, match="environment, node"):
        recipes.named("other")
