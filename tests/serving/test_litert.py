"""LiteRT: the float model is the run, the integer one is integer and near it, and neither needs TensorFlow to run."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from hand_tf import export, predict
from hand_tf.core import command_line, records_folder
from hand_tf.data import labelled_crops
from hand_tf.nets import mobile, models
from hand_tf.serving import litert

if keras.backend.backend() != "tensorflow":
    pytest.skip("the converter is TensorFlow's", allow_module_level=True)
pytest.importorskip("ai_edge_litert")

SIZE = 32


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    """A run folder with random networks, as if it had learnt from `records`."""
    keras.utils.set_random_seed(4)
    folder, random = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:  # the converter takes its time for every layer
        patch.setattr(mobile, "STAGES", ((1, 16, 1, 1, 3), (4, 24, 2, 2, 3), (6, 40, 2, 2, 5)))
        encoder = models.encoder(SIZE, backbone="mobile", width=16, num_points=16, appearance_size=8)
    pose_head = models.pose_head(16, width=64)
    pose_head.get_layer("pose").set_statistics(random.normal(0, 30, (21, 3)), random.uniform(10, 40, (21, 3)))
    encoder.save(folder / "encoder.keras")
    pose_head.save(folder / "pose_head.keras")
    facts = {"regime": "supervised", "scenario": "S0+S2:8", "labels": 8, "init_from": None, "flags": {}}
    facts |= {"flags": {"regime": "supervised", "in_plane_degrees": "0"}, "steps": 1, "batch_size": 4, "seconds": 1}
    facts |= {"backend": "tensorflow", "records": records_folder.load_manifest(records).content}
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


def exported(run, output, *flags):
    """The exit status of the export."""
    command_line.reset(export.FLAGS)
    return command_line.old_run(export.main, export.FLAGS, ["export", f"--run={run}", f"--output={output}", *flags])


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
    model = litert.interpreter((folder / litert.FILE).read_bytes())
    kinds = {tensor["index"]: tensor["dtype"] for tensor in model.get_tensor_details()}
    return [(each["op_name"], kinds[each["outputs"][0]]) for each in model._get_ops_details()]


def test_the_float_model_is_the_run(run, exact, images):
    encoder, head = (keras.models.load_model(run / f"{name}.keras", compile=False) for name in ("encoder", "pose_head"))
    expected = head.predict_on_batch(encoder.predict_on_batch(images)["points"])["pose"]
    found = predict.load(exact, predict.read_facts(exact))(images)
    assert found.shape == (3, 21, 3) and np.ptp(expected) > 10  # mm: not a model that says nothing
    np.testing.assert_allclose(found, expected, atol=export.LITERT_TOLERANCE)


def test_input_and_output_are_bytes_and_millimetres(exact, rounded):
    for folder in (exact, rounded):
        runner = litert.interpreter((folder / litert.FILE).read_bytes()).get_signature_runner()
        image, pose = runner.get_input_details()["image"], runner.get_output_details()["pose"]
        assert (tuple(image["shape"]), image["dtype"]) == ((1, SIZE, SIZE, 3), np.uint8)
        assert (tuple(pose["shape"]), pose["dtype"]) == ((1, 21, 3), np.float32)


def test_everything_but_the_two_normalisations_is_integer(run, exact, rounded):
    heavy = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    found = operations(rounded)
    assert {name for name, _ in found} >= heavy
    assert all(kind == np.int8 for name, kind in found if name in heavy)
    assert all(kind == np.float32 for name, kind in found if name in ("RSQRT", "SQUARE", "SUM", "MEAN", "SUB"))
    # Every residual sum is integer; the one that guards the reciprocal root is not.
    encoder = keras.models.load_model(run / "encoder.keras", compile=False)
    residuals = sum(isinstance(layer, keras.layers.Add) for layer in encoder.layers)
    assert sum(name == "ADD" and kind == np.int8 for name, kind in found) == residuals
    assert not any("BATCH" in name or kind == np.int8 for name, kind in operations(exact))
    sizes = [(folder / litert.FILE).stat().st_size for folder in (exact, rounded)]
    assert sizes[1] < 0.75 * sizes[0]  # a small network: names and scales take their share


def test_facts_say_whose_crops_calibrated_and_how_far_integers_are(records, exact, rounded):
    facts = json.loads((rounded / "hand_tf.json").read_text())
    found = facts.pop("int8")
    assert facts == json.loads((exact / "hand_tf.json").read_text())
    assert found["subjects"] == "S0+S2" and 0 < found["mean_mm"] < found["p95_mm"] < found["max_mm"]
    data, index = records_folder.load_manifest(records), records_folder.read_index(records)
    chosen = [(row["key"], row["cameras"][0]) for row in index if row["subject"] == "S0" and row["labelled"]]
    (batch,) = labelled_crops.evaluation(records, data, chosen, index, batch_size=len(chosen)).as_numpy_iterator()
    poses = [predict.load(folder, predict.read_facts(folder))(batch["source"]) for folder in (exact, rounded)]
    distance = np.linalg.norm(poses[1] - poses[0], axis=-1)
    spread = np.linalg.norm(poses[0] - poses[0].mean(0), axis=-1)
    # The same people: the same order of magnitude; and small beside what tells one pose from another.
    assert found["mean_mm"] / 2 < distance.mean() < 2 * found["mean_mm"]
    assert distance.mean() < 0.5 * spread.mean()


def test_calibration_and_comparison_share_no_crop(run, records):
    command_line.reset(export.FLAGS)
    export.FLAGS(["export", f"--run={run}", "--output=none", f"--data_dir={records}"])
    first, second, subjects = export._training_crops(run, json.loads((run / "run.json").read_text()))
    assert subjects == "S0+S2" and abs(len(first) - len(second)) <= 1 and len(first) > 4
    shared = {crop.tobytes() for crop in first} & {crop.tobytes() for crop in second}
    assert not shared and first.shape[1:] == (SIZE, SIZE, 3) and first.dtype == np.uint8


def test_predicting_loads_no_tensorflow(exact):
    script = (
        "import sys, numpy as np; from hand_tf import predict\n"
        f"estimate = predict.load({str(exact)!r}, predict.read_facts({str(exact)!r}))\n"
        f"print(estimate(np.zeros((2, {SIZE}, {SIZE}, 3), np.uint8)).shape)\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(2, 21, 3)", "[]"]


def test_integers_need_the_records_of_the_run(run, records, tmp_path, capsys):
    assert exported(run, tmp_path / "out", "--format=litert_int8") == 1
    assert "pass --data_dir" in capsys.readouterr().err
    other = shutil.copytree(run, tmp_path / "other")
    facts = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(facts | {"records": "others"}))
    assert exported(other, tmp_path / "out", "--format=litert_int8", f"--data_dir={records}") == 1
    assert "not the records" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_cannot_be_used_is_said_in_one_line(exact, tmp_path, monkeypatch):
    (tmp_path / "hand_tf.json").write_bytes((exact / "hand_tf.json").read_bytes())
    with pytest.raises(ValueError, match=r"saved_model\.pb or model\.tflite expected"):
        predict.read_facts(tmp_path)
    (tmp_path / litert.FILE).write_bytes(b"nothing")
    facts = predict.read_facts(tmp_path)
    with pytest.raises(ValueError, match=r"model\.tflite cannot be used"):
        predict.load(tmp_path, facts)
    with pytest.raises(ValueError, match="image_size 64"):
        predict.load(exact, facts | {"image_size": 64})
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ValueError, match="pip install hand_tf"):
        predict.load(exact, facts)
