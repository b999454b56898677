"""The teacher of all views: what it fuses, and whole runs of `multi_view_teacher`, also without any label."""

import json
import shutil

import numpy as np
import pytest
import smoke_runs
from smoke_runs import assert_equal_parts, run

from hand_tf import evaluate
from hand_tf.core import atomic, command_line, fusion, reading, records_folder
from hand_tf.data import held_out, labelled_crops
from hand_tf.nets import parts
from hand_tf.training import closed_form, run_data, teacher
from hand_tf.training.settings import TrainingSettings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_replica")]


@pytest.fixture(scope="module")
def estimator(records, tmp_path_factory, one_replica):
    """The run of a pose head on eight labels."""
    folder = tmp_path_factory.mktemp("runs")
    assert run(records, folder / "pretrain", "pretrain") == 0
    assert run(records, folder / "head", "pose_head", "--scenario=S0:8", f"--init_from={folder / 'pretrain'}") == 0
    return folder / "head"


def settings_of(records, estimator, workdir, **changed):
    needed = {"regime": "multi_view_teacher", "data_dir": str(records), "workdir": str(workdir)}
    return TrainingSettings(**needed | {"init_from": str(estimator), "subjects": "S0+S1"} | changed)


def test_it_predicts_every_crop_in_its_own_view_and_fuses_them_in_the_world(records, estimator, tmp_path, monkeypatch):
    """With the true poses in place of predictions, the fused ones are the truth, held-out stretches left out."""
    opened = records_folder.open_records(records)
    seen = []

    def true_poses(parts, records, chosen):
        seen.extend(chosen)
        batches = list(labelled_crops.evaluation(records, chosen, batch_size=64).as_numpy_iterator())
        columns = (np.concatenate([batch[name] for batch in batches]) for name in ("key", "pose", "rotation"))
        keys, poses, rotations = columns
        return keys.astype(str), poses, rotations, None

    monkeypatch.setattr(teacher, "predict_all", true_poses)
    settings = settings_of(records, estimator, tmp_path, validation_share=0.3)
    fused = teacher.fused_poses(settings, opened, {})
    held = held_out.held_out_keys(opened.index, 0.3)
    rows = [row for row in opened.index if row["subject"] in ("S0", "S1") and row["key"] not in held]
    assert sorted(seen) == sorted((row["key"], camera) for row in rows for camera in row["cameras"])
    assert sorted(fused.keys) == sorted(row["key"] for row in rows) and held
    chosen = [(row["key"], row["cameras"][-1]) for row in rows]
    labels = labelled_crops.load_labels(opened, chosen)
    truth = dict(zip(labels["key"].astype(str), fusion.to_world(labels["pose"], labels["rotation"]), strict=True))
    for key, world in zip(fused.keys, fused.world, strict=True):
        np.testing.assert_allclose(world, truth[key], atol=0.01)
    # A second call takes what the first has kept.
    monkeypatch.setattr(teacher, "predict_all", None)
    np.testing.assert_allclose(teacher.fused_poses(settings, opened, {}).world, fused.world, atol=1e-4)


def test_predictions_are_those_of_the_estimator(records, estimator):
    opened, loaded = records_folder.open_records(records), parts.load_parts(estimator, 32)
    row = next(row for row in opened.index if row["subject"] == "S1")
    chosen = [(row["key"], camera) for camera in row["cameras"]]
    keys, poses, rotations, points = teacher.predict_all(loaded, opened, chosen)
    labels = next(labelled_crops.evaluation(opened, chosen, batch_size=9).as_numpy_iterator())
    expected = loaded["pose_head"](loaded["encoder"](labels["source"], training=False)["points"])["pose"]
    np.testing.assert_allclose(closed_form.weights_of(loaded["pose_head"]) @ points, expected, atol=1e-2)
    assert set(keys) == {row["key"]}
    np.testing.assert_allclose(poses, expected, atol=1e-2)
    np.testing.assert_array_equal(rotations, labels["rotation"])


def test_instants_are_fused_in_parts_as_they_would_be_together(records, estimator, tmp_path, monkeypatch):
    opened, loaded = records_folder.open_records(records), parts.load_parts(estimator, 32)
    settings = settings_of(records, estimator, tmp_path / "whole", scenario="S0:8")
    labels, _ = run_data.load_run_labels(settings, opened)
    found = []
    for count in (teacher.INSTANTS_AT_ONCE, 1, 7):
        monkeypatch.setattr(teacher, "INSTANTS_AT_ONCE", count)
        (tmp_path / f"{count}").mkdir()
        fused = teacher.fused_poses(settings_of(records, estimator, tmp_path / f"{count}"), opened, loaded, labels)
        found.append([value[np.argsort(fused.keys)] for value in (fused.keys, fused.world, fused.weights)])
    for keys, world, weights in found[1:]:
        np.testing.assert_array_equal(keys, found[0][0])
        np.testing.assert_allclose(world, found[0][1], atol=1e-2)
        np.testing.assert_allclose(weights, found[0][2], rtol=1e-3)


def test_labels_fix_the_head_of_fused_points(records, estimator, tmp_path, monkeypatch):
    """Points that give the true poses by some map, seen with noise by each view, and a head that is wrong about it."""
    opened, loaded = records_folder.open_records(records), parts.load_parts(estimator, 32)
    random, count = np.random.default_rng(0), loaded["pose_head"].input.shape[1]
    from_points = random.normal(0, 40, (21, count))
    from_points[0] = 0
    from_points[1:] *= np.arange(count) < 5  # the other points tell nothing
    in_world = {}

    def points_of(records, chosen):
        batches = list(labelled_crops.evaluation(records, chosen, batch_size=64).as_numpy_iterator())
        keys, rotations = (np.concatenate([batch[name] for batch in batches]) for name in ("key", "rotation"))
        for key in keys.astype(str):
            in_world.setdefault(key, random.normal(size=(count, 3)))
        seen = np.stack([in_world[key] for key in keys.astype(str)])
        return keys.astype(str), rotations, seen

    def predict_all(parts, records, chosen):
        keys, rotations, seen = points_of(records, chosen)
        points = fusion.to_views(seen + random.normal(0, 0.3, seen.shape), rotations)
        return keys, closed_form.weights_of(parts["pose_head"]) @ points, rotations, points

    monkeypatch.setattr(teacher, "predict_all", predict_all)
    chosen = [(row["key"], row["cameras"][0]) for row in opened.index if row["subject"] in ("S0", "S1")]
    labels = labelled_crops.load_labels(opened, chosen)
    keys, rotations, seen = points_of(opened, chosen)
    assert (labels["key"].astype(str) == keys).all()
    labels["pose"] = fusion.to_views(from_points @ seen, rotations)
    errors = {}
    for name, given in (("labels", labels), ("no labels", None)):
        (tmp_path / name).mkdir()
        fused = teacher.fused_poses(settings_of(records, estimator, tmp_path / name), opened, loaded, given)
        truth = from_points @ np.stack([in_world[key] for key in fused.keys])
        errors[name] = np.linalg.norm(fused.world - truth, axis=-1).mean() / np.linalg.norm(truth, axis=-1).mean()
    assert errors["labels"] < 0.4 and errors["no labels"] > 0.8


def test_instants_on_which_the_views_disagree_count_less():
    spread = np.tile(np.float32([[10], [20], [40]]), (1, 21))
    weights = teacher._weighted(np.array(["a", "b", "c"]), np.zeros((3, 21, 3)), spread).weights
    assert (np.diff(weights[:, 5]) < 0).all() and weights.mean() == pytest.approx(1)
    assert weights[0, 0] / weights[1, 0] == pytest.approx((1 + 1) / (1 + 0.25))


def test_a_killed_student_goes_on_with_the_teacher_that_it_had(records, estimator, tmp_path, monkeypatch):
    flags = ["multi_view_teacher", "--scenario=S0:8", f"--init_from={estimator}"]
    assert run(records, tmp_path / "whole", *flags) == 0
    with smoke_runs.killed_in_the_second_epoch(monkeypatch):
        run(records, tmp_path / "killed", *flags)
    with monkeypatch.context() as patch:
        patch.setattr(teacher, "predict_all", None)
        assert run(records, tmp_path / "killed", *flags) == 0
    assert_equal_parts(tmp_path / "whole", tmp_path / "killed", ("encoder", "pose_head"))


def test_a_student_without_labels_says_so_and_can_be_measured(records, estimator, tmp_path, capsys):
    """Its teacher has learned from the labels of other records; those of these records would have to be counted."""
    assert run(records, tmp_path / "run", "multi_view_teacher", f"--init_from={estimator}") == 1
    assert "learned from the labels of S0:8: expected --scenario=S0:8, so that they" in capsys.readouterr().err
    shutil.copytree(estimator, tmp_path / "dome")
    summary = reading.read_json_object(tmp_path / "dome" / "run.json")
    atomic.write_sealed_json(tmp_path / "dome" / "run.json", summary | {"records": "of others"})
    assert run(records, tmp_path / "run", "multi_view_teacher", f"--init_from={tmp_path / 'dome'}") == 0
    assert "learned from the labels of S0:8 of other records" in capsys.readouterr().out
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (summary["labels"], summary["scenario"]) == (0, None)
    arguments = [f"--data_dir={records}", f"--run={tmp_path / 'run'}", "--subjects=S5"]
    assert command_line.run(evaluate.main, arguments) == 0
    assert "no labels of its own" in capsys.readouterr().out


def test_teacher_and_student_are_compared_on_what_neither_learned_from(records, estimator, tmp_path, capsys):
    opened = records_folder.open_records(records)
    share = ["--validation_share=0.3"]
    head, start = tmp_path / "head", f"--init_from={estimator.parent / 'pretrain'}"
    assert run(records, head, "pose_head", "--scenario=S0:8", start, *share) == 0
    flags = ["multi_view_teacher", "--scenario=S0:8", f"--init_from={head}", *share]
    assert run(records, tmp_path / "student", *flags) == 0
    printed, summary = capsys.readouterr().out, json.loads((tmp_path / "student" / "run.json").read_text())
    assert "held-out stretches: val_n_mpjpe" in printed
    settings = settings_of(records, head, tmp_path / "x", validation_share=0.3, scenario="S0:8", subjects="S0..S4")
    held = run_data.load_run_labels(settings, opened)[1]
    for who, folder in (("teacher", head), ("student", tmp_path / "student")):
        found = teacher.quality(settings, opened, parts.load_parts(folder, 32), held)
        assert summary["held_out"][who] == pytest.approx(found, rel=1e-3)
    assert teacher.quality(settings_of(records, head, tmp_path), opened, {}, None) == {}


def test_a_student_that_is_no_better_is_named():
    assert teacher.compare({"val_n_mpjpe": 40.0, "view_disagreement": 0.1}, {"val_n_mpjpe": 38.0}) == (
        "held-out stretches: val_n_mpjpe 38.0 mm, its teacher 40.0 mm"
    )
    worse = teacher.compare({"view_disagreement": 0.21}, {"view_disagreement": 0.3})
    assert worse.startswith("warning: the student is not better than its teacher. ") and "30.0%" in worse


def test_a_student_needs_an_estimator_and_two_views(records, estimator, tmp_path, capsys):
    start = f"--init_from={estimator.parent / 'pretrain'}"
    assert run(records, tmp_path / "run", "multi_view_teacher", start) == 1
    assert "no pose_head.keras there" in capsys.readouterr().err
    opened = records_folder.open_records(records)
    for row in opened.index:
        row["cameras"] = row["cameras"][:1]
    with pytest.raises(ValueError, match=r"no instant of S0\+S1 has two views to fuse"):
        teacher.fused_poses(settings_of(records, estimator, tmp_path), opened, {})


def test_labels_are_at_least_their_share_of_the_crops(records, estimator, tmp_path):
    opened = records_folder.open_records(records)
    rows = [row for row in opened.index if row["subject"] in ("S0", "S1")]
    keys = np.array([row["key"] for row in rows])
    fused = teacher._weighted(keys, np.zeros((len(keys), 21, 3)), np.ones((len(keys), 21)))
    settings, crops = settings_of(records, estimator, tmp_path), sum(len(row["cameras"]) for row in rows)
    for count, share in ((None, 0), (1, 0.25), (crops // 2, crops // 2 / crops), (crops, 1), (2 * crops, 1)):
        labels = None if count is None else {"pose": np.zeros((count, 21, 3))}
        assert run_data._label_share(settings, opened, labels, fused) == pytest.approx(share)


def test_labels_of_all_views_are_those_of_their_instants(records, estimator, tmp_path):
    opened = records_folder.open_records(records)
    one, every = (
        settings_of(records, estimator, tmp_path, scenario="S0:8", label_views=views) for views in ("one", "all")
    )
    few, many = (run_data.load_run_labels(settings, opened)[0] for settings in (one, every))
    assert len(few["pose"]) == 8 and set(few["key"]) == set(many["key"])
    found = set(zip(many["key"].astype(str), many["camera"].astype(str), strict=True))
    wanted = {row["key"]: row["cameras"] for row in opened.index if row["key"] in set(few["key"].astype(str))}
    assert found == {(key, camera) for key, cameras in wanted.items() for camera in cameras}
    assert run_data.choose_labels(one, opened) == run_data.choose_labels(every, opened)
