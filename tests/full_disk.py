"""A disk that becomes full while a file is written: some bytes are stored, then the kernel reports an error."""

import contextlib
import errno
import fnmatch
import io
import os
import resource

ERROR = os.strerror(errno.ENOSPC)


class _File(io.FileIO):
    """A file for which `room` bytes are left."""

    room = 100

    def write(self, data):
        if len(data) > self.room:
            super().write(bytes(data)[: self.room])
            self.room = 0
            raise OSError(errno.ENOSPC, ERROR)
        self.room -= len(data)
        return super().write(data)


def fill(patch, module, pattern, spared=0):
    """Makes the disk full for files that `module` opens and whose name matches `pattern`, after the first `spared`."""
    count = 0

    def opened(path, mode="r", **options):
        nonlocal count
        fits = fnmatch.fnmatch(os.path.basename(path), pattern)
        count += fits
        if not fits or count <= spared:
            return open(path, mode, **options)
        file = io.BufferedWriter(_File(path, "w"))
        return file if "b" in mode else io.TextIOWrapper(file, **options)

    patch.setattr(module, "open", opened, raising=False)


@contextlib.contextmanager
def limit(size):
    """Within the block no file of this process grows beyond `size` bytes, whoever writes it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
