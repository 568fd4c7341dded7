"""What a machine lacks is put there.

Every step may be done again, and what was put there is written down there before it is done: a
broken connection, or the death of either side, is mended by the next call.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import PurePosixPath

from corpus.commands import debian, layers, systemctl
from corpus.hosts.base import Host
from corpus.hosts.ssh import SSH
from corpus.images.manifest import Layer
from corpus.model.errors import CorpusError, Unsupported
from corpus.node.saltify import inside, looking
from corpus.node.saltify.contents import SSHD, Contents, in_tree
from corpus.node.saltify.looking import SERVICE, Look
from corpus.node.saltify.records import Machine

_LAYERS = PurePosixPath(inside.LAYERS)
_TREE, _NEW = PurePosixPath(inside.TREE), PurePosixPath(inside.NEW)
_SSHD = "/usr/sbin/sshd"
_READER = "user=corpus-releases,host=localhost,addr=127.0.0.1"
_APT = 1800  # seconds
_CARRYING = 3600.0


def apply(host: SSH, machine: Machine, contents: Contents, found: Look) -> dict[str, str]:
    """Do what is to be done; return where changed files are kept now, by path."""
    if not found.changes:
        return {}
    state = {
        "id": machine.id,
        "node": socket.gethostname(),
        "packages": list(found.packages),
        "keys": list(found.keys),
    }
    theirs = looking.ask(host, "remember", state=state, files=contents.files)["theirs"]
    kept: dict[str, str] = {}
    if found.packages:
        _install(host, found.packages)
    if found.tree:
        kept |= _put_tree(host, contents, [path for path in theirs if in_tree(path)])
    kept |= _put_files(
        host, contents, found.files, [path for path in theirs if path in found.files]
    )
    if found.keys:
        looking.ask(host, "authorise", keys=list(found.keys))
    _start(host, found)
    looking.ask(host, "settle", files=contents.files)
    return kept


def _install(host: Host, packages: Sequence[str]) -> None:
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    # A source of the owner's that is out of order need not matter: what is needed may be there.
    host.run(debian.update(), env=environment, timeout=_APT, check=False)
    host.run(debian.install(packages), env=environment, timeout=_APT)


def _put_tree(host: SSH, contents: Contents, theirs: list[str]) -> dict[str, str]:
    """Carry the layers over, unpack and verify them beside the tree, and exchange the two."""
    looking.ask(host, "empty")
    for layer in contents.layers:
        archive = _carry(host, contents, layer)
        host.run(layers.unpack_below(archive, _TREE, _NEW), timeout=_CARRYING)
    tree = {path: wanted for path, wanted in contents.files.items() if in_tree(path)}
    if wrong := looking.ask(host, "compare", files=tree, at=str(_NEW))["differs"]:
        raise CorpusError(
            f"what was unpacked there is not what the image holds: {', '.join(sorted(wrong)[:3])}",
            where=host.name,
            mend="see whether its disk is sound",
        )
    kept: dict[str, str] = looking.ask(host, "swap", kept=theirs)["kept"]
    return kept


def _put_files(
    host: Host, contents: Contents, wanted: Sequence[str], theirs: list[str]
) -> dict[str, str]:
    texts = {path: contents.texts[path] for path in wanted if path in contents.texts}
    links = {path: contents.links[path] for path in wanted if path in contents.links}
    modes = {path: contents.files[path][2] for path in texts}
    kept: dict[str, str] = looking.ask(
        host, "place", texts=texts, links=links, modes=modes, kept=theirs
    )["kept"]
    return kept


def _carry(host: SSH, contents: Contents, layer: Layer) -> PurePosixPath:
    """Have the archive of a layer there, whole; return where it lies."""
    target = _LAYERS / layer.file
    if _digest_there(host, target) == layer.digest:
        return target
    partial = target.with_name(f"{target.name}.partial")
    host.run(["mkdir", "-p", "-m", "700", str(_LAYERS)])
    host.send(contents.image.archive(layer), partial, timeout=_CARRYING)
    if _digest_there(host, partial) != layer.digest:
        raise CorpusError(f"the layer {layer.name} did not arrive whole", host.name, "run it again")
    host.run(["mv", "-fT", "--", str(partial), str(target)])
    return target


def _digest_there(host: Host, path: PurePosixPath) -> str:
    told = host.run(["sha256sum", "--", str(path)], check=False, timeout=_CARRYING).out
    return told.split(" ")[0]


def _start(host: Host, found: Look) -> None:
    """Have systemd and sshd take up what is there, and the deploy service run it.

    Raises CommandFailed, Unsupported where sshd does not read what it must.
    """
    if found.units:
        host.run(systemctl.reload(), timeout=60)
    if found.sshd:
        reload_sshd(host)
        told = host.run([_SSHD, "-T", "-C", _READER]).out.lower()
        if "authorizedkeysfile /etc/corpus/keys/%u" not in told:
            raise Unsupported(
                f"the SSH server does not go by {SSHD}", host.name,
                "have /etc/ssh/sshd_config begin with: Include /etc/ssh/sshd_config.d/*.conf, and "
                "nothing before ours set AuthorizedKeysFile",
            )  # fmt: skip
    verb = "restart" if found.restart else "start"
    host.run(systemctl.command(verb, [SERVICE]), timeout=120)


def reload_sshd(host: Host) -> None:
    """Have the SSH server read its settings anew, unless they are wrong. Raises CommandFailed."""
    host.run([_SSHD, "-t"])
    host.run(systemctl.command("try-reload-or-restart", ["ssh.service"]), timeout=60)


def ssh_notes(host: Host) -> list[str]:
    """Return what of the SSH server's settings keeps projects' accounts out."""
    lines = host.run([_SSHD, "-T", "-C", _READER], check=False).out.splitlines()
    found = [line for line in lines if line.split()[:1] in (["allowusers"], ["allowgroups"])]
    return [f"sshd lets in {line} only: add the group corpus-projects" for line in found]
