"""Semi-supervised monocular 3D hand pose estimation from multi-view images.

The commands are `hand-tf train`, `evaluate`, `study`, `report`, `export` and `predict`. In Python:

    import hand_tf

    estimator = hand_tf.load_estimator("model")    # an exported model, a .tflite file, or the folder of a finished run
    (hand,) = estimator.predict(image, boxes=[(310, 120, 180, 200)], side="right")
    hand.pose_mm                                   # [21, 3] mm, relative to the wrist
    hand.joints_2d                                 # [21, 2] px in the image, which is RGB uint8 [height, width, 3]
    estimator.predict(image, boxes=[(310, 120, 180, 200)], intrinsics="camera.json")    # in the camera's frame

    hands = hand_tf.load_detector().detect(image)  # after `hand-tf fetch detector`; each has box, side and score
    estimator.predict(image, hands)

    poses = estimator.estimate(crops)              # [n, 21, 3] mm, from crops of right hands [n, size, size, 3]
    hand_tf.mpjpe(true_poses, poses)               # [n] mm; also n_mpjpe and pa_mpjpe
    curve = hand_tf.pck(true_poses, poses, None, thresholds=range(51))
    hand_tf.auc(range(51), curve, 20, 50)

    keras.saving.load_model("run/encoder.keras")   # knows our layers, because hand_tf is imported

`import hand_tf` takes no time: TensorFlow and Keras are loaded once something needs them.
"""

import importlib
import os
import typing

from hand_tf.core import keras_registration

if typing.TYPE_CHECKING:
    from hand_tf.nets.metrics import auc, mpjpe, n_mpjpe, pa_mpjpe, pck
    from hand_tf.serving.detector_files import load_detector
    from hand_tf.serving.estimator import load_estimator

__all__ = ["auc", "load_detector", "load_estimator", "mpjpe", "n_mpjpe", "pa_mpjpe", "pck"]
__version__ = "0.3.0.dev0"

_MODULES = {name: "hand_tf.nets.metrics" for name in __all__}
_MODULES |= {"load_detector": "hand_tf.serving.detector_files", "load_estimator": "hand_tf.serving.estimator"}

# TensorFlow's start-up messages hide ours; must be set before it is imported, and a user's own setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Keras then loads our .keras files, whichever of the two is imported first.
keras_registration.import_with_keras(
    *(f"hand_tf.nets.{name}" for name in ("layers", "point_layers", "pose_layers", "metrics")),
    "hand_tf.training.losses",
)


def __getattr__(name: str) -> typing.Any:
    """Imports a function of `__all__` when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'hand_tf' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
