"""Files appear whole or not at all, and an error names the file."""

import errno

import full_disk
import pytest

from hand_tf.core import atomic


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    with atomic.replacing(path) as file:
        file.write("später\r\n")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == "später\r\n".encode() and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("power cut"), KeyboardInterrupt()])
def test_after_an_error_the_old_file_is_as_it_was(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with pytest.raises(type(error)), atomic.replacing(path, "wb") as file:
        file.write(b"half")
        raise error
    with pytest.raises(type(error)), atomic.renaming(path) as partial:
        assert partial.suffix == ".bin" and partial != path
        partial.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_text_replaces_whole_files(tmp_path):
    path = tmp_path / "a.txt"
    atomic.write_text(path, "before")
    with pytest.raises(TypeError):
        atomic.write_text(path, b"bytes are no text")
    assert path.read_text() == "before"
    atomic.write_text(path, "später")
    assert path.read_bytes() == "später".encode()


def test_json_has_finite_numbers_only(tmp_path):
    path = tmp_path / "a.json"
    atomic.write_json(path, {"a": [1, 2.5]})
    with pytest.raises(ValueError):
        atomic.write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n "a": [\n  1,\n  2.5\n ]\n}' and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    full_disk.fill(monkeypatch, atomic, "a.txt.partial")
    with pytest.raises(OSError, match=f"{full_disk.ERROR}.*{path}"):
        atomic.write_text(path, 1000 * "text")
    assert list(tmp_path.iterdir()) == []


def test_errors_keep_their_own_file_and_text(tmp_path):
    for error in (OSError(errno.EIO, "Input/output error", "other.mp4"), OSError("a worker died")):
        text = str(error)
        with pytest.raises(OSError) as found, atomic.replacing(tmp_path / "a.txt"):
            raise error
        assert str(found.value) == text


def test_the_checksum_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert atomic.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
