"""Builds that are stopped, repeated or split into processes end with the same bytes."""

import shutil

import full_disk
import pytest
import tensorflow as tf
import tiny_dump
from tiny_build import contents, load, settings

from hand_tf.core import atomic, command_line, schema
from tfrecords_tools import build
from tfrecords_tools.records import camera_pass, from_dump


def test_workers_do_not_change_a_byte(built, dump, tmp_path):
    build.build(settings(dump, tmp_path / "out", workers=2))
    assert contents(tmp_path / "out") == contents(built)


def test_a_build_that_was_stopped_continues_to_the_same_bytes(built, dump, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(built, output)
    victim = sorted(output.glob("*.tfrecord"))[2]
    others = {path: path.stat().st_mtime_ns for path in output.glob("*.tfrecord") if path != victim}
    victim.unlink()
    (output / "manifest.json").unlink()
    (output / "index.csv").unlink()
    build.build(settings(dump, output))
    assert contents(output) == contents(built)
    assert all(path.stat().st_mtime_ns == time for path, time in others.items())  # finished shards are left alone
    assert load(output).report["records"] == 16


def test_finished_records_are_not_built_again(built, dump, monkeypatch):
    monkeypatch.setattr(from_dump, "cut_crops", lambda jobs, workers: pytest.fail("a camera was read again"))
    assert build.build(settings(dump, built)) == load(built).report


def test_a_build_that_died_while_cutting_keeps_the_finished_cameras(built, dump, tmp_path, monkeypatch):
    output, run_job, done = tmp_path / "out", camera_pass.run_job, []

    def die_at_the_last(job):
        if job.camera.name == "00_02":
            raise OSError("No space left on device")
        run_job(job)

    monkeypatch.setattr(camera_pass, "run_job", die_at_the_last)
    with pytest.raises(OSError, match="No space left"):
        build.build(settings(dump, output))
    assert not list(output.glob("*.tfrecord")) and not (output / "manifest.json").exists()
    monkeypatch.setattr(camera_pass, "run_job", run_job)
    monkeypatch.setattr(
        camera_pass.frames, "read", lambda *args, read=camera_pass.frames.read: done.append(args[1].name) or read(*args)
    )
    build.build(settings(dump, output))
    assert done == ["00_02"] and contents(output) == contents(built)


def test_a_shard_that_cannot_be_written_does_not_appear(dump, tmp_path, monkeypatch):
    def full(record):
        raise tf.errors.ResourceExhaustedError(None, None, "out: No space left on device")

    monkeypatch.setattr(schema, "encode", full)
    with pytest.raises(OSError, match="No space left"):
        build.build(settings(dump, tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.tfrecord*"))


def test_other_settings_or_another_input_in_the_same_folder_are_refused(built, dump, tmp_path):
    with pytest.raises(ValueError, match=r"begun with other crop_size, seed; take another --output"):
        build.build(settings(dump, built, crop_size=32, seed=3))
    changed = tmp_path / "pose1"
    shutil.copytree(dump, changed)
    tiny_dump.write_hands(changed, 3, [])
    with pytest.raises(ValueError, match="begun with other pictures, sequences"):
        build.build(settings(changed, built))
    with pytest.raises(ValueError, match="not empty, and not begun by this command"):
        build.build(settings(dump, dump))


def fill_shards(patch):
    """Lets the disk be full at the fifth record, in TensorFlow's words."""
    written = []

    class Writer(tf.io.TFRecordWriter):
        def write(self, record):
            if len(written) == 4:
                raise tf.errors.ResourceExhaustedError(None, None, f"out; {full_disk.ERROR}")
            written.append(record)
            super().write(record)

    patch.setattr(schema.tf.io, "TFRecordWriter", Writer)


@pytest.mark.parametrize(
    ("fill", "shards"),
    [
        (lambda patch: full_disk.fill(patch, atomic, "00_01.bin.partial"), 0),
        (lambda patch: full_disk.fill(patch, atomic, "00_01.png.partial"), 0),
        (lambda patch: full_disk.fill(patch, atomic, "00_01.json.partial", spared=1), 0),
        (fill_shards, 1),
        (lambda patch: full_disk.fill(patch, atomic, "index.csv.partial"), 6),
        (lambda patch: full_disk.fill(patch, atomic, "manifest.json.partial"), 6),
    ],
    ids=["crops", "background", "crops' index", "shard", "index", "manifest"],
)
def test_a_full_disk_is_one_line_and_the_build_continues_from_there(
    built, dump, tmp_path, monkeypatch, capsys, fill, shards
):
    output = tmp_path / "out"
    arguments = [f"--input={dump}", f"--output={output}", "--crop_size=64", "--workers=1", "--records_per_shard=3"]
    with monkeypatch.context() as patch:
        fill(patch)
        assert command_line.run(build.main, arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and full_disk.ERROR in line
    assert not (output / "manifest.json").exists()
    spools, whole = output / "work" / "spool" / "pose1", contents(built)
    assert (spools / "00_00.bin").is_file() and (spools / "00_00.json").is_file()
    times = {path: path.stat().st_mtime_ns for path in output.glob("*.tfrecord")}
    assert len(times) == shards and all(path.read_bytes() == whole[path.name] for path in times)
    assert command_line.run(build.main, arguments) == 0
    assert contents(output) == whole and load(output).report["records"] == 16
    assert {path: path.stat().st_mtime_ns for path in times} == times and not list(output.rglob("*.partial"))
