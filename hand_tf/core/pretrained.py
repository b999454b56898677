"""The trained models that come with the package, by name; where a model or a run is asked for, a name may stand.

    hand_tf/pretrained/hands/   single right hands of any kind of picture: a finished run (encoder.keras,
                                pose_head.keras, confidence.keras, run.json) and the same model for LiteRT
                                (model.tflite, hand_tf.json)

A name always means the model of the package; a folder of that name is written "./hands".
"""

import os
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "pretrained"
NAMES = ("hands",)


def is_name(path: str | os.PathLike) -> bool:
    """Whether `path` is the name of a model of the package."""
    return os.fspath(path) in NAMES


def located(path: str | os.PathLike) -> pathlib.Path:
    """The folder that a name stands for; any other path as it is."""
    return FOLDER / path if is_name(path) else pathlib.Path(path)
