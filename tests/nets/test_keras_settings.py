"""The user's own configuration of Keras changes neither our networks nor what the user's program sees."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import hand_tf
from hand_tf.nets import keras_settings

ROOT = pathlib.Path(hand_tf.__file__).resolve().parents[1]
# Trains and measures the smallest networks, loads them as a user would, and says what Keras is set to then.
PROGRAM = """
import json, sys
import numpy as np
import hand_tf
from hand_tf import evaluate, train
from hand_tf.core import command_line
records, folder = sys.argv[1:]
flags = ["--flagfile=supervised", "--flagfile=smoke", "--scenario=S0:8", "--epochs=1", f"--data_dir={records}"]
assert command_line.run(train.main, [*flags, f"--workdir={folder}"]) == 0
arguments = [f"--data_dir={records}", f"--run={folder}", "--subjects=S5", "--max_crops=8", "--crop=joints3d"]
assert command_line.run(evaluate.main, arguments) == 0
estimator = hand_tf.load_estimator(folder)
poses = estimator.estimate(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8"))
import keras
found = [keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon()]
print(json.dumps({"poses": np.asarray(poses).tolist(), "keras": found}))
"""


@pytest.mark.slow
def test_networks_do_not_depend_on_the_users_configuration(records, tmp_path):
    found = []
    configurations = ({}, {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 1e-3})
    for number, configuration in enumerate(configurations):
        home, folder = tmp_path / f"home{number}", tmp_path / f"run{number}"
        home.mkdir()
        (home / "keras.json").write_text(json.dumps({"backend": "tensorflow"} | configuration))
        environment = os.environ | {"KERAS_HOME": str(home)}
        arguments = [sys.executable, "-c", PROGRAM, str(records), str(folder)]
        done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(json.loads(done.stdout.splitlines()[-1]))
        found[-1]["results"] = json.loads((folder / "results.json").read_text())["results"]["joints3d"]["n_mpjpe"]
    np.testing.assert_allclose(found[0]["poses"], found[1]["poses"], rtol=1e-3, atol=0.1)
    assert found[0]["results"] == pytest.approx(found[1]["results"], rel=1e-3)
    assert found[0]["keras"] == ["channels_last", "float32", 1e-7]
    assert found[1]["keras"] == ["channels_first", "float16", 1e-3]


def test_settings_are_put_back_after_an_error():
    before = keras.config.dtype_policy().name
    with pytest.raises(RuntimeError), keras_settings.ours("mixed_bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise RuntimeError
    assert keras.config.dtype_policy().name == before
