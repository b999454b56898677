"""The parts of a trained model: encoder, decoder, pose head and confidence, each in a file of the run's folder.

    RUN/encoder.keras      image -> points, appearance
    RUN/decoder.keras      points, appearance, background -> image, mask; only where novel views were learned
    RUN/pose_head.keras    points -> pose; only where poses were learned
    RUN/confidence.keras   points, appearance -> joint_error; only where that was learned

All code that needs a trained part loads it here.
"""

import json
import os
import pathlib
import typing
import zipfile
import zlib

from hand_tf.core import run_folder
from hand_tf.core.errors import InputError

if typing.TYPE_CHECKING:
    import keras

_WHEN_MISSING = {
    "encoder": "is this the folder of a finished run?",
    "decoder": "only runs that learn novel views have a decoder",
    "pose_head": "this run estimates no poses; train --regime=pose_head --init_from={folder} and use that run",
    "confidence": "train --regime=confidence --init_from={folder} and use that run",
}


def find_part(folder: str | os.PathLike, name: str) -> pathlib.Path:
    """The file of a part, such as `encoder`; looks at the file without loading Keras.

    Raises FileNotFoundError if the run has no such part, ValueError if the file is damaged.
    """
    path = pathlib.Path(folder) / f"{name}.keras"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no {path.name} there; {_WHEN_MISSING[name].format(folder=folder)}")
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            begins = file.read(2) == b"PK"
        raise InputError(f"{path}: {'cut short, or damaged' if begins else 'not a file that Keras has written'}")
    return path


def load_part(folder: str | os.PathLike, name: str, crop_size: int | None = None) -> "keras.Model":
    """A part of the run in `folder`, not compiled.

    Args:
        name: `encoder`, `decoder`, `pose_head` or `confidence`.
        crop_size: px of the crops that the encoder is to be used on; None accepts every size.

    Raises FileNotFoundError if the run has no such part, ValueError if the file is damaged, holds code that would be
    run by loading it, or is an encoder of crops of another size.
    """
    # Imported here, because commands check that the files exist before they spend seconds on loading Keras.
    import keras

    path = find_part(folder, name)
    try:
        run_folder.check_file(path)
        part = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        written = _written_by(path)
        if written not in (None, keras.__version__):
            raise InputError(
                f"{path}: Keras {written} has written it, and this is Keras {keras.__version__}"
            ) from error
        if isinstance(error, InputError):
            says = f"; it says that Keras {written} has written it, which is also the Keras here" if written else ""
            raise InputError(f"{error}{says}") from error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: damaged, or not a model of hand_tf ({reason:.200})") from error
    if name == "encoder" and crop_size not in (None, part.input.shape[1]):
        raise InputError(f"{path}: this encoder reads crops of {part.input.shape[1]} px, not of {crop_size} px")
    return part


def _written_by(path):
    """The version of Keras that wrote a file; None if it does not say."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("metadata.json"))["keras_version"]
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile, zlib.error):
        return None


def load_parts(folder: str | os.PathLike, crop_size: int | None = None) -> dict[str, "keras.Model"]:
    """The parts that estimate poses: {"encoder": ..., "pose_head": ...}, and "confidence" if the run has it.

    Arguments and errors as in `load_part`.
    """
    names = ["encoder", "pose_head"]
    if (pathlib.Path(folder) / "confidence.keras").exists():
        names.append("confidence")
    for name in names:
        find_part(folder, name)  # all, before the first one takes its time
    return {name: load_part(folder, name, crop_size) for name in names}


def load_estimator(folder: str | os.PathLike, crop_size: int | None = None) -> "keras.Model":
    """The pose estimator of a run, `models.pose_estimator` of its parts. Arguments and errors as in `load_part`."""
    found = load_parts(folder, crop_size)
    from hand_tf.nets import models

    return models.pose_estimator(found["encoder"], found["pose_head"], confidence_model=found.get("confidence"))
