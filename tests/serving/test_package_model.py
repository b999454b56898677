"""The model that comes with the package: small, whole, the same in all its forms, and usable by its name."""

import json

import cv2
import numpy as np
import pytest

import hand_tf
from hand_tf import predict
from hand_tf.core import command_line, pretrained, reading, run_folder
from hand_tf.nets import parts
from hand_tf.serving import estimator, model_files

FOLDER = pretrained.FOLDER / "hands"


@pytest.fixture(scope="module")
def hand_pictures():
    """Pictures of hands of the dome, 192 px, and the boxes of their joints."""
    from hand_tf.core import geometry
    from tfrecords_tools.dome import capture
    from tfrecords_tools.dome.studio import render

    (sequence,) = capture.plan(subjects=1, frames=8, fps=1.0, num_cameras=3, width=192, height=192, seed=77)
    found = []
    for node, camera in enumerate(capture.studio(sequence).cameras):
        view = capture.make_view(sequence, node)
        for frame in sequence.frame_numbers:
            joints = capture.hands_at(sequence, frame)[0].joints
            places = geometry.project(joints, camera)
            low, high = places.min(0), places.max(0)
            image = render.draw(view, capture.instant(sequence, frame).mesh, [1, node, frame])
            found.append((image, (*low, *(high - low)), (joints - joints[0]) @ camera.R.T))
    return found


def test_a_name_means_the_model_of_the_package_and_a_path_a_folder():
    assert pretrained.located("hands") == FOLDER
    assert pretrained.located("./hands").parts == ("hands",)
    assert pretrained.located("runs/hands").parts == ("runs", "hands")


def test_it_is_small_and_whole():
    assert sum(path.stat().st_size for path in pretrained.FOLDER.rglob("*")) <= 8e6
    description = model_files.read_description("hands")
    model_files.check_files(FOLDER, description)
    assert set(description["files"]) == {"model.tflite"}
    summary = reading.read_json_object(run_folder.summary_path(FOLDER), ["files", "flags", "data"], sealed=True)
    assert set(summary["files"]) == {"encoder.keras", "pose_head.keras", "confidence.keras"}
    assert summary["estimator"]["regime"] == "supervised" and summary["init_from"] is None
    assert "/" not in json.dumps(summary)  # no path of the machine that it was trained on


def test_its_forms_agree_and_see_hands(hand_pictures):
    from hand_tf.nets import metrics

    small, exact = estimator.load_estimator(), estimator.load_run(FOLDER)
    poses = {}
    for name, each in (("small", small), ("exact", exact)):
        found = [each.predict(image, [box])[0] for image, box, _ in hand_pictures]
        poses[name] = np.array([hand.pose_mm for hand in found])
        assert all(np.all(hand.joint_error_mm > 0) for hand in found)
    apart = np.linalg.norm(poses["small"] - poses["exact"], axis=-1)
    assert apart.mean() < 5  # mm
    # The poses are in the frames of virtual cameras that look at the box, nearly those of the cameras here.
    true = np.array([pose for _, _, pose in hand_pictures])
    error = float(np.mean(metrics.n_mpjpe(true, poses["small"])))
    constant = float(np.mean(metrics.n_mpjpe(true, np.broadcast_to(true.mean(0), true.shape))))
    assert error < 0.75 * constant, (error, constant)


def test_predict_needs_no_model(hand_pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image, box, _ = hand_pictures[0]
    cv2.imwrite("photo.png", image[..., ::-1])
    place = ",".join(f"{value:.1f}" for value in box)
    assert command_line.run(predict.main, ["photo.png", f"--box={place}"]) == 0
    content = json.loads((tmp_path / "predictions" / "predictions.json").read_text())
    (hand,) = content["predictions"]
    (same,) = hand_tf.load_estimator("hands").predict(image, [[round(float(v), 1) for v in box]])
    np.testing.assert_allclose(hand["pose_mm"], same.pose_mm, atol=1e-2)
    assert content["model"] == "hands"


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    import shutil

    shutil.copytree(FOLDER, tmp_path / "hands")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    for name, load in (("model.tflite", hand_tf.load_estimator), ("encoder.keras", _load_parts)):
        path = tmp_path / "hands" / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            load("hands")


def _load_parts(name):
    return parts.load_parts(pretrained.located(name))
