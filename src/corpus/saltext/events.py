"""Events on Salt's bus: that of the minion here and, through it, of its master.

The deployer is no minion and has no keys. It hands the event to the minion that runs in this
environment, if one does; that one passes it on over the connection that it has already.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import salt.transport
from salt.utils.event import get_event

_PATIENCE = 800  # milliseconds that Salt may take to reach the bus


class Events:
    """Fire events as the minion whose options are given; where none runs, nothing happens."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._opts = dict(opts)

    def fire(self, tag: str, data: dict[str, Any]) -> None:
        """Put an event on the bus. Raises OSError when a minion runs and does not take it."""
        if not self.socket.exists():  # Salt itself would try for seconds
            return
        with get_event("minion", opts=self._opts, listen=False) as bus:
            # Salt adds its time to what it is given.
            taken = bus.fire_event(dict(data), tag, _PATIENCE)
            if taken and self._has_master():
                taken = bus.fire_master(dict(data), tag, _PATIENCE)
        if not taken:
            raise OSError("the minion does not take it")

    @property
    def socket(self) -> Path:
        """Where the minion takes events (``ipc_mode: ipc``, Salt's default on Linux)."""
        with closing(salt.transport.ipc_publish_server("minion", self._opts)) as bus:
            return Path(bus.pull_path or "")

    def _has_master(self) -> bool:
        opts = self._opts
        return bool(opts["file_client"] == "remote" and opts["master_type"] != "disable")
