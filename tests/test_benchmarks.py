"""Benchmarks: their flags, the sizes that they measure, and one step of what `train_step` times."""

import importlib
import json
import pathlib

import numpy as np
import pytest
import tiny_dump

from benchmarks import (
    input_pipeline,
    joint_boxes,
    learning,
    learning_tables,
    measurements,
    novel_views,
    steps,
    time_to_accuracy,
)
from hand_tf.core import command_line, geometry, records_folder
from hand_tf.training import regimes
from tfrecords_tools.dump import boxes
from tfrecords_tools.dump.skipped import Skipped

FOLDER = pathlib.Path(steps.__file__).parent
COMMANDS = sorted(path.stem for path in FOLDER.glob("*.py") if "command_line.execute(main)" in path.read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_explain_themselves_and_refuse_unknown_flags(name, capsys):
    main = importlib.import_module(f"benchmarks.{name}").main
    assert command_line.run(main, ["--help"]) == 0
    assert f"python -m benchmarks.{name}" in capsys.readouterr().out
    assert command_line.run(main, ["--no_such_flag"]) == 2
    assert "no_such_flag" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "image", "batch", "width", "features"), [("demo", 64, 32, 16, "none"), ("full", 128, 32, 64, "imagenet")]
)
def test_sizes_are_those_of_the_flagfiles(name, image, batch, width, features):
    sizes = steps.sizes_of(name)
    assert (sizes.image, sizes.batch) == (image, batch)
    assert (sizes.settings.encoder_width, sizes.settings.perceptual_weights) == (width, features)
    assert steps.sizes_of(name, 16).batch == 16


@pytest.mark.slow
def test_a_step_of_all_parts_learns_from_finite_losses():
    sizes, regime = steps.sizes_of("miniature"), regimes.REGIMES["semi_supervised"]
    mine = steps.ours(regime, sizes, run_eagerly=True)
    assert set(mine.parts) == {"encoder", "decoder", "pose_head", "features"}
    losses = [mine.model.train_on_batch(*mine.batch, return_dict=True)["loss"] for _ in range(2)]
    assert np.isfinite(losses).all() and losses[1] < losses[0]
    flops = steps.part_flops(mine)
    assert all(count > 0 for count in flops.values())
    for once in (True, False):
        pretrained = steps.step_flops(regimes.REGIMES["pretrain"], flops, once)
        supervised = steps.step_flops(regimes.REGIMES["supervised"], flops, once)
        assert steps.step_flops(regime, flops, once) == pretrained + supervised


def _result(folder, regime, scenario, labels, error, start=None, seed=0, also_trained_on=""):
    """The results of a run as `evaluate` leaves them; joints3d is 2 mm lower than box2d, the fused poses 10 mm."""
    folder.mkdir(parents=True)
    flags = {"regime": regime, "seed": str(seed), "in_plane_degrees": "0"}
    run = {"regime": regime, "configuration": regime + (" on pretrain" if start else ""), "scenario": scenario}
    run |= {"labels": labels, "validation_labels": 0, "steps": 10, "seconds": 60.0, "flags": flags, "before": start}
    run |= {"name": folder.name, "batch_size": 32, "backend": "tensorflow"}
    numbers = dict.fromkeys(("n_mpjpe", "mpjpe", "pa_mpjpe", "auc_0_50", "auc_20_50"), error)
    numbers |= {"fused": {"n_mpjpe": error - 10}, "joints_2d_px": 3.0, "reference": numbers | {"n_mpjpe": 70.0}}
    data = {"subjects": "S9+S10", "crop_size": 64, "index_sha256": "0", "max_crops": 0, "box_margin": 1.5}
    content = {"run": run, "crops": 99, "data": data | {"also_trained_on": also_trained_on}, "versions": {}}
    content |= {"machine": {}, "results": {"box2d": numbers, "joints3d": numbers | {"n_mpjpe": error - 2}}}
    (folder / "results.json").write_text(json.dumps(content))


def test_results_of_a_study_become_a_table(tmp_path, monkeypatch):
    start = {"regime": "pretrain", "name": "pre", "configuration": "pretrain", "scenario": None, "labels": 0}
    start |= {"steps": 20, "seconds": 120.0, "flags": {"regime": "pretrain", "in_plane_degrees": "0"}, "before": None}
    start |= {"batch_size": 32, "backend": "tensorflow"}
    for seed, error in enumerate((50.0, 54.0)):
        _result(tmp_path / f"head{seed}", "pose_head", "S0:64", 64, error, start, seed)
    _result(tmp_path / "alone", "supervised", "S0:640", 640, 60.0)
    docs = [f"--output={tmp_path}", "--name=demo"]
    assert command_line.run(learning.main, [f"--runs={tmp_path}", *docs]) == 0
    head, alone = measurements.newest(tmp_path, "learning")["rows"]
    assert (head["box2d"], head["joints3d"], head["fused"]) == ([52.0, 2.83], [50.0, 2.83], [42.0, 2.83])
    assert (head["seeds"], head["steps"]) == (2, [20, 10])  # with the pre-training
    assert (alone["scenario"], alone["box2d"], alone["steps"]) == ("S0:640", [60.0, None], [10])
    text = learning_tables.TABLES["learning_demo"](tmp_path)
    assert "| S0:64: pose_head on pretrain | 64 | 52.0 ± 2.8 | 50.0 ± 2.8 |" in text and "1 or 2 seeds" in text
    _result(tmp_path / "seen", "supervised", "S9:8", 8, 20.0, also_trained_on="S9")
    assert command_line.run(learning.main, [f"--runs={tmp_path}", *docs]) == 1


def test_the_first_epoch_that_is_good_enough_counts():
    errors = ("60", "", "44", "48", "39")
    history = [{"epoch": f"{n}.0", "seconds": "30", "probe": error} for n, error in enumerate(errors, 1)]
    found = [time_to_accuracy.reached(history, 32, 200, error) for error in (70, 45, 40, 30)]
    assert found == [[0.5, 6400], [1.5, 19200], [2.5, 32000], None]


@pytest.mark.slow
@pytest.mark.usefixtures("one_replica")
def test_flagfiles_are_trained_side_by_side(records, tmp_path, capsys):
    flags = [f"--data_dir={records}", f"--output={tmp_path / 'runs'}", f"--docs={tmp_path}", "--sizes=smoke"]
    flags += ["--run=pretrain", "--run=pretrain,version_0_2_0", "--also=--probe_crops=24", "--errors=500,1"]
    assert command_line.run(time_to_accuracy.main, flags) == 0
    printed = capsys.readouterr().out
    first, second = measurements.newest(tmp_path, "time_to_accuracy")["rows"]
    assert (first["run"], second["run"]) == ("pretrain-seed0", "pretrain-version_0_2_0-seed0")
    assert first["reached"]["500"][1] == 12 and first["reached"]["1"] is None and first["triplets"] == 24
    assert "–" in printed and "500 mm" in printed
    kept = json.loads((tmp_path / "runs" / second["run"] / "run.json").read_text())["flags"]
    assert (kept["centre_sigma"], kept["encode_once"]) == ("0.0", "false")


def test_the_pipeline_that_is_timed_is_that_of_training_and_its_floor_decodes_its_pictures(records):
    opened = records_folder.open_records(records)
    settings = input_pipeline.InputPipelineSettings(data_dir=str(records), batch_size=4, batches=2)
    with pytest.MonkeyPatch.context() as patch:
        options = input_pipeline.training_options
        shorter = {"min_time_gap": 0.4}  # these records span two seconds
        patch.setattr(input_pipeline, "training_options", lambda *names: {n: (options(n) | shorter)[n] for n in names})
        for augmented in (False, True):
            x, y, _ = next(iter(input_pipeline.batches(opened, settings, augmented=augmented)))
            assert x["source"].shape == y["image"].shape == (4, 32, 32, 3) and "reference" not in x
        images, decoded = input_pipeline.jpegs(opened, settings)
    assert len(images) == 2 * 4 * 3 and all(image.startswith(b"\xff\xd8") for image in images)
    assert 2 / 3 <= decoded <= 1


def test_boxes_of_joints_are_tight_about_them(tmp_path):
    rig = tiny_dump.write(tmp_path / "pose1", frames=2, sides=("right",))
    assert command_line.run(joint_boxes.main, [f"--sequence={tmp_path / 'pose1'}"]) == 0
    found = boxes.read_boxes(tmp_path / "pose1", Skipped())
    assert sorted(found) == [(frame, 0, "right") for frame in range(2)]
    for (frame, *_), views in found.items():
        for camera in rig:
            pixels = geometry.project(tiny_dump.joints_at(frame, "right"), camera)
            expected = [*pixels.min(0), *(np.ptp(pixels, axis=0) + 1)]
            np.testing.assert_allclose(views[camera.name], expected, atol=0.06)


def test_extended_fingers_are_counted_whatever_the_size_and_direction_of_the_hand():
    straight, bent = np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 1.6, 1.2])
    pose = np.zeros((21, 3))
    for finger in range(5):
        pose[1 + 4 * finger : 5 + 4 * finger, 0] = straight if finger < 3 else bent
        pose[1 + 4 * finger : 5 + 4 * finger, 1] = 1 + finger
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert novel_views.extended_fingers(np.stack([pose, 40 * pose @ turn, -pose])).tolist() == [3, 3, 3]


def test_drawn_triplets_are_two_views_of_an_instant_and_another_one(records):
    opened = records_folder.open_records(records)
    settings = {"data_dir": str(records), "run": "a", "estimator": "b", "subjects": "S1", "rows": 4, "triplets": 12}
    drawn = novel_views.draw_triplets(novel_views.NovelViewsSettings(**settings), opened)
    assert drawn["source"].shape == (12, 32, 32, 3) and drawn["pose"].shape == (12, 21, 3)
    for name in ("target", "reference"):
        assert all((one != other).any() for one, other in zip(drawn["source"], drawn[name], strict=True))
    # The empty scene is that of the target: it differs in fewer pixels than from the source.
    away = {name: np.abs(drawn[name].astype(int) - drawn["background"]).max(-1) > 12 for name in ("source", "target")}
    assert away["target"].mean() < 0.8 * away["source"].mean()
    assert not np.allclose(drawn["rotation"], np.eye(3), atol=0.05)
    poses = {"true": drawn["pose"], "predicted": drawn["pose"][::-1]}
    true, predicted = novel_views.measure(poses, drawn["pose"], drawn["pose_weight"], 4)
    assert (true["n_mpjpe"], true["agreeing"], true["agreeing_on_sheet"]) == (0, 1, 4) and predicted["n_mpjpe"] > 5
    images = drawn | {"predicted": drawn["target"]}
    assert novel_views.sheet(images, poses, 3).shape[1] > novel_views.sheet(images, poses, 1).shape[1] / 2
