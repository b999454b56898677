"""Export: the SavedModel computes what the run does, and what cannot be exported is refused in one line."""

import json
import shutil
import subprocess
import sys

import default_networks
import full_disk
import keras
import numpy as np
import pytest
import tensorflow as tf

from hand_tf import export
from hand_tf.core import command_line, skeleton
from hand_tf.serving import export_model, model_files, saved_model

if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is TensorFlow's", allow_module_level=True)

SIZE = 32


def exported(run, output, *flags):
    """The exit status of the export."""
    return command_line.run(export.main, [f"--run={run}", f"--output={output}", *flags])


def test_the_saved_model_is_the_run(run, model):
    estimate = saved_model.SavedModel(model)
    encoder, head = (keras.models.load_model(run / f"{name}.keras", compile=False) for name in ("encoder", "pose_head"))
    random = np.random.default_rng(1)
    for batch in (1, 3, 17):
        images = random.integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)
        expected = head.predict_on_batch(encoder.predict_on_batch(images)["points"])
        assert np.ptp(expected["pose"]) > 10  # mm: not a model that says nothing
        found = estimate(images)
        assert set(found) == {"pose", "joints_2d"}
        for name, values in found.items():
            np.testing.assert_allclose(values, expected[name], atol=export_model.TOLERANCE)


def test_an_empty_batch_has_no_poses(model):
    found = saved_model.SavedModel(model)(np.zeros((0, SIZE, SIZE, 3), np.uint8))
    assert {name: value.shape for name, value in found.items()} == {"pose": (0, 21, 3), "joints_2d": (0, 21, 2)}


def test_the_description_says_what_the_model_is_and_nothing_about_the_machine(model):
    text = (model / "hand_tf.json").read_text()
    description = json.loads(text)
    assert description["image_size"] == SIZE and description["joint_names"] == list(skeleton.JOINT_NAMES)
    assert description["run"]["scenario"] == "S0:10%" and description["run"]["labels"] == 7 and "elsewhere" not in text
    assert not (model / "old").exists() and not list(model.parent.glob("*.partial"))


def test_the_contract_names_what_the_model_has(model):
    description = json.loads((model / "hand_tf.json").read_text())
    signature = tf.saved_model.load(str(model)).signatures[description["signature"]]
    given, outputs = signature.structured_input_signature[1], signature.structured_outputs
    ((name, spec),) = given.items()
    assert (name, spec.dtype.name) == (description["input"]["name"], description["input"]["dtype"])
    assert [None, *description["input"]["shape"][1:]] == spec.shape.as_list()
    assert outputs.keys() == description["outputs"].keys()
    for name, output in outputs.items():
        assert description["outputs"][name]["dtype"] == output.dtype.name
        assert [None, *description["outputs"][name]["shape"][1:]] == output.shape.as_list()
    assert description["crop"]["margin"] == description["box_margin"] and description["crop"]["size"] == SIZE
    parents = description["joints"]["parents"]
    assert len(parents) == description["joints"]["count"] == len(description["joint_names"])
    assert description["joint_names"][parents[8]] == "index_3"  # joint 8 is the tip of the index finger, as elsewhere


def test_a_model_without_places_does_not_promise_them():
    assert set(model_files.describe_model(SIZE, 1.5, {}, ["pose"])["outputs"]) == {"pose"}


def test_half_precision_runs_are_exported_in_float32(run, tmp_path):
    folder = tmp_path / "half"
    shutil.copytree(run, folder)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        half = default_networks.encoder(SIZE, width=8, num_points=16, appearance_size=8)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    half.save(folder / "encoder.keras")
    (folder / "run.json").unlink()  # which says that the encoder is another one
    encoder = export_model.load_run(folder).get_layer("encoder")
    assert {layer.compute_dtype for layer in encoder.layers} <= {"float32", "uint8"}
    for ours, theirs in zip(encoder.get_weights(), half.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_model_that_differs_is_refused(run, model):
    estimate, other = saved_model.SavedModel(model), export_model.load_run(run)
    assert export_model.check(estimate, other, export_model.TOLERANCE) <= export_model.TOLERANCE
    head = other.get_layer("pose_head").get_layer("pose")
    weights = np.asarray(head.weights_of_points)
    for factor in (1.0001, np.nan):
        head.weights_of_points.assign(weights * factor)
        with pytest.raises(ValueError, match=r"mm from the run's own networks, expected at most 0\.0001 mm"):
            export_model.check(estimate, other, export_model.TOLERANCE)


def test_a_failed_export_leaves_the_older_model_alone(tmp_path, monkeypatch):
    def full_disk(folder, model):
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"half a mod")
        raise OSError("No space left on device")

    monkeypatch.setattr(saved_model, "write_saved_model", full_disk)
    older = tmp_path / "model"
    older.mkdir()
    (older / "saved_model.pb").write_bytes(b"older")
    with pytest.raises(OSError, match="No space left"):
        export_model.export_model(None, older, {})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (older / "saved_model.pb").read_bytes() == b"older"


@pytest.mark.parametrize("size", [0, 3_000, 40_000])
def test_a_disk_that_becomes_full_is_one_line_and_leaves_nothing(run, tmp_path, capsys, size):
    with full_disk.limit(size):
        assert exported(run, tmp_path / "model") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert line.startswith("error: ") and str(tmp_path) in line
    assert list(tmp_path.iterdir()) == []


def test_export_refuses_what_it_cannot_use(run, model, tmp_path, capsys):
    cases = []
    for missing in ("run.json", "pose_head.keras"):
        folder = tmp_path / missing
        shutil.copytree(run, folder)
        (folder / missing).unlink()
        cases.append((f"no {missing} there", exported(folder, tmp_path / "out")))
    for name, message in (("run.json", "not valid JSON"), ("encoder.keras", "cut short, or damaged")):
        folder = tmp_path / f"cut_{name}"
        shutil.copytree(run, folder)
        (folder / name).write_bytes((run / name).read_bytes()[:60])
        cases.append((f"{name}: {message}", exported(folder, tmp_path / "out")))
    cases.append(("exists already", exported(run, model)))
    cases.append(("no exported model", exported(run, tmp_path, "--overwrite")))
    lines = capsys.readouterr().err.splitlines()
    for (message, status), line in zip(cases, lines, strict=True):
        assert status == 1 and message in line
    assert not (tmp_path / "out").exists() and (run / "run.json").is_file()


def test_wrong_flags_are_refused_before_anything_is_loaded(tmp_path):
    script = (
        "import sys; from hand_tf import export; from hand_tf.core import command_line\n"
        f"flags = ['--run={tmp_path}', '--output={tmp_path / 'out'}']\n"
        "print(command_line.run(export.main, [*flags, '--format=litert_int8']))\n"
        "print(command_line.run(export.main, [*flags, '--box_margin=0.5']))\n"
        "print(command_line.run(export.main, flags))\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2", "2", "1", "[]"]
    messages = ("pass --data_dir", "--box_margin=0.5: expected at least 1", "no run.json")
    for line, message in zip(done.stderr.splitlines(), messages, strict=True):
        assert message in line
