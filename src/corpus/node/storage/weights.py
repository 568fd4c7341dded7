"""What environments take where nothing accounts it (the kind ``plain``): walked for, and kept.

A walk takes the longer the more files there are, so nobody waits for one but who asks for it: the
node's timer does, and everybody else is told the last one's figures with their age.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.hosts import weighing
from corpus.hosts.files import read_json, write_atomic
from corpus.model.errors import CorpusError, NotFound
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.records import Record, Stage
from corpus.node.storage import images, pool
from corpus.node.storage.plain import WEIGHTS, PlainVolumes

SECONDS = 60.0  # that a walk of one of an environment's two volumes may take
OLD = 24 * 3600.0  # seconds after which the figures are no more to be relied on
_DEPTH = 3  # in /srv: projects/NAME/PART


@dataclass(frozen=True)
class Weight:
    """Bytes: of the ``image`` and of the ``system``, and of what is ``stored`` in /srv by places.

    ``at``: when (seconds of the epoch). Not ``complete``: there is more, time was over.
    """

    at: float
    image: int
    system: int
    stored: dict[str, int]
    complete: bool

    @property
    def used(self) -> int:
        """All but the image."""
        return max(0, self.system - self.image) + sum(self.stored.values())

    @property
    def age(self) -> float:
        """Seconds since it was found."""
        return max(0.0, time.time() - self.at)


def kept(node: Node) -> bool:
    """Tell whether environments are weighed on this node: whether nothing else accounts them."""
    return pool.volumes(node).kind == PlainVolumes.kind


def last(node: Node, id: str) -> Weight | None:
    """Return what was found last of an environment; None before the first time."""
    try:
        return read_json(_file(node, id), lambda given: Weight(**given), "a weight")
    except CorpusError:  # the next walk writes it anew
        return None


def weigh(node: Node, id: str | None = None) -> dict[str, Weight]:
    """Walk the files of one environment, or of each; keep what is found, and return it by ids.

    Nothing where the kind of storage accounts what is used. Raises NotFound.
    """
    if not kept(node):
        return {}
    records = [node.records.get(id)] if id else node.records.all()
    ready = [record for record in records if record.stage is Stage.READY]
    before = {record.id: last(node, record.id) for record in ready}
    of_images: dict[str, int | None] = {}
    found = {}
    # The oldest figures first: a round that is broken off goes on with the next one.
    for record in sorted(ready, key=lambda one: weight.at if (weight := before[one.id]) else 0.0):
        if record.image not in of_images:
            of_images[record.image] = _of_image(node, record.image)
        weight = _weigh(node, record, of_images[record.image])
        if weight is not None:
            found[record.id] = weight
    return found


def over(node: Node) -> list[str]:
    """Return the ids of environments that take more than their size, as far as is known."""
    if not kept(node):
        return []
    weighed = [(record, last(node, record.id)) for record in node.records.all()]
    return [one.id for one, weight in weighed if weight and weight.used > one.limits.size]


def _of_image(node: Node, id: str) -> int | None:
    try:
        place = images.volume(node, images.find(node, id))
        return sum(weighing.weigh(place, SECONDS).found.values())
    except (NotFound, OSError):  # it was removed
        return None


def _weigh(node: Node, record: Record, image: int | None) -> Weight | None:
    settings, began = node.settings, time.time()
    try:
        system = weighing.weigh(guest.rootfs(settings, record.id), SECONDS)
        stored = weighing.weigh(guest.srv(settings, record.id), SECONDS, _DEPTH)
    except OSError:  # it is removed just now
        return None
    if image is None:
        before = last(node, record.id)
        image = before.image if before else 0
    weight = Weight(
        began, image, sum(system.found.values()), stored.found,
        system.complete and stored.complete,
    )  # fmt: skip
    write_atomic(_file(node, record.id), json.dumps(asdict(weight)).encode(), 0o600, durable=False)
    if node.records.find(record.id) is None:
        _file(node, record.id).unlink(missing_ok=True)
    return weight


def _file(node: Node, id: str) -> Path:
    return node.settings.pool / WEIGHTS / f"{id}.json"
