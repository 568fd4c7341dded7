"""The lab that tests share: a whole compute node, or two, made once a session.

``CORPUS_TEST_LAB=keep`` leaves it up for the next run, which then starts in a second;
``CORPUS_TEST_SLOT=3`` gives a run a lab of its own, for several at once on one machine;
``CORPUS_TEST_IMAGES`` is the cache of images, where it is not the usual one.
A module takes part with ``from labs import lab`` (pytest finds fixtures by their name there);
with ``cluster`` as well, where it needs several nodes.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from corpus.hosts.local import Local
from corpus.images import manifest, recipes
from corpus.lab import image
from corpus.lab.machine import Lab, assert_clean
from corpus.lab.settings import Settings, settings_for

SLOT = os.environ.get("CORPUS_TEST_SLOT", "")
NAME = f"test{SLOT}"
STORAGE = "auto,auto,plain"  # of the nodes, as far as there are so many
OWN = f"of-tests{SLOT}"  # the image that the tests began with, links to the cache's archives


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Return the lab ``test``, up, with ports, subnet and directory of its own."""
    if os.geteuid() != 0:
        pytest.skip("a lab is made by root alone")
    made = Lab(NAME, settings_of_tests(NAME, storage=STORAGE), image=node_image)
    keep = os.environ.get("CORPUS_TEST_LAB") == "keep"
    if not keep:
        made.down()  # what a run that was killed left: environments in it would be in the way
    made.up()
    made.mend()  # what a test that was killed had cut off, in a lab that was kept
    yield made
    if not keep:
        made.down()
        assert_clean(NAME, made.settings)
    shutil.rmtree(made.settings.images / OWN, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(lab: Lab) -> Lab:
    """Return the same lab with a second node, its links as they should be.

    ``lab.grow(3)`` gives it a third one, with a pool of another kind.
    """
    lab.grow(2)
    return lab


@functools.cache
def node_image() -> image.NodeImage:
    """Return the node's image, made at the first call: code edited during a run is not in it."""
    cache = settings_of_tests(NAME).images
    image.current(cache, Local())
    own = cache / OWN
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(image.shown(cache) / recipes.NODE.name, own, copy_function=os.link)
    return image.NodeImage(manifest.load(own), Local())


def settings_of_tests(name: str, **given: Any) -> Settings:
    """Return the settings of lab ``name`` as the tests' environment wants them."""
    images = os.environ.get("CORPUS_TEST_IMAGES")
    return settings_for(name, {**_slot(), **({"images": images} if images else {}), **given})


def _slot() -> dict[str, Any]:
    if not SLOT:
        return {}
    number = int(SLOT)
    return {
        "subnet": f"10.86.{100 + number}.0/24",
        "http_port": 8600 + 10 * number,
        "ssh_port_base": 24000 + 400 * number,
    }
