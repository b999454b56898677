"""Exports a finished run as a TensorFlow SavedModel, which needs no code of this project to run.

    python -m hand_tf.export --run=WORKDIR --output=MODEL

The signature `serving_default` of MODEL:

    image    uint8   [batch, size, size, 3]   RGB crops of right hands; batch is free, size is the run's crop size
    pose     float32 [batch, 21, 3]           mm, relative to the wrist, in the frame of the crop's virtual camera:
                                              x right, y down, z away from the camera

Beside saved_model.pb lies hand_tf.json: crop size, joint names, units, frame, how wide to crop, and what the run learnt
from. One camera cannot tell a small near hand from a large far one, so the pose is right up to its scale. In Python:

    estimate = tf.saved_model.load(MODEL).signatures["serving_default"]
    pose = estimate(image=tf.constant(crops))["pose"]

Before MODEL appears, the file just written is read back and must agree with the run's own networks to 1e-4 mm.
Networks trained with a half-precision policy are exported in float32. The export itself needs Keras' TensorFlow
backend; the run may have been trained on any.
"""

import json
import os
import pathlib
import shutil
import sys
import zipfile

from absl import flags

import hand_tf
from hand_tf import command, inputs, manifest, skeleton

FLAGS = flags.FlagValues()
_define = {"flag_values": FLAGS}

flags.DEFINE_string("run", None, "Workdir of a finished run that has a pose head.", **_define)
flags.DEFINE_string("output", None, "Folder of the SavedModel.", **_define)
flags.DEFINE_bool("overwrite", False, "Replace a SavedModel that is already there.", **_define)
flags.DEFINE_float(
    "box_margin", 1.5, "Side of a crop over the longer side of the hand's box, as evaluated.", lower_bound=1, **_define
)
flags.mark_flags_as_required(["run", "output"], flag_values=FLAGS)

FACTS = "hand_tf.json"
TOLERANCE = 1e-4  # mm
SCALE_NOTE = "up to scale: one camera cannot tell a small near hand from a large far one"


def main(_):
    run, output = pathlib.Path(FLAGS.run), pathlib.Path(FLAGS.output)
    _check_output(output)
    trained = _read_run(run)
    model = load(run)
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write(partial, model, facts(model, trained, FLAGS.box_margin))
    difference = check(partial, model)
    if output.exists():
        shutil.rmtree(output)
    os.replace(partial, output)
    print(
        f"{output}: {model.inputs[0].shape[1]} px crops -> pose [21, 3] mm, {difference:.1e} mm from {run};"
        f" next: python -m hand_tf.predict --model={output} IMAGE..."
    )


def _check_output(output):
    """Raises ValueError unless `output` is free, or an older SavedModel that may be replaced."""
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
    elif not FLAGS.overwrite:
        raise ValueError(f"--output={output}: exists already; choose another folder or pass --overwrite")
    elif not (output / "saved_model.pb").is_file():
        raise ValueError(f"--output={output}: not a SavedModel, so --overwrite leaves it alone; choose another folder")


def _read_run(run):
    """The content of run.json.

    Raises FileNotFoundError if the run has not finished or learnt no poses, ValueError for damaged files.
    """
    if not (run / "run.json").is_file():
        raise FileNotFoundError(f"--run={run}: no run.json there; is this the workdir of a finished run?")
    trained = inputs.read_json(run / "run.json")
    for name in ("encoder.keras", "pose_head.keras"):
        if not (run / name).is_file():
            raise FileNotFoundError(
                f"--run={run}: no {name} there; a run of regime {trained.get('regime')} estimates no poses"
            )
        if not zipfile.is_zipfile(run / name):
            raise ValueError(f"{run / name}: damaged, or not written by Keras")
    return trained


def load(run):
    """The pose estimator of a finished run: a Keras model source uint8 [batch, size, size, 3] -> pose [batch, 21, 3].

    Raises ValueError on another backend than TensorFlow.
    """
    import keras

    from hand_tf import layers, models  # noqa: F401 (registers the layers that the files name)

    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"KERAS_BACKEND={keras.backend.backend()}: the export needs tensorflow; the run may be of any")
    parts = {}
    for name in ("encoder", "pose_head"):
        path = pathlib.Path(run) / f"{name}.keras"
        parts[name] = _in_float32(keras.models.load_model(path, compile=False, safe_mode=True))
    return models.pose_estimator(parts["encoder"], parts["pose_head"])


def _in_float32(part):
    """`part` with every layer in float32: a served half-precision network would round differently on every machine."""
    import keras

    def rebuild(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.InputLayer):
            return layer.__class__.from_config(config)
        return layer.__class__.from_config(config | {"dtype": "float32"})

    clone = keras.models.clone_model(part, clone_function=rebuild)
    clone.set_weights(part.get_weights())
    return clone


def facts(model, trained, box_margin):
    """What hand_tf.json says: a dict of the export of `model`; `trained` is the content of the run's run.json."""
    return {
        "hand_tf": hand_tf.__version__,
        "image_size": model.inputs[0].shape[1],
        "joint_names": list(skeleton.JOINT_NAMES),
        "units": "mm",
        "scale": SCALE_NOTE,
        "pose_frame": "virtual camera: wrist at the origin, x right, y down, z away from the camera",
        "hand": "right; flip the crop of a left hand and change the sign of its pose's x",
        "box_margin": box_margin,
        "run": {name: trained.get(name) for name in ("regime", "scenario", "labels", "steps", "batch_size", "backend")},
    }


def write(folder, model, content):
    """Writes `model` as a SavedModel with `content` as its hand_tf.json into `folder`, which must not exist."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec([None, *model.inputs[0].shape[1:]], tf.uint8, name="image")]
    # Choice: the input is called `image`; whoever serves it has no use for the word `source`.
    archive.add_endpoint("serve", lambda image: {"pose": model({"source": image}, training=False)["pose"]}, signature)
    archive.write_out(folder, verbose=False)
    manifest.write_text(folder / FACTS, json.dumps(content, indent=1))


def check(folder, model):
    """Reads the SavedModel back and compares it with `model` on bright and dark noise; returns the difference, mm.

    Raises ValueError if they differ by more than `TOLERANCE`.
    """
    import numpy as np
    import tensorflow as tf

    size, random = model.inputs[0].shape[1], np.random.default_rng(0)
    estimate = tf.saved_model.load(folder).signatures["serving_default"]
    # As a graph, as evaluation runs it: op by op, float32 rounds other sums and is itself up to 1e-3 mm off.
    original = tf.function(lambda source: model({"source": source}, training=False)["pose"])
    worst = 0.0
    for batch in (1, 4):  # two sizes, since the batch must be free
        images = random.integers(0, 256, (batch, size, size, 3), np.uint8)
        images[-1] //= 16
        images = tf.constant(images)
        worst = max(worst, float(np.abs(estimate(image=images)["pose"] - original(images)).max()))
    if not worst <= TOLERANCE:
        raise ValueError(f"{folder}: the SavedModel is {worst:.1e} mm from the run's own networks, at most {TOLERANCE}")
    return worst


if __name__ == "__main__":
    sys.exit(command.run(main, FLAGS))
