"""Exports a pose estimator, and checks that the file just written computes what the estimator does."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from hand_tf.core import atomic, folder_lock
from hand_tf.core.errors import InputError
from hand_tf.nets import models, parts
from hand_tf.serving import litert, litert_converter, litert_form, model_files, saved_model
from hand_tf.serving.calibration import CalibrationCrops

TOLERANCE = 1e-4  # mm
LITERT_TOLERANCE = 1e-3  # mm: LiteRT has other kernels, and its batch norms are folded into the convolutions


def load_run(run: str | os.PathLike) -> keras.Model:
    """The pose estimator of a finished run in float32: source uint8 [batch, size, size, 3] -> pose [batch, 21, 3] mm,
    joints_2d [batch, 21, 2] px and, if the run has learned it, joint_error [batch, 21] mm.

    Raises FileNotFoundError or ValueError for a missing or damaged part, ValueError if Keras runs on another backend
    than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"KERAS_BACKEND={keras.backend.backend()}: the export needs tensorflow, whatever the run was trained on"
        )
    found = {f"{name}_model": _in_float32(part) for name, part in parts.load_parts(run).items()}
    return models.pose_estimator(**found)


def _in_float32(part):
    """`part` with every layer in float32: half precision rounds differently on every machine."""

    def rebuild(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.InputLayer):
            return layer.__class__.from_config(config)
        return layer.__class__.from_config(config | {"dtype": "float32"})

    clone = keras.models.clone_model(part, clone_function=rebuild)
    clone.set_weights(part.get_weights())
    return clone


def export_model(
    model: keras.Model,
    output: str | os.PathLike,
    description: dict,
    format: str = "savedmodel",
    crops: CalibrationCrops | None = None,
    overwrite: bool = True,
) -> str:
    """Writes a model to the folder `output`, in place of what is there, once it has been checked.

    Args:
        model: a pose estimator, as from `load_run`.
        description: the content of its hand_tf.json, as from `model_files.describe_model`.
        format: `savedmodel`, `litert` or `litert_int8`.
        crops: for `litert_int8`.
        overwrite: whether an older model may be replaced.

    Returns what the check found, in words. Raises ValueError if the written model differs from `model` by more than
    `TOLERANCE` (LiteRT: `LITERT_TOLERANCE`), or if an integer model does not estimate finite poses.
    """
    with _replacing_folder(output, overwrite) as folder:
        if format == "savedmodel":
            saved_model.write_saved_model(folder, model)
            found = _in_words(check(saved_model.SavedModel(folder), model, TOLERANCE))
        else:
            folder.mkdir()
            content, found, measured = _litert_model(model, crops if format == "litert_int8" else None)
            (folder / model_files.LITERT).write_bytes(content)
            description = description | measured
        description = description | {"files": model_files.hashes(folder)}
        atomic.write_sealed_json(folder / model_files.DESCRIPTION, description)
    return found


@contextlib.contextmanager
def _replacing_folder(output: str | os.PathLike, overwrite: bool) -> Iterator[pathlib.Path]:
    """A path to write a folder to, which becomes `output` when the block ends well; otherwise nothing is left of it."""
    output = pathlib.Path(os.path.abspath(output))
    partial = output.with_name(f"{output.name}.partial")
    with folder_lock.holding(output.parent, output.name):
        model_files.check_output(output, overwrite)  # once more: another process may have finished since
        shutil.rmtree(partial, ignore_errors=True)  # what a killed export has left
        try:
            yield partial
            if output.exists():
                shutil.rmtree(output)
            os.replace(partial, output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _litert_model(model, crops):
    """The content of a .tflite file, what its check found, and what hand_tf.json says about that."""
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_saved_model(folder, litert_form.rewrite(model), allow_empty=False)
        exact = litert_converter.convert(folder)
        difference = check(litert.LiteRTModel(exact), model, LITERT_TOLERANCE)
        if crops is None:
            return exact, _in_words(difference), {}
        rounded = litert_converter.quantize(folder, exact, crops.calibration)
    measured = {"subjects": crops.subjects, "calibration_crops": len(crops.calibration)}
    measured |= _distances(*(litert.LiteRTModel(model)(crops.held_out)["pose"] for model in (exact, rounded)))
    found = (
        f"on {measured['crops']} crops of {crops.subjects} its joints are {measured['mean_mm']:.2f} mm on average"
        f" from those of the float model (95% of them at most {measured['p95_mm']:.2f} mm)"
    )
    return rounded, found, {"int8": measured}


def _in_words(difference):
    return f"at most {difference:.1e} mm from the run's own networks"


def check(estimate: Callable[[np.ndarray], dict[str, np.ndarray]], model: keras.Model, tolerance: float) -> float:
    """Compares an exported model with the one it was made from, on bright and dark noise.

    Args:
        estimate: the exported model, crops uint8 [n, size, size, 3] -> its outputs by name.
        model: the pose estimator, source -> outputs.
        tolerance: mm of the pose, and px of the places in the crop.

    Returns the largest difference of a coordinate, mm or px. Raises ValueError if it exceeds `tolerance`.
    """
    size, random = model.inputs[0].shape[1], np.random.default_rng(0)
    # As a graph, as evaluation runs it: one operation at a time, float32 rounds differently, by up to 1e-3 mm.
    original = tf.function(lambda source: dict(model({"source": source}, training=False)))
    worst = 0.0
    for batch in (1, 4):  # two sizes, since the batch size is free
        images = random.integers(0, 256, (batch, size, size, 3), np.uint8)
        images[-1] //= 16
        found, expected = estimate(images), original(tf.constant(images))
        differences = [np.abs(found[name] - expected[name]).max() for name in expected]
        worst = float(np.max([worst, *differences]))  # unlike Python's max, it keeps a NaN
    if not worst <= tolerance:
        raise InputError(
            f"the exported model is {worst:.1e} mm from the run's own networks, expected at most {tolerance} mm"
        )
    return worst


def _distances(exact, rounded):
    """Distances between two sets of poses [n, 21, 3] mm, joint by joint, as numbers for hand_tf.json."""
    distance = np.linalg.norm(rounded - exact, axis=-1)
    if not np.isfinite(distance).all():
        raise InputError("the model estimates poses that are not finite; its training has diverged")
    numbers = {"mean_mm": distance.mean(), "p95_mm": np.quantile(distance, 0.95), "max_mm": distance.max()}
    return {"crops": len(exact)} | {name: round(float(value), 3) for name, value in numbers.items()}
