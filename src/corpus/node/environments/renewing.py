"""What a copy of an environment gets anew, so that it can neither act nor speak as the original.

Its tree was the original's, whose root may have put links anywhere: none is followed.
"""

from __future__ import annotations

from collections.abc import Sequence

from corpus.hosts import beneath
from corpus.node.context import Node
from corpus.node.environments import guest, rootfs
from corpus.node.records import Record

MACHINE_ID = "etc/machine-id"
"""Emptied, as in an image: systemd makes one at the next start (machine-id(5))."""
SECRETS = (
    "etc/corpus/release_key",  # what the original's releases are signed with
    "etc/corpus/fetch_keys",  # what it fetches releases with from its staging environments
    "etc/corpus/peers",  # whom it is paired with, and what follows from that
    "etc/corpus/signers",
    "etc/corpus/keys/corpus-releases",
    "etc/corpus/proxy",  # as a front, should its root have kept keys where memory is mounted
    "etc/salt/pki",  # what it is to a master
    "var/cache/salt/minion",  # its grains among others
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/dbus/machine-id",
)
"""What is removed of its root directory; each is made anew at first need."""
NOTIFICATIONS = ("notify.json", "outbox")
"""What is removed of each project's ``.corpus/``: whom it tells, and what it has not told yet."""


def renew(node: Node, record: Record, keys: Sequence[str] = ()) -> None:
    """Make the volumes of an environment, which has not run yet, those of ``record``.

    ``keys`` take the place of its root's authorised keys, where there are any. Raises OSError.
    """
    with beneath.opened(guest.rootfs(node.settings, record.id)) as root:
        for path in SECRETS:
            beneath.remove(root, path)
        for name in beneath.names(root, "etc/ssh"):
            if name.startswith("ssh_host_"):
                beneath.remove(root, f"etc/ssh/{name}")
        beneath.write(root, MACHINE_ID, "", 0o444)
    rootfs.write(guest.rootfs(node.settings, record.id), rootfs.files(node, record, keys))
    with beneath.opened(guest.srv(node.settings, record.id)) as srv:
        for project in beneath.names(srv, "projects"):
            for name in NOTIFICATIONS:
                beneath.remove(srv, f"projects/{project}/.corpus/{name}")
