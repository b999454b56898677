"""LiteRT: the float model computes what the run does, the integer one is near it, and neither needs TensorFlow."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import default_networks
import keras
import numpy as np
import pytest
import tensorflow as tf

from hand_tf import export
from hand_tf.core import command_line, crops, reading, records_folder
from hand_tf.data import labelled_crops
from hand_tf.nets import mobile, models
from hand_tf.serving import (
    calibration,
    export_model,
    litert,
    litert_converter,
    litert_form,
    model_files,
    saved_model,
)
from hand_tf.serving.estimator import load_exported

if keras.backend.backend() != "tensorflow":
    pytest.skip("the converter is TensorFlow's", allow_module_level=True)
pytest.importorskip("ai_edge_litert")

SIZE = 32
SHORT = ((1, 16, 1, 1, 3), (4, 24, 2, 2, 3), (6, 40, 2, 2, 5))  # the converter takes its time for every layer


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    """A run folder with random networks, as if it had learnt from `records`."""
    keras.utils.set_random_seed(4)
    folder, random = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobile, "STAGES", SHORT)
        encoder = default_networks.encoder(SIZE, backbone="mobile", width=16, num_points=16, appearance_size=8)
    pose_head = default_networks.pose_head(16, SIZE)
    pose_head.get_layer("pose").set_statistics(random.normal(0, 30, (21, 3)), random.uniform(10, 40, (21, 3)))
    encoder.save(folder / "encoder.keras")
    pose_head.save(folder / "pose_head.keras")
    summary = {"regime": "supervised", "scenario": "S0+S2:8", "labels": 8, "init_from": None, "steps": 1}
    summary |= {"flags": {"regime": "supervised", "in_plane_degrees": "0"}, "batch_size": 4, "seconds": 1}
    summary |= {"backend": "tensorflow", "records": records_folder.load_manifest(records).digest}
    (folder / "run.json").write_text(json.dumps(summary))
    return folder


def exported(run, output, *flags):
    """The exit status of the export."""
    return command_line.run(export.main, [f"--run={run}", f"--output={output}", *flags])


@pytest.fixture(scope="module")
def exact(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "float"
    assert exported(run, folder, "--format=litert") == 0
    return folder


@pytest.fixture(scope="module")
def rounded(run, records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "int8"
    assert exported(run, folder, "--format=litert_int8", f"--data_dir={records}") == 0
    return folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def operations(folder):
    """(name, type of what it computes) of every operation of an exported model."""
    model = litert.interpreter((folder / model_files.LITERT).read_bytes())
    kinds = {tensor["index"]: tensor["dtype"] for tensor in model.get_tensor_details()}
    return [(each["op_name"], kinds[each["outputs"][0]]) for each in model._get_ops_details()]


def test_a_batch_has_the_poses_of_its_crops(exact, rounded):
    """Whatever its size, and whatever size the batch before had."""
    images = np.random.default_rng(2).integers(0, 256, (2 * litert.BATCH + 3, SIZE, SIZE, 3), np.uint8)
    for folder in (exact, rounded):
        content = (folder / model_files.LITERT).read_bytes()
        model = litert.LiteRTModel(content)
        single = [model(image[None]) for image in images]
        for size in (len(images), 1, 0, 2, litert.BATCH):
            found = model(images[:size])
            assert {name: value.shape for name, value in found.items()} == {
                "pose": (size, 21, 3),
                "joints_2d": (size, 21, 2),
            }
            for name, values in found.items():
                for value, each in zip(values, single, strict=False):
                    np.testing.assert_allclose(value, each[name][0], atol=export_model.LITERT_TOLERANCE)
        runner = litert.interpreter(content).get_signature_runner()  # as a program without this package calls it
        np.testing.assert_array_equal(runner(image=images[:5])["pose"], model(images[:5])["pose"])


def test_a_model_of_a_fixed_batch_reads_one_crop_at_a_time():
    """As versions before 0.3.0 exported them."""

    @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3], tf.uint8, name="image")])
    def estimate(image):
        return {"pose": tf.reshape(tf.cast(image, tf.float32), (1, 16, 3))[:, :2] * 2}

    module = tf.Module()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": estimate})
        model = litert.LiteRTModel(litert_converter.convert(folder), batches=False)
    images = np.arange(3 * 48, dtype=np.uint8).reshape(3, 4, 4, 3)
    np.testing.assert_array_equal(model(images)["pose"], 2.0 * images.reshape(3, 16, 3)[:, :2])
    assert model(images[:0])["pose"].shape == (0, 2, 3)


# docs/serving.md says what phones make of each of them.
OPERATORS = {
    *("CAST", "MUL", "SUB", "ADD", "PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED"),
    *("SQUARE", "SUM", "MEAN", "RSQRT", "SQUARED_DIFFERENCE", "TRANSPOSE", "STRIDED_SLICE"),
    *("SOFTMAX", "CONCATENATION", "RESIZE_NEAREST_NEIGHBOR", "QUANTIZE", "DEQUANTIZE", "EXP", "MINIMUM", "MAXIMUM"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "points"), list(zip(models.BACKBONES, reversed(models.POINTS), strict=True)))
def test_models_consist_of_operators_that_phones_know(backbone, points, monkeypatch):
    """And a model that is rewritten for them computes what the model does."""
    monkeypatch.setattr(mobile, "STAGES", SHORT)
    keras.utils.set_random_seed(5)
    images, found = np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3), np.uint8), set()
    encoder = default_networks.encoder(
        64, backbone=backbone, width=16, num_points=16, appearance_size=8, points=points, stem="imagenet"
    )
    for kind in models.HEADS:
        head = default_networks.pose_head(16, 64, kind=kind, width=16, places=points == "heatmaps")
        confidence = models.confidence(16, 8, width=16) if kind == "linear" else None
        model = models.pose_estimator(encoder, head, confidence_model=confidence)
        rewritten = litert_form.rewrite(model)
        expected, same = (each.predict_on_batch({"source": images}) for each in (model, rewritten))
        for name in expected:
            assert np.ptp(expected[name]) > 0.1
            np.testing.assert_allclose(same[name], expected[name], rtol=1e-5, atol=1e-4)
        with tempfile.TemporaryDirectory() as folder:
            saved_model.write_saved_model(folder, rewritten, allow_empty=False)
            exact = litert_converter.convert(folder)
            rounded = litert_converter.quantize(folder, exact, images)
        for content in (exact, rounded):
            operations = litert.interpreter(content)._get_ops_details()
            tensors = {each["index"]: each for each in litert.interpreter(content).get_tensor_details()}
            found |= {each["op_name"] for each in operations}
            # A delegate for GPUs holds up to four dimensions.
            assert max(len(tensors[i]["shape"]) for each in operations for i in each["outputs"]) <= 4
    assert found <= OPERATORS
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`([A-Z][A-Z0-9_]+)`", page.partition("## Operators")[2].partition("\n## ")[0])) >= OPERATORS


def test_the_float_model_is_the_run(run, exact, images):
    encoder, head = (keras.models.load_model(run / f"{name}.keras", compile=False) for name in ("encoder", "pose_head"))
    expected = head.predict_on_batch(encoder.predict_on_batch(images)["points"])["pose"]
    found = load_exported(exact).estimate(images)
    places = litert.LiteRTModel((exact / model_files.LITERT).read_bytes())(images)["joints_2d"]
    expected_places = head.predict_on_batch(encoder.predict_on_batch(images)["points"])["joints_2d"]
    np.testing.assert_allclose(places, expected_places, atol=export_model.LITERT_TOLERANCE)
    assert found.shape == (3, 21, 3) and np.ptp(expected) > 10  # mm: not a model that says nothing
    np.testing.assert_allclose(found, expected, atol=export_model.LITERT_TOLERANCE)


def test_input_and_output_are_bytes_and_millimetres(exact, rounded):
    for folder in (exact, rounded):
        runner = litert.interpreter((folder / model_files.LITERT).read_bytes()).get_signature_runner()
        image, pose = runner.get_input_details()["image"], runner.get_output_details()["pose"]
        assert (tuple(image["shape"]), image["dtype"]) == ((1, SIZE, SIZE, 3), np.uint8)
        assert (tuple(pose["shape"]), pose["dtype"]) == ((1, 21, 3), np.float32)


def test_everything_but_normalisations_and_the_last_layer_is_integer(run, exact, rounded):
    heavy = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    found = operations(rounded)
    assert {name for name, _ in found} >= heavy
    assert all(kind == np.int8 for name, kind in found if name in heavy - {"FULLY_CONNECTED"})
    # The encoder's layer for its points is integer, `pose` and `joints_2d` of the linear head are not.
    connected = [kind for name, kind in found if name == "FULLY_CONNECTED"]
    assert sorted(kind == np.int8 for kind in connected) == [False, False, True]
    assert all(kind == np.float32 for name, kind in found if name in ("RSQRT", "SQUARE", "SUM", "MEAN", "SUB"))
    # Every residual sum is integer; the one that guards the reciprocal root is not.
    encoder = keras.models.load_model(run / "encoder.keras", compile=False)
    residuals = sum(isinstance(layer, keras.layers.Add) for layer in encoder.layers)
    assert sum(name == "ADD" and kind == np.int8 for name, kind in found) == residuals
    assert not any(kind == np.int8 for _, kind in operations(exact))
    sizes = [(folder / model_files.LITERT).stat().st_size for folder in (exact, rounded)]
    assert sizes[1] < 0.75 * sizes[0]  # a small network: names and scales take their share


def test_heat_maps_are_read_in_float(run, records, tmp_path):
    """In 8 bits, the mean place of a heat map would be rounded to centimetres of a hand."""
    keras.utils.set_random_seed(5)
    shutil.copytree(run, tmp_path / "run")
    encoder = default_networks.encoder(SIZE, width=8, num_points=16, appearance_size=8, points="heatmaps")
    encoder.save(tmp_path / "run" / "encoder.keras")
    default_networks.pose_head(16, SIZE, kind="linear", places=True).save(tmp_path / "run" / "pose_head.keras")
    assert exported(tmp_path / "run", tmp_path / "int8", "--format=litert_int8", f"--data_dir={records}") == 0
    found = operations(tmp_path / "int8")
    assert [kind for name, kind in found if name == "SOFTMAX"] == [np.float32]
    # All convolutions are integer but the one that makes the heat maps.
    convolutions = [kind for name, kind in found if name == "CONV_2D"]
    assert convolutions.count(np.float32) == 1 and convolutions.count(np.int8) == len(convolutions) - 1


def test_the_description_says_whose_crops_calibrated_and_how_far_integers_are(records, exact, rounded):
    description, of_exact = (reading.read_json_object(folder / "hand_tf.json") for folder in (rounded, exact))
    found = description.pop("int8")
    assert description.pop("files").keys() == of_exact.pop("files").keys() == {model_files.LITERT}
    assert description == of_exact
    assert found["subjects"] == "S0+S2" and 0 < found["mean_mm"] < found["p95_mm"] < found["max_mm"]
    folder = records_folder.open_records(records)
    chosen = [(row["key"], row["cameras"][0]) for row in folder.index if row["subject"] == "S0" and row["labelled"]]
    (batch,) = labelled_crops.evaluation(folder, chosen, batch_size=len(chosen)).as_numpy_iterator()
    poses = [load_exported(folder).estimate(batch["source"]) for folder in (exact, rounded)]
    distance = np.linalg.norm(poses[1] - poses[0], axis=-1)
    spread = np.linalg.norm(poses[0] - poses[0].mean(0), axis=-1)
    # The same people: the same order of magnitude; and small beside what tells one pose from another.
    assert found["mean_mm"] / 2 < distance.mean() < 2 * found["mean_mm"]
    assert distance.mean() < 0.5 * spread.mean()


def test_calibration_and_comparison_share_no_crop(run, records):
    found = calibration.training_crops(run, records_folder.open_records(records), crops.BOX_MARGIN)
    first, second = found.calibration, found.held_out
    assert found.subjects == "S0+S2" and abs(len(first) - len(second)) <= 1 and len(first) > 4
    shared = {crop.tobytes() for crop in first} & {crop.tobytes() for crop in second}
    assert not shared and first.shape[1:] == (SIZE, SIZE, 3) and first.dtype == np.uint8


def test_predicting_loads_no_tensorflow(exact):
    script = (
        "import sys, numpy as np, hand_tf\n"
        f"estimator = hand_tf.load_estimator({str(exact)!r})\n"
        f"print(estimator.estimate(np.zeros((2, {SIZE}, {SIZE}, 3), np.uint8)).shape)\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(2, 21, 3)", "[]"]


def test_a_model_is_named_by_its_folder_or_its_file(exact, images):
    folder, file = load_exported(exact), load_exported(exact / model_files.LITERT)
    np.testing.assert_array_equal(folder.estimate(images), file.estimate(images))
    assert file.box_margin == folder.box_margin == crops.BOX_MARGIN


def test_integers_need_the_records_of_the_run(run, records, tmp_path, capsys):
    assert exported(run, tmp_path / "out", "--format=litert_int8") == 2
    assert "pass --data_dir" in capsys.readouterr().err
    other = shutil.copytree(run, tmp_path / "other")
    summary = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(summary | {"records": "others"}))
    assert exported(other, tmp_path / "out", "--format=litert_int8", f"--data_dir={records}") == 1
    assert "not the records" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_without_a_word_on_batches_crops_are_read_one_at_a_time(exact, images, tmp_path, monkeypatch):
    """As in descriptions of versions before 0.3.0, which had none of the fields of the contract either."""
    older = shutil.copytree(exact, tmp_path / "older")
    description = reading.read_json_object(exact / "hand_tf.json")
    kept = ("hand_tf", "image_size", "joint_names", "units", "scale", "pose_frame", "hand", "box_margin", "run")
    (older / "hand_tf.json").write_text(json.dumps({name: description[name] for name in kept}))
    expected = load_exported(exact).estimate(images)
    np.testing.assert_allclose(load_exported(older).estimate(images), expected, atol=export_model.LITERT_TOLERANCE)
    asked = []
    monkeypatch.setattr(litert.LiteRTModel, "__init__", lambda *_, batches: asked.append(batches) or 1 / 0)
    for folder in (older, exact):
        with pytest.raises(ZeroDivisionError):
            load_exported(folder)
    assert asked == [False, True]


def test_what_cannot_be_used_is_said_in_one_line(exact, tmp_path, monkeypatch):
    description = reading.read_json_object(exact / "hand_tf.json")
    hashes = description.pop("files")
    (tmp_path / "hand_tf.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"saved_model\.pb or model\.tflite"):
        load_exported(tmp_path)
    file = tmp_path / model_files.LITERT
    file.write_bytes(b"nothing")
    for path in (tmp_path, file):
        with pytest.raises(ValueError, match=r"model\.tflite: this LiteRT model cannot be used"):
            load_exported(path)
    (tmp_path / "hand_tf.json").write_text(json.dumps(description | {"files": hashes}))
    with pytest.raises(ValueError, match=r"model\.tflite: damaged, or not the file that was exported"):
        load_exported(file)
    file.write_bytes((exact / model_files.LITERT).read_bytes())
    (tmp_path / "hand_tf.json").write_text(json.dumps(description | {"image_size": 64}))
    with pytest.raises(ValueError, match="image_size 64"):
        load_exported(tmp_path)
    (tmp_path / "hand_tf.json").unlink()
    with pytest.raises(ValueError, match=r"expected a folder with hand_tf\.json"):
        load_exported(file)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ValueError, match="pip install ai-edge-litert"):
        load_exported(exact)
