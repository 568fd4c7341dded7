"""``python -m corpus.saltext.service``: the deploy service, with Salt loaded and warm."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import salt.config
import salt.loader
import salt.state

from corpus.model.deployment import DeploymentId
from corpus.project.place import Place, Project
from corpus.project.service import Service
from corpus.saltext.phases import SaltPhases

CONFIG = "/etc/salt/minion"


def minion_options(config: str = CONFIG) -> dict[str, Any]:
    """Return the minion's options with its grains, as ``salt-call --local`` has them."""
    opts: dict[str, Any] = salt.config.minion_config(config)
    opts["file_client"] = "local"
    opts["grains"] = salt.loader.grains(opts)
    return opts


def warm(opts: dict[str, Any]) -> None:
    """Load what most deployments use, so that a forked child finds it in memory."""
    scratch = opts | {"pillar": {}}
    high = salt.state.HighState(scratch, initial_pillar={})
    for name in ("file.managed", "cmd.run", "test.nop", "service.running", "user.present"):
        _ = name in high.state.states
    high.state.call_high({"warm": {"test": ["nop"], "__sls__": "warm", "__env__": "base"}})


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
    opts = minion_options()
    warm(opts)

    def make_runner(project: Project, deployment: DeploymentId) -> SaltPhases:
        return SaltPhases(opts, project, deployment)

    Service(Place(), make_runner).serve(notify_ready)


if __name__ == "__main__":
    main()
