"""One flipped bit, or a file cut short: named, or without any effect; never other numbers without a word."""

import random
import shutil

import keras
import numpy as np
import pytest
import random_run

from hand_tf import export
from hand_tf.core import atomic, command_line, reading, records_folder
from hand_tf.core.errors import InputError
from hand_tf.nets import parts
from hand_tf.serving.estimator import load_estimator
from hand_tf.training import checkpoints, runs

if keras.backend.backend() != "tensorflow":
    pytest.skip("exports are TensorFlow's", allow_module_level=True)

CROPS = np.random.default_rng(0).integers(0, 256, (1, random_run.SIZE, random_run.SIZE, 3), np.uint8)


def flipped(path, case):
    """Puts a fault into the file: mostly one bit, sometimes the end is missing."""
    chance, data = random.Random(case), bytearray(path.read_bytes())
    if case % 5 == 4:
        path.write_bytes(data[: chance.randrange(len(data))])
    else:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)


def check(path, read, same, cases, record):
    """Reads the file with each of `cases` faults, and the sound file before and after; returns how many were named."""
    sound, expected = path.read_bytes(), read()
    assert same(read(), expected)
    named = 0
    for case in range(cases):
        flipped(path, case)
        try:
            found = read()
        except (InputError, OSError) as error:
            assert path.name in str(error), (case, str(error))
            named += 1
        else:
            assert same(found, expected), f"case {case}: other content without a word"
        finally:
            path.write_bytes(sound)
    assert same(read(), expected)
    for name, value in {"group": "flipped", "what": path.name, "faults": cases, "named": named}.items():
        record(name, value)
    return named


def equal(one, other):
    return one == other


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return random_run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def models(run, tmp_path_factory):
    """`run` exported in both formats."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("savedmodel", "litert"):
        flags = [f"--run={run}", f"--output={folder / name}", f"--format={name}"]
        assert command_line.run(export.main, flags) == 0
    return folder


@pytest.mark.parametrize("name", ["encoder.keras", "pose_head.keras"])
def test_networks_of_a_run(run, name, record_property):
    def weights():
        return [array.tobytes() for array in parts.load_part(run, name.removesuffix(".keras")).get_weights()]

    assert check(run / name, weights, equal, 20, record_property) == 20


@pytest.mark.parametrize(
    ("model", "name", "cases"),
    [
        ("litert", "model.tflite", 40),
        ("litert", "hand_tf.json", 40),
        ("savedmodel", "saved_model.pb", 6),
        ("savedmodel", "variables/variables.data-00000-of-00001", 6),
        ("savedmodel", "variables/variables.index", 6),
    ],
)
def test_exported_models(models, model, name, cases, record_property):
    def poses():
        return load_estimator(models / model).estimate(CROPS).tobytes()

    check(models / model / name, poses, equal, cases, record_property)


@pytest.fixture
def summary(run, tmp_path):
    """A sealed run.json, as training writes it."""
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    flags = {"regime": "supervised", "in_plane_degrees": "0.0", "subjects": "*"}
    numbers = {"steps": 1, "batch_size": 4, "seconds": 2.5, "backend": "tensorflow", "init_from": None, "flags": flags}
    atomic.write_sealed_json(path, reading.read_json_object(path) | numbers)
    return path


def test_summaries_of_runs(summary, record_property):
    assert check(summary, lambda: runs.describe(summary.parent), equal, 60, record_property) > 30


def test_results(summary, tmp_path, record_property):
    path = tmp_path / "results.json"
    atomic.write_sealed_json(path, {"run": runs.describe(summary.parent), "crops": 9})

    def read():  # a flip in the name of the seal leaves what is used as it was
        return {name: reading.read_json_object(path)[name] for name in ("run", "crops")}

    assert check(path, read, equal, 60, record_property) > 30


@pytest.mark.parametrize("name", ["manifest.json", "index.csv"])
def test_records(records, tmp_path, name, record_property):
    folder = tmp_path / "records"
    shutil.copytree(records, folder)

    def read():
        return records_folder.load_manifest(folder), records_folder.read_index(folder)

    check(folder / name, read, equal, 60, record_property)


def test_shards(records, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(records, folder)
    shard, manifest = next(folder.glob("*.tfrecord")), records_folder.load_manifest(folder)
    sound = shard.read_bytes()
    for case in range(20):
        flipped(shard, case)
        assert records_folder.damaged(folder, manifest) == [shard.name]
        shard.write_bytes(sound)


def test_checkpoints(tmp_path, record_property):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 5)), verbose=0)
    path = tmp_path / "epoch_00001.npz"
    checkpoints.save(path, model)

    def restored():
        for weight in model.weights:
            weight.assign(np.zeros(weight.shape))
        checkpoints.restore(path, model)
        return [array.tobytes() for array in model.get_weights()]

    check(path, restored, equal, 60, record_property)
