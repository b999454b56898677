"""What people use in a notebook: `hand_tf.load_estimator` and the metrics, as the docstring of `hand_tf` shows."""

import inspect
import json
import re

import default_networks
import keras
import numpy as np
import pytest

import hand_tf
from hand_tf.core import geometry
from hand_tf.nets import metrics

SIZE = 32
BOX = (40.0, 30.0, 50.0, 36.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with random networks that estimate poses some centimetres wide."""
    keras.utils.set_random_seed(5)
    folder, random = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    pose_head = default_networks.pose_head(16, SIZE)
    pose_head.get_layer("pose").set_statistics(random.normal(0, 30, (21, 3)), random.uniform(10, 40, (21, 3)))
    pose_head.save(folder / "pose_head.keras")
    default_networks.encoder(SIZE, width=8, num_points=16, appearance_size=8).save(folder / "encoder.keras")
    (folder / "run.json").write_text(json.dumps({"regime": "supervised"}))
    return folder


@pytest.fixture(scope="module")
def estimator(run):
    return hand_tf.load_estimator(run)


@pytest.fixture(scope="module")
def image():
    """A random picture, 120 x 160 px, whose left and right half differ."""
    return np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)


def test_the_example_of_the_docstring_runs(run, image, tmp_path, monkeypatch):
    """Its lines are run as they stand there."""
    block = re.search(r"In Python:\n\n((?:    .*\n|\n)+)", inspect.getdoc(hand_tf) + "\n")[1]
    example = inspect.cleandoc("\n" + block)
    for name in ("load_estimator(", ".predict(", ".estimate(", ".mpjpe(", ".pck(", ".auc(", ".load_model("):
        assert name in example
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(run)
    (tmp_path / "run").symlink_to(run)
    K = [[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]]
    (tmp_path / "camera.json").write_text(json.dumps({"K": K, "resolution": [640, 480]}))
    random = np.random.default_rng(2)
    names = {
        "keras": keras,
        "image": np.tile(image, (4, 4, 1)),
        "crops": random.integers(0, 256, (3, SIZE, SIZE, 3), np.uint8),
        "true_poses": random.normal(0, 30, (3, 21, 3)),
    }
    exec(example, names)
    assert names["hand"].pose_mm.shape == (21, 3) and names["hand"].joints_2d.shape == (21, 2)
    assert names["poses"].shape == (3, 21, 3) and len(names["curve"]) == 51


def test_estimating_is_what_the_networks_of_the_run_compute(run, estimator):
    encoder, head = (keras.saving.load_model(run / f"{name}.keras", compile=False) for name in ("encoder", "pose_head"))
    crops = np.random.default_rng(3).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    expected = head.predict_on_batch(encoder.predict_on_batch(crops)["points"])["pose"]
    found = estimator.estimate(crops)
    assert found.dtype == np.float64 and np.ptp(found) > 10  # mm: not a model that says nothing
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_predicting_gives_a_pose_per_box(estimator, image):
    boxes = np.array([BOX, (80, 50, 30, 30)])
    first, second = estimator.predict(image, boxes)
    assert first.box == BOX and second.box == (80.0, 50.0, 30.0, 30.0) and {first.side, second.side} == {"right"}
    (alone,) = estimator.predict(image, boxes=[BOX])
    np.testing.assert_allclose(first.pose_mm, alone.pose_mm, atol=1e-3)
    assert not np.allclose(first.pose_mm, second.pose_mm, atol=1)
    np.testing.assert_allclose(first.joints_2d, alone.joints_2d, atol=1e-3)
    assert not np.allclose(first.joints_2d, second.joints_2d, atol=1)
    assert estimator.predict(image, boxes=[]) == []


def test_without_a_box_the_centre_square_is_used(estimator, image):
    (whole,), (square,) = estimator.predict(image), estimator.predict(image[:, 20:140])
    np.testing.assert_allclose(whole.pose_mm, square.pose_mm, atol=0.01 * np.ptp(whole.pose_mm))


def test_a_left_hand_is_a_mirrored_right_hand(estimator, image):
    (right,) = estimator.predict(image, boxes=[BOX])
    (left,) = estimator.predict(image[:, ::-1], boxes=[(160 - 40 - 50, *BOX[1:])], side="left")
    assert left.side == "left"
    np.testing.assert_allclose(left.pose_mm * [-1, 1, 1], right.pose_mm, atol=0.01 * np.ptp(right.pose_mm))


def test_intrinsics_are_a_matrix_a_file_or_a_camera(estimator, image, tmp_path):
    K = np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]])
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"K": K.tolist(), "resolution": [160, 120]}))
    # Where the camera stands does not matter.
    camera = geometry.Camera("", 160, 120, K, np.zeros(5), geometry.in_plane(30), np.array([10.0, 20, 30]))
    ((plain,), *others) = (
        estimator.predict(image, [BOX], intrinsics=each) for each in (None, K, path, str(path), camera)
    )
    for (other,) in others:
        np.testing.assert_array_equal(other.pose_mm, others[0][0].pose_mm)
        np.testing.assert_array_equal(other.joints_2d, others[0][0].joints_2d)
    assert not np.allclose(plain.pose_mm, others[0][0].pose_mm, atol=0.1)


def test_wrong_arguments_are_refused(run, estimator, image, tmp_path):
    for message, arguments in (
        ("RGB uint8", {"image": image / 255}),
        ("RGB uint8", {"image": image[..., 0]}),
        ("side: 'both'", {"side": "both"}),
        (r"boxes\[0\]: four numbers", {"boxes": BOX}),
        (r"boxes\[1\]: width and height above 0", {"boxes": [BOX, (1, 2, 0, 4)]}),
        ("lies outside the picture", {"boxes": [(200, 2, 9, 9)]}),
        ("field K", {"intrinsics": np.eye(2)}),
        ("field K", {"intrinsics": np.zeros((3, 3))}),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.predict(**{"image": image} | arguments)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        hand_tf.load_estimator(tmp_path / "none")
    with pytest.raises(ValueError, match="neither an exported model nor the folder of a finished run"):
        hand_tf.load_estimator(tmp_path)


def test_the_metrics_are_those_of_nets():
    for name in ("mpjpe", "n_mpjpe", "pa_mpjpe", "pck", "auc"):
        assert getattr(hand_tf, name) is getattr(metrics, name)
    assert set(hand_tf.__all__) <= set(dir(hand_tf))


def test_unknown_names_and_submodules():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = hand_tf.no_such_name
    from hand_tf import predict  # the command

    assert predict.__name__ == "hand_tf.predict"
