"""Exports a finished run as a model that needs no code of this project to run.

    python -m hand_tf.export --run=WORKDIR --output=MODEL
    python -m hand_tf.export --run=WORKDIR --output=MODEL --format=litert
    python -m hand_tf.export --run=WORKDIR --output=MODEL --format=litert_int8 --data_dir=RECORDS

    savedmodel      MODEL is a TensorFlow SavedModel
    litert          MODEL/model.tflite, float32, needs nothing but the LiteRT runtime (ai-edge-litert)
    litert_int8     the same in 8-bit integers: a quarter of the size and several times faster, a few mm off

The input and the output of the signature `serving_default`:

    image    uint8   [batch, size, size, 3]   RGB crops of right hands; size is the run's crop size, batch is free in a
                                              SavedModel and 1 in LiteRT
    pose     float32 [batch, 21, 3]           mm, relative to the wrist, in the frame of the crop's virtual camera:
                                              x right, y down, z away from the camera

Beside the model lies hand_tf.json: crop size, joint names, units, frame, how wide to crop, and what the run learnt
from. One camera cannot tell a small near hand from a large far one, so the pose is right up to its scale. In Python:

    estimate = tf.saved_model.load(MODEL).signatures["serving_default"]
    pose = estimate(image=tf.constant(crops))["pose"]

    estimate = ai_edge_litert.interpreter.Interpreter(f"{MODEL}/model.tflite").get_signature_runner()
    pose = estimate(image=crops[:1])["pose"]

Before MODEL appears, the file just written is read back and must agree with the run's own networks to 1e-4 mm, in
LiteRT to 1e-3 mm. Integers do not: their ranges are set on crops of the people that the run has learnt from, and on
other crops of the same people the distance to the float model is measured, printed and kept in hand_tf.json.
Networks trained with a half-precision policy are exported in float32. The export itself needs Keras' TensorFlow
backend; the run may have been trained on any.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import zipfile

from absl import flags

import hand_tf
from hand_tf.core import atomic, command_line, crops, records_folder, skeleton
from hand_tf.serving import litert, picture_inputs
from hand_tf.training import runs

FLAGS = flags.FlagValues()
_define = {"flag_values": FLAGS}

flags.DEFINE_string("run", None, "Workdir of a finished run that has a pose head.", **_define)
flags.DEFINE_string("output", None, "Folder of the model.", **_define)
flags.DEFINE_enum("format", "savedmodel", ["savedmodel", "litert", "litert_int8"], "Of the model.", **_define)
flags.DEFINE_string("data_dir", None, "litert_int8: folder of the records that the run learnt from.", **_define)
flags.DEFINE_bool("overwrite", False, "Replace a model that is already there.", **_define)
flags.DEFINE_float(
    "box_margin", 1.5, "Side of a crop over the longer side of the hand's box, as evaluated.", lower_bound=1, **_define
)
flags.mark_flags_as_required(["run", "output"], flag_values=FLAGS)

FACTS = "hand_tf.json"
TOLERANCE = 1e-4  # mm
LITERT_TOLERANCE = 1e-3  # mm: other kernels, and the batch norms are folded
CALIBRATION = 256  # crops that set the ranges of the integers; as many others measure what they cost
SCALE_NOTE = "up to scale: one camera cannot tell a small near hand from a large far one"


def main(_):
    run, output = pathlib.Path(FLAGS.run), pathlib.Path(FLAGS.output)
    _check_output(output)
    trained = _read_run(run)
    crops = _training_crops(run, trained) if FLAGS.format == "litert_int8" else None
    model = load(run)
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    content = facts(model, trained, FLAGS.box_margin)
    if FLAGS.format == "savedmodel":
        write(partial, model, content)
        found = f"{check(partial, model):.1e} mm from {run}"
    else:
        found = f"{write_litert(partial, model, content, crops)} from {run}"
    if output.exists():
        shutil.rmtree(output)
    os.replace(partial, output)
    print(
        f"{output}: {model.inputs[0].shape[1]} px crops -> pose [21, 3] mm, {found};"
        f" next: python -m hand_tf.predict --model={output} IMAGE..."
    )


def _check_output(output):
    """Raises ValueError unless `output` is free, or an older model that may be replaced."""
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
    elif not FLAGS.overwrite:
        raise ValueError(f"--output={output}: exists already; choose another folder or pass --overwrite")
    elif not any((output / name).is_file() for name in ("saved_model.pb", litert.FILE)):
        raise ValueError(f"--output={output}: no exported model, so --overwrite leaves it alone; choose another folder")


def _read_run(run):
    """The content of run.json.

    Raises FileNotFoundError if the run has not finished or learnt no poses, ValueError for damaged files.
    """
    if not (run / "run.json").is_file():
        raise FileNotFoundError(f"--run={run}: no run.json there; is this the workdir of a finished run?")
    trained = picture_inputs.read_json(run / "run.json")
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

    from hand_tf.nets import layers, models  # noqa: F401 (registers the layers that the files name)

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
    _write_saved_model(folder, model)
    atomic.write_text(folder / FACTS, json.dumps(content, indent=1))


def _write_saved_model(folder, model, batch=None):
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec([batch, *model.inputs[0].shape[1:]], tf.uint8, name="image")]
    # Choice: the input is called `image`; whoever serves it has no use for the word `source`.
    archive.add_endpoint("serve", lambda image: {"pose": model({"source": image}, training=False)["pose"]}, signature)
    archive.write_out(folder, verbose=False)


def check(folder, model):
    """Reads the SavedModel back and compares it with `model` on bright and dark noise; returns the difference, mm.

    Raises ValueError if they differ by more than `TOLERANCE`.
    """
    import tensorflow as tf

    estimate = tf.saved_model.load(folder).signatures["serving_default"]
    return _compare(folder, lambda images: estimate(image=tf.constant(images))["pose"].numpy(), model, TOLERANCE)


def _compare(folder, estimate, model, tolerance):
    import numpy as np
    import tensorflow as tf

    size, random = model.inputs[0].shape[1], np.random.default_rng(0)
    # As a graph, as evaluation runs it: op by op, float32 rounds other sums and is itself up to 1e-3 mm off.
    original = tf.function(lambda source: model({"source": source}, training=False)["pose"])
    worst = 0.0
    for batch in (1, 4):  # two sizes, since the batch must be free
        images = random.integers(0, 256, (batch, size, size, 3), np.uint8)
        images[-1] //= 16
        worst = max(worst, float(np.abs(estimate(images) - original(tf.constant(images))).max()))
    if not worst <= tolerance:
        raise ValueError(f"{folder}: the model is {worst:.1e} mm from the run's own networks, at most {tolerance}")
    return worst


# --- LiteRT ---------------------------------------------------------------------------------------------------------


def write_litert(folder, model, content, crops=None):
    """Writes `model` as a LiteRT model with `content` as its hand_tf.json into `folder`, which must not exist.

    Args:
        crops: None for float32; for int8 two sets of crops, uint8 [n, size, size, 3], and whose they are, see
            `_training_crops`: the first sets the ranges, the second measures the difference, kept as `content["int8"]`.

    Returns a text that says how far it is from `model`.
    Raises ValueError if the float model is more than `LITERT_TOLERANCE` off.
    """
    with tempfile.TemporaryDirectory() as temporary:
        _write_saved_model(temporary, model, batch=1)
        written = litert.convert(temporary)
        difference = _compare(folder, litert.Estimator(written), model, LITERT_TOLERANCE)
        found = f"{difference:.1e} mm"
        if crops:
            calibration, held_out, subjects = crops
            exact, written = written, litert.quantize(temporary, written, calibration)
            distance = _distances(litert.Estimator(exact)(held_out), litert.Estimator(written)(held_out))
            content = content | {"int8": {"subjects": subjects, "calibration_crops": len(calibration), **distance}}
            found = "on {crops} crops of {subjects} {mean_mm:.2f} mm (95 of 100 joints: {p95_mm:.2f} mm)".format(
                **content["int8"]
            )
    folder.mkdir()
    (folder / litert.FILE).write_bytes(written)
    atomic.write_text(folder / FACTS, json.dumps(content, indent=1))
    return found


def _distances(exact, rounded):
    """Distances of two sets of poses [n, 21, 3] mm, joint by joint, as numbers for hand_tf.json."""
    import numpy as np

    distance = np.linalg.norm(rounded - exact, axis=-1)
    if not np.isfinite(distance).all():
        raise ValueError("the model predicts poses that are not finite; its training has diverged")
    numbers = {"mean_mm": distance.mean(), "p95_mm": np.quantile(distance, 0.95), "max_mm": distance.max()}
    return {"crops": len(exact)} | {name: round(float(value), 3) for name, value in numbers.items()}


def _training_crops(run, trained):
    """Two sets of crops, uint8 [n, size, size, 3], of the people that the run has learnt from, and their names.

    Half of each set are crops as they were built, half are cut again about the box, as `predict` will.
    """
    import numpy as np

    from hand_tf.data import labelled_crops, scenarios

    if not FLAGS.data_dir:
        raise ValueError("--format=litert_int8 sets its ranges on crops of the run's records: pass --data_dir")
    data = records_folder.load_manifest(FLAGS.data_dir)
    if trained.get("records") != data.content:
        raise ValueError(f"--data_dir={FLAGS.data_dir}: not the records that {run} learnt from")
    seen = runs.subjects_seen(runs.describe(run), data.subjects)
    subjects = "+".join(name for name in data.subjects if name in seen)
    index = records_folder.read_index(FLAGS.data_dir)
    chosen = scenarios.choose_labels(f"{subjects}:all", index, data.subjects)[: 2 * CALIBRATION]
    images = []
    for position, rule in enumerate(crops.CROP_RULES):
        part = chosen[position::2]
        batches = labelled_crops.evaluation(
            FLAGS.data_dir, data, part, index, batch_size=64, crop=rule, box_margin=FLAGS.box_margin
        )
        images += [batch["source"] for batch in batches.as_numpy_iterator()]
    images = np.concatenate(images)
    return images[::2], images[1::2], subjects


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
