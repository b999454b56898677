"""A small run with random networks, and its export as a SavedModel."""

import json

import numpy as np
import pytest

from hand_tf import export
from hand_tf.core import command_line

SIZE = 32  # px


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run folder with random networks for crops of 32 px, which estimate poses some centimetres wide."""
    import default_networks
    import keras

    keras.utils.set_random_seed(3)
    folder, random = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    encoder = default_networks.encoder(SIZE, width=8, num_points=16, appearance_size=8)
    pose_head = default_networks.pose_head(16, SIZE)
    std = random.uniform(10, 40, (21, 3))
    std[0] = 0
    pose_head.get_layer("pose").set_statistics(std * random.normal(size=(21, 3)), std)
    encoder.save(folder / "encoder.keras")
    pose_head.save(folder / "pose_head.keras")
    summary = {"regime": "supervised", "scenario": "S0:10%", "labels": 7, "flags": {"data_dir": "elsewhere"}}
    (folder / "run.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="session")
def model(run, tmp_path_factory):
    """`run`, exported by the command over an older export."""
    folder = tmp_path_factory.mktemp("export") / "model"
    folder.mkdir()
    for name in ("saved_model.pb", "old"):
        (folder / name).touch()
    assert command_line.run(export.main, [f"--run={run}", f"--output={folder}", "--overwrite"]) == 0
    return folder
