"""The command of the dome: what it writes, its estimate, and its flags."""

import dataclasses
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from small_capture import SETTINGS

from hand_tf.core import command_line
from tfrecords_tools.dome import __main__ as main
from tfrecords_tools.dome import capture, dump, estimate, records
from tfrecords_tools.records.settings import RecordsSettings


def run(*arguments):
    return command_line.run(main.main, arguments)


def test_the_command_writes_records_that_inspect_accepts(tmp_path, capsys):
    from tfrecords_tools import inspect

    small = ["--subjects=1", "--frames=4", "--fps=2", "--num_cameras=3", "--crop_size=32", "--workers=1"]
    assert run(f"--records={tmp_path / 'records'}", *small) == 0
    assert "Kept 4 of 4 instants (4 with a pose)" in capsys.readouterr().out
    arguments = [str(tmp_path / "records"), f"--output={tmp_path / 'sheet.png'}"]
    assert command_line.run(inspect.main, arguments) == 0
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


@pytest.mark.parametrize("where", ["output", "records"])
def test_dry_run_counts_and_writes_nothing(tmp_path, capsys, where):
    arguments = [f"--{where}={tmp_path / 'x'}", "--subjects=6", "--frames=10", "--num_cameras=3", "--image_size=96x80"]
    assert run("--dry_run", *arguments, "--hands=both", "--workers=2") == 0
    said = capsys.readouterr().out
    assert "2 sequences, 6 subjects, 3 cameras of 96x80 px" in said
    assert f"60 instants, 120 hands, up to {360 if where == 'records' else 180} " in said
    assert "GB" in said and "minutes on 2 processes" in said
    assert not (tmp_path / "x").exists()


def test_dry_run_is_about_right(tmp_path):
    sequences = capture.plan(subjects=1, **(SETTINGS | {"frames": 24, "width": 96, "height": 96}))
    dump.write(tmp_path, sequences)
    pictures = list(tmp_path.rglob("*.jpg"))
    size = float(estimate.describe(sequences, dump.DumpSettings(), 1).split("(")[1].split(" kB")[0]) * 1e3
    assert size == pytest.approx(np.mean([path.stat().st_size for path in pictures]), rel=0.3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "one of --output=FOLDER (a dump) and --records=FOLDER is needed"),
        (["--output=a", "--records=b"], "one of --output=FOLDER (a dump) and --records=FOLDER is needed"),
        (["--output=a", "--image_size=1920:1080"], "expected WIDTHxHEIGHT in px"),
        (["--output=a", "--image_size=16"], "at least 32 px expected"),
        (["--output=a", "--calibration=nowhere.json"], "nowhere.json: no such calibration file"),
        (["--output=a", "--ground_truth", "--format=videos"], "--ground_truth goes with --format=images"),
        (["--output=a", "--format=videos", "--jpeg_quality=90"], "--jpeg_quality goes with --format=images"),
        (["--output=a", "--crop_size=64"], "--crop_size goes with --records"),
        (["--records=a", "--ground_truth"], "--ground_truth goes with --output"),
        (["--output=a", "--calibration=b.json", "--reach=300"], "--reach goes with the dome's own cameras"),
        # Refused even with the value of the default.
        (["--output=a", "--min_views=2"], "--min_views goes with --records"),
        (["--records=a", "--format=images"], "--format goes with --output"),
        (["--output=a", "--calibration=b.json", "--rig=ring8"], "--rig goes with the dome's own cameras"),
        (["--output=a", "--min_visible=0.5"], "--min_visible goes with --records"),
        (["--output=a", "--rig=panoptic31", "--max_roll=20"], "--max_roll goes with --rig=ring8"),
        (["--output=a", "--min_distance=900", "--max_distance=500"], "not above --max_distance=500"),
        (["--output=a", "somewhere"], "unexpected argument 'somewhere'"),
    ],
)
def test_bad_flags_get_one_clear_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) != 0
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_flags_that_are_not_given_leave_the_defaults_alone(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(dump, "write", lambda *arguments, progress: calls.append(arguments) or 1)
    monkeypatch.setattr(records, "write", lambda *arguments: calls.append(arguments) or {})
    monkeypatch.setattr("tfrecords_tools.records.shards.print_report", lambda *arguments: None)
    for arguments in ([f"--output={tmp_path}"], [f"--records={tmp_path}"], [f"--records={tmp_path}", "--margin=2"]):
        assert run(*arguments) == 0
    assert calls[0] == (str(tmp_path), capture.plan(subjects=11), dump.DumpSettings(), os.cpu_count())
    defaults = RecordsSettings(output=tmp_path)
    assert calls[1] == (capture.plan(subjects=11), defaults, os.cpu_count())
    assert calls[2][1] == dataclasses.replace(defaults, margin=2.0)


def test_a_real_calibration_makes_a_rig(tmp_path, dumped):
    output, _ = dumped
    calibration = output / "dome_pose1/calibration_dome_pose1.json"
    arguments = [f"--calibration={calibration}", "--image_size=64", "--subjects=1", "--frames=2", "--workers=1"]
    assert run(f"--output={tmp_path / 'dump'}", *arguments) == 0
    made = json.loads((tmp_path / "dump/dome_pose1/calibration_dome_pose1.json").read_text())
    wanted = json.loads(calibration.read_text())
    assert [c for c in made["cameras"] if c["type"] == "hd"] == [c for c in wanted["cameras"] if c["type"] == "hd"]


def test_the_module_runs_as_a_command():
    result = subprocess.run([sys.executable, "-m", "tfrecords_tools.dome", "--help"], capture_output=True, text=True)
    assert "--records" in result.stdout and "Traceback" not in result.stderr
