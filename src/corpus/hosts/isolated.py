"""Work in a child that has mounts and process ids of its own, and leaves none behind.

When the caller dies, even by kill -9, the kernel ends the child, all that it started, and
with them every mount that was made. Sources: namespaces(7), pid_namespaces(7), unshare(2),
prctl(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from corpus.model.errors import CorpusError, Unsupported

_CLONE_NEWNS = 0x00020000
_CLONE_NEWPID = 0x20000000
_MS_REC = 0x4000
_MS_SLAVE = 1 << 19  # what is unmounted outside goes here too, else its filesystem lives on
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)

Value = TypeVar("Value")


def run(work: Callable[[], Value]) -> Value:
    """Return what ``work`` returns, called in the child; a CorpusError that it raises passes.

    Mounts that ``work`` makes are seen by the child alone. The result must be picklable.
    Raises Unsupported where this process may not make namespaces.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    caller = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _outer(work, writing, caller)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.waitpid(pid, 0)
    if not answer:
        raise CorpusError("the worker was killed before it finished")
    good, value = pickle.loads(answer)  # noqa: S301 # our own child wrote it
    if not good:
        raise value
    result: Value = value
    return result


def _outer(work: Callable[[], Any], pipe: int, caller: int) -> NoReturn:
    """Make the namespaces, then wait for the first process in them: its end ends all others."""
    code = 1
    try:
        _die_with_parent()
        if os.getppid() != caller:
            os._exit(1)
        if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWPID) != 0:
            reason = os.strerror(ctypes.get_errno())
            mend = "run as root, outside a restricted container"
            _answer(pipe, False, Unsupported(f"cannot make namespaces: {reason}", mend=mend))
            os._exit(1)
        pid = os.fork()
        if pid == 0:
            _inner(work, pipe)
        os.close(pipe)
        # Ctrl-C reaches the inner process too; this one only waits for its end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os._exit(code)


def _inner(work: Callable[[], Any], pipe: int) -> NoReturn:
    good, value = False, None
    try:
        _die_with_parent()
        # Nobody else in this namespace handles SIGTERM for process 1: without a handler it is lost.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _mount(None, b"/", None, _MS_REC | _MS_SLAVE)
        _mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        value = work()
        good = True
    except CorpusError as error:
        value = error
    except KeyboardInterrupt:
        value = CorpusError("interrupted")
    except BaseException as error:
        traceback.print_exc()
        value = CorpusError(f"unexpected {type(error).__name__}: {error}")
    finally:
        with contextlib.suppress(BaseException):
            _answer(pipe, good, value)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if good else 1)


def _answer(pipe: int, good: bool, value: object) -> None:
    with os.fdopen(pipe, "wb") as file:
        file.write(pickle.dumps((good, value)))


def _mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int) -> None:
    if _libc.mount(source, target, kind, flags, None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target.decode()}")


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
