"""New networks as `hand_tf.train` makes them by default, except for what a test asks for."""

import keras

from hand_tf.nets import models
from hand_tf.training.settings import TrainingSettings

DEFAULTS = TrainingSettings(regime="pretrain", data_dir="-", workdir="-")
# For `wiring.compiled_losses`.
LOSS_WEIGHTS = {
    "pixel_weight": DEFAULTS.pixel_weight,
    "mask_weight": DEFAULTS.mask_weight,
    "feature_weight": DEFAULTS.feature_weight,
    "pose_weight": DEFAULTS.pose_weight,
    "joints_2d_weight": DEFAULTS.joints_2d_weight,
}


def encoder(image_size: int, **asked) -> keras.Model:
    """`models.encoder` with the default settings and the arguments `asked`."""
    settings = {
        "backbone": DEFAULTS.encoder,
        "width": DEFAULTS.encoder_width,
        "num_points": DEFAULTS.num_points,
        "appearance_size": DEFAULTS.appearance_size,
        "stem": DEFAULTS.stem,
        "points": DEFAULTS.points,
        "normalize_points": DEFAULTS.normalize_points,
    }
    return models.encoder(image_size, **(settings | asked))


def decoder(image_size: int, **asked) -> keras.Model:
    """`models.decoder` with the default settings and the arguments `asked`."""
    settings = {
        "width": DEFAULTS.decoder_width,
        "num_points": DEFAULTS.num_points,
        "appearance_size": DEFAULTS.appearance_size,
        "points_to_map": DEFAULTS.points_to_map,
        "hidden": DEFAULTS.decoder_hidden,
        "convolutions": DEFAULTS.decoder_convolutions,
        "composite": DEFAULTS.composite,
    }
    return models.decoder(image_size, **(settings | asked))


def pose_head(num_points: int, image_size: int = 64, **asked) -> keras.Model:
    """`models.pose_head` with the default settings and the arguments `asked`."""
    settings = {"kind": DEFAULTS.head, "width": DEFAULTS.head_width}
    settings |= {"depth": DEFAULTS.head_depth, "dropout": DEFAULTS.head_dropout}
    return models.pose_head(num_points, image_size, **(settings | asked))
