"""A finished run with random networks, which needs no training."""

import numpy as np

from hand_tf.core import run_folder

SIZE = 32  # px


def write(folder):
    """A run folder with random networks for crops of 32 px, which estimate poses some centimetres wide."""
    import default_networks
    import keras

    keras.utils.set_random_seed(3)
    random = np.random.default_rng(0)
    encoder = default_networks.encoder(SIZE, width=8, num_points=16, appearance_size=8)
    pose_head = default_networks.pose_head(16, SIZE)
    std = random.uniform(10, 40, (21, 3))
    std[0] = 0
    pose_head.get_layer("pose").set_statistics(std * random.normal(size=(21, 3)), std)
    summary = {"regime": "supervised", "scenario": "S0:10%", "labels": 7, "flags": {"data_dir": "elsewhere"}}
    run_folder.finish(folder, {"encoder": encoder, "pose_head": pose_head}, summary)
    return folder
