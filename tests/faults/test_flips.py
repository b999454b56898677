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


def check(path, read, same, cases):
    """Reads the file with each of `cases` faults, and the sound file before and after."""
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
def test_networks_of_a_run(run, name):
    def weights():
        return [array.tobytes() for array in parts.load_part(run, name.removesuffix(".keras")).get_weights()]

    assert check(run / name, weights, equal, 20) == 20


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
def test_exported_models(models, model, name, cases):
    check(models / model / name, lambda: load_estimator(models / model).estimate(CROPS).tobytes(), equal, cases)


def test_summaries_of_runs_and_results(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    content = reading.read_json_object(tmp_path / "run" / "run.json")
    flags = {"regime": "supervised", "in_plane_degrees": "0.0", "subjects": "*"}
    numbers = {"steps": 1, "batch_size": 4, "seconds": 2.5, "backend": "tensorflow", "init_from": None, "flags": flags}
    path = tmp_path / "run" / "run.json"
    atomic.write_sealed_json(path, content | numbers)
    assert check(path, lambda: runs.describe(path.parent), equal, 60) > 30
    results = tmp_path / "results.json"
    atomic.write_sealed_json(results, {"run": runs.describe(path.parent), "crops": 9})
    assert check(results, lambda: reading.read_json_object(results), equal, 60) > 30


def test_records(records, tmp_path):
    shutil.copytree(records, tmp_path / "records")
    folder = tmp_path / "records"
    for name in ("manifest.json", "index.csv"):
        check(
            folder / name, lambda: (records_folder.load_manifest(folder), records_folder.read_index(folder)), equal, 60
        )
    shard = next(folder.glob("*.tfrecord"))
    manifest = records_folder.load_manifest(folder)
    for case in range(20):
        sound = shard.read_bytes()
        flipped(shard, case)
        assert records_folder.damaged(folder, manifest) == [shard.name]
        shard.write_bytes(sound)


def test_checkpoints(tmp_path):
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

    check(path, restored, equal, 60)
