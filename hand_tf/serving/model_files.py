"""The folder of an exported model: one model, and a file that describes it.

    MODEL/hand_tf.json      how to use the model (see `contract`), and what it was trained on
    MODEL/saved_model.pb    the model as a TensorFlow SavedModel (with variables/), or
    MODEL/model.tflite      the model for LiteRT

A model is named by its folder, or by its .tflite file.
"""

import os
import pathlib
from collections.abc import Sequence

import hand_tf
from hand_tf.core import atomic, pretrained, reading, skeleton
from hand_tf.core.errors import InputError
from hand_tf.serving import contract

DESCRIPTION = "hand_tf.json"
SAVED_MODEL = "saved_model.pb"
LITERT = "model.tflite"

_SCALE = "up to scale: one camera cannot tell a small near hand from a large far one"
_SCHEMA = {
    "properties": {
        "image_size": {"type": "integer", "minimum": 1},
        "box_margin": {"type": "number", "exclusiveMinimum": 0},
        "scale": {"type": "string"},
        "unlabelled_joints": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 20}},
        "files": {"type": "object", "additionalProperties": {"type": "string"}},
    }
}
_FROM_RUN = ("regime", "scenario", "labels", "steps", "batch_size", "backend")


def describe_model(image_size: int, box_margin: float, run: dict, outputs: Sequence[str] = contract.OUTPUTS) -> dict:
    """The content of hand_tf.json.

    Args:
        image_size: side of the crops that the model reads, px.
        box_margin: side of a crop over the longer side of the hand's box.
        run: the summary of the training run, the content of its run.json.
        outputs: names of the model's outputs.
    """
    # The fields up to box_margin are those of older versions, which read no others.
    return {
        "hand_tf": hand_tf.__version__,
        "image_size": image_size,
        "joint_names": list(skeleton.JOINT_NAMES),
        "unlabelled_joints": run.get("unlabelled_joints", []),  # whose values in the outputs mean nothing
        "units": "mm",
        "scale": _SCALE,
        "pose_frame": "virtual camera: wrist at the origin, x right, y down, z away from the camera",
        "hand": "right; flip the crop of a left hand and change the sign of its pose's x",
        "box_margin": box_margin,
        **contract.contract(image_size, box_margin, outputs),
        "run": {name: run.get(name) for name in _FROM_RUN},
    }


def is_exported_model(folder: str | os.PathLike) -> bool:
    """Whether `folder` holds a model of either format."""
    return any((pathlib.Path(folder) / name).is_file() for name in (SAVED_MODEL, LITERT))


def find_model(path: str | os.PathLike) -> pathlib.Path:
    """The model file that `path` names: a folder, a .tflite file, or a model of the package (`core.pretrained`).

    Of two formats in a folder it is LiteRT's.

    Raises FileNotFoundError if there is nothing at `path`, ValueError if it is no exported model.
    """
    path = pretrained.located(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or file; `hand-tf export` makes one")
    folder = path if path.is_dir() else path.parent
    files = [folder / LITERT, folder / SAVED_MODEL] if path.is_dir() else [path]
    found = [file for file in files if file.is_file()]
    if not found or (path.is_file() and path.suffix != ".tflite") or not (folder / DESCRIPTION).is_file():
        raise InputError(
            f"{path}: expected a folder with {DESCRIPTION} and {SAVED_MODEL} or {LITERT}, as `hand-tf export`"
            " writes it, or the .tflite file in it"
        )
    return found[0]


def read_description(path: str | os.PathLike) -> dict:
    """The content of hand_tf.json of an exported model; `path` and errors as in `find_model`."""
    file = find_model(path).with_name(DESCRIPTION)
    description = reading.read_json_object(file, ("image_size", "box_margin", "scale"), sealed=True)
    reading.check(description, _SCHEMA, file)
    return description


def hashes(folder: str | os.PathLike) -> dict[str, str]:
    """{file: SHA-256} of all files below `folder` but its hand_tf.json."""
    paths = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file() and path.name != DESCRIPTION)
    return {path.relative_to(folder).as_posix(): atomic.sha256(path) for path in paths}


def check_files(folder: pathlib.Path, description: dict) -> None:
    """Raises ValueError if a file of the model in `folder` is missing, or is not the one that was exported.

    Models of version 0.2.0, whose hand_tf.json does not have the hashes, are not checked.
    """
    for name, expected in description.get("files", {}).items():
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: missing; {DESCRIPTION} names it")
        if atomic.sha256(folder / name) != expected:
            raise InputError(f"{folder / name}: damaged, or not the file that was exported (another SHA-256)")


def check_output(output: str | os.PathLike, overwrite: bool) -> None:
    """Raises ValueError unless a model may be written to `output`: a free place, or an older model with `overwrite`."""
    output = pathlib.Path(output)
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
    elif not overwrite:
        raise InputError(f"--output={output}: exists already; choose another folder or pass --overwrite")
    elif not is_exported_model(output):
        raise InputError(f"--output={output}: no exported model, so --overwrite leaves it alone; choose another folder")
