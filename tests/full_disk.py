"""A disk that fills up while a file is written: some bytes arrive, then the kernel's error."""

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
    """Lets `module` find the disk full in every file whose name fits `pattern`, but for the first `spared` times."""
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
