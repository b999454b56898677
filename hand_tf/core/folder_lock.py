"""A folder that one process at a time writes to.

    FOLDER/.lock        locked as long as the process lives; the operating system frees it, whatever ends the process
    FOLDER/.owner.json  who holds it: process, machine, command, since when

A lock for one thing in a folder has the name of that thing in front: `.model.lock`.
"""

import contextlib
import datetime
import errno
import os
import pathlib
import socket
import sys
from collections.abc import Iterator

import filelock

from hand_tf.core import atomic, reading, remarks
from hand_tf.core.errors import InputError

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
LOCK, OWNER = ".lock", ".owner.json"
FILES = frozenset((LOCK, OWNER, f"{OWNER}.partial"))


@contextlib.contextmanager
def holding(folder: str | os.PathLike, name: str | None = None) -> Iterator[None]:
    """Keeps other processes from writing to `folder`, or to `name` in it, until the block ends.

    The folder is made if need be. Raises ValueError, which says who writes there, if another process does.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f".{name}" if name else ""
    path, owner = folder / (prefix + LOCK), folder / (prefix + OWNER)
    lock = filelock.FileLock(path, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InputError(f"{folder / (name or '')}: {_described(owner, path)}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        remarks.remark(f"{folder}: a file system without locks; do not let two commands write there at a time")
        yield
        return
    try:
        atomic.write_json(owner, _this_process())
        yield
    finally:
        owner.unlink(missing_ok=True)
        # While it is held: a process that opened it before sees that it is gone, and makes a new one.
        path.unlink(missing_ok=True)
        lock.release()


def _this_process():
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "process": os.getpid(),
        "machine": socket.gethostname(),
        "command": " ".join(sys.argv)[:200],
        "since": since,
    }


def _described(owner, lock):
    """Who holds the file `lock`, by the file `owner`, and what to do about it, in words."""
    try:
        found = reading.read_json_object(owner, ["process", "machine", "command", "since"])
        who = "process {process} on {machine} has been writing here since {since} ({command})".format(**found)
    except (OSError, ValueError):
        who = "another process is writing here"
    return f"{who}; wait for it to end, or take another folder. If there is no such process, delete {lock}"
