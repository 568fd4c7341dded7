"""``python -m corpus.saltext.service``: the deploy service, with Salt loaded and warm."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

import salt.loader
from salt.config import minion_config

from corpus.hosts import kernel
from corpus.model.deployment import DeploymentId
from corpus.project.place import Place, Project
from corpus.project.service import Service
from corpus.saltext.engine import Engine
from corpus.saltext.events import Events
from corpus.saltext.phases import SaltPhases

CONFIG = "/etc/salt/minion"
ENGINE = Path("/run/corpus/engine")


def minion_options(config: str = CONFIG) -> dict[str, Any]:
    """Return the minion's options with its grains, as ``salt-call --local`` has them."""
    # A plain dict: Salt's own kind of mapping loses its defaults when it is merged.
    opts: dict[str, Any] = dict(minion_config(config))
    opts["file_client"] = "local"
    opts["grains"] = salt.loader.grains(opts)
    return opts


def notify_ready() -> None:
    """Tell systemd that the service is up (sd_notify(3))."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect("\0" + address[1:] if address.startswith("@") else address)
            line.send(b"READY=1")


def main() -> None:
    """Serve until stopped."""
    # Salt logs the output of failed commands: that belongs to the deployment's own log alone.
    logging.disable(logging.CRITICAL)
    place = Place()
    ENGINE.mkdir(parents=True, exist_ok=True)
    kernel.make_coverable(ENGINE)
    engine = Engine(minion_options(), ENGINE, place.prefix)
    engine.warm()

    def make_runner(project: Project, _deployment: DeploymentId) -> SaltPhases:
        engine.isolate()
        return SaltPhases(engine, project)

    events = Events(minion_config(CONFIG))
    Service(place, make_runner, events.fire).serve(notify_ready)


if __name__ == "__main__":
    main()
