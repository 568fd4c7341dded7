"""The deploy service: a fork server that has Salt loaded, and one process a deployment.

It listens on a Unix socket. The caller's account, told by the kernel, must be the
project's own, or root. Each request is served by a forked child, so that a deployment
outlives the connection that asked for it, and its death touches nothing but itself: the
parent then ends what the child left running and forks another to put things back.

Protocol, JSON lines. In: ``{"project", "ref", "new", "kind"?, "target"?, "with_data"?,
"attach"?}``: ``ref`` is the deploy branch and ``new`` the commit, empty unless ``kind`` is
``deploy``; ``kind``, ``target`` and ``with_data`` are those of a ``Request``; ``attach`` is the
id of a deployment to follow instead. Out: ``{"id"}`` of a new one, then ``{"log"}`` for each
line, at the end ``{"outcome", "error"}``.
"""

from __future__ import annotations

import contextlib
import gc
import grp
import json
import os
import pwd
import select
import signal
import socket
import struct
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from corpus.commands import accounts
from corpus.hosts import kernel, processes
from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import CorpusError, InvalidInput
from corpus.model.names import project_name
from corpus.project import deployment, lock, notifications
from corpus.project.deployment import MakeRunner
from corpus.project.layout import GROUP
from corpus.project.ledger import Ledger
from corpus.project.log import Log
from corpus.project.notifications import Fire
from corpus.project.place import Place, Project
from corpus.project.request import Request

MOST_CHILDREN = 64
MOST_OF_ONE = 16
"""How many requests of one project's account are served or wait at a time."""
LONGEST_REQUEST = 4096
_DIED = 70
_LARGE = 1 << 20


class Service:
    """Accept, fork, reap, recover."""

    def __init__(self, place: Place, make_runner: MakeRunner, fire: Fire) -> None:
        self.place = place
        self.make_runner = make_runner
        self.fire = fire
        # Child's pid to the account that asked for it, our own for what nobody asked for.
        self.children: dict[int, int] = {}
        # Open for a while, so that who is refused can finish asking and then reads the answer.
        self._refused: deque[socket.socket] = deque(maxlen=MOST_OF_ONE)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM; ``ready`` is called once requests are accepted."""
        kernel.become_subreaper()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        self.recover_all()
        listener = self._listen()
        gc.collect()
        gc.freeze()  # a forked child then copies fewer pages
        ready()
        sources: list[socket.socket | int] = [listener, self._wake_read]
        while True:
            readable, _, _ = select.select(sources, [], [])
            if self._wake_read in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
                self._reap()
            if listener in readable:
                connection, _ = listener.accept()
                self._take(connection)

    def recover_all(self) -> None:
        """Fork a child for each project of which a deployer or a sender died."""
        for name in self.place.names():
            project = Project.existing(self.place, name)
            if lock.recovers(project.paths.lock):
                continue  # behind anybody else the child waits for the lock
            if project.paths.journal.exists():
                self._fork(partial(self._recover, project))
            elif notifications.waiting(project):
                self._fork(partial(notifications.deliver, project, self.fire))

    def _listen(self) -> socket.socket:
        path = self.place.socket
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(str(path))
        # The projects' accounts may ask; which of them it is the kernel tells for each connection.
        path.chmod(0o666)
        if self.place.accounts:
            self.place.host.run(accounts.add_group(GROUP))
            path.chmod(0o660)
            os.chown(path, 0, grp.getgrnam(GROUP).gr_gid)
        listener.listen(128)
        return listener

    def _take(self, connection: socket.socket) -> None:
        """Serve a connection, unless its account has too many: others are to be served too."""
        uid = _uid(connection)
        if uid == os.geteuid() or list(self.children.values()).count(uid) < MOST_OF_ONE:
            self._fork(partial(self._answer, connection), uid)
            connection.close()
            return
        connection.setblocking(False)
        error = f"{MOST_OF_ONE} requests of this account are under way: ask again later"
        stream = _Stream(connection)
        stream.send(log=f" !     {error}")
        stream.send(outcome=str(Outcome.REFUSED), error=error)
        self._refused.append(connection)

    def _fork(self, work: Callable[[], None], uid: int | None = None) -> None:
        while len(self.children) >= MOST_CHILDREN:
            self._reap(block=True)
        pid = os.fork()
        if pid:
            self.children[pid] = os.geteuid() if uid is None else uid
            return
        code = _DIED
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            kernel.become_subreaper()
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self, block: bool = False) -> None:
        """Bury ended children; clean up behind those that died."""
        died = False
        while True:
            try:
                pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            block = False
            if pid in self.children:
                del self.children[pid]
                died |= status != 0
        if died:
            # What the dead one had started is ours now: end it before anything is put back.
            processes.kill_descendants(os.getpid(), sparing=frozenset(self.children))
            self.recover_all()

    # -- in a child

    def _recover(self, project: Project) -> None:
        identity = deployment.new_id()
        path = project.paths.state / "logs" / "recovery.log"
        if path.exists() and path.stat().st_size > _LARGE:
            path.unlink()
        log = Log(path, print)
        try:
            with lock.held(project.paths.lock, lock.recovery(identity), log.title):
                deployment.recover(project, self.make_runner, log)
        except Exception as error:
            # Not by dying: the parent would try again at once, and so for ever.
            log.alarm(str(error) or type(error).__name__)
        notifications.deliver(project, self.fire)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        stream = _Stream(connection)
        try:
            project, request, attach = self._request(connection)
        except (CorpusError, OSError, ValueError, RecursionError) as error:
            stream.send(log=f" !     {error}")
            stream.send(outcome=str(Outcome.REFUSED), error=str(error))
            return
        if attach:
            follow(project, attach, stream)
            return
        running = lock.running(project.paths.lock, request.new, request.branch)
        if running:
            stream.send(id=running)
            stream.send(log=f"-----> attached to the deployment {running} of the same commit")
            follow(project, running, stream)
            return
        identity = deployment.new_id()
        stream.send(id=str(identity))
        ending = deployment.deploy(
            project,
            request,
            self.make_runner,
            lambda line: stream.send(log=line),
            identity,
        )
        stream.send(outcome=str(ending.outcome), error=ending.error)
        connection.close()
        notifications.deliver(project, self.fire)

    def _request(self, connection: socket.socket) -> tuple[Project, Request, str]:
        asked = json.loads(_line(connection))
        if not isinstance(asked, dict):
            raise InvalidInput("not a request")
        project = Project.existing(self.place, project_name(asked.get("project")))
        if asked.get("attach"):
            DeploymentId.parse(str(asked["attach"]))
        request = Request.parse(asked, _caller(connection, project))
        return project, request, str(asked.get("attach", ""))


class _Stream:
    """JSON lines to a caller; one who went away is forgotten."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection: socket.socket | None = connection

    def send(self, **message: str) -> None:
        if self._connection is None:
            return
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._connection = None

    @property
    def gone(self) -> bool:
        return self._connection is None


def _line(connection: socket.socket) -> bytes:
    data = b""
    deadline = time.monotonic() + 10
    while not data.endswith(b"\n"):
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        piece = connection.recv(LONGEST_REQUEST)
        data += piece
        if not piece or len(data) > LONGEST_REQUEST:
            raise InvalidInput("the request is not one line of JSON")
    return data


def _uid(connection: socket.socket) -> int:
    """Return the id of the account that connected, as the kernel tells it."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", data)[1])


def _caller(connection: socket.socket, project: Project) -> str:
    """Return the caller's account. Raises InvalidInput when it is not the project's, nor root."""
    uid = _uid(connection)
    if uid == os.geteuid():
        return "root"
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    if name != project.user:
        raise InvalidInput(f"the account {name} may not deploy {project.name}")
    return name


def follow(project: Project, identity: str, stream: _Stream) -> None:
    """Send the log of a deployment as it grows, and its outcome once the ledger has it."""
    path = project.paths.log(DeploymentId.parse(identity))
    ledger = Ledger(project.paths.ledger)
    offset, idle = 0, 0.0
    while not stream.gone:
        # In this order: what a deployment says after its entry in the ledger is read as well.
        ended = ledger.find(identity)
        held = lock.is_held(project.paths.lock)
        own = held and identity in lock.holder(project.paths.lock)
        text = _read_from(path, offset)
        offset += len(text)
        for line in text.decode(errors="replace").splitlines():
            stream.send(log=line)
        if ended and not own:
            stream.send(outcome=str(ended.outcome), error=ended.error)
            return
        idle = 0.0 if text or held else idle + 0.1
        if idle > 10:
            stream.send(outcome=str(Outcome.REFUSED), error=f"{identity} is not under way")
            return
        time.sleep(0.1)


def _read_from(path: Any, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data: bytes = file.read()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]
