"""Measures a trained run on subjects it has not seen and writes the numbers as JSON.

    python -m hand_tf.evaluate --data_dir=RECORDS --run=WORKDIR

Every crop of the subjects counts once. All errors are in mm, of poses relative to the wrist, in the frame of the crop's
virtual camera; a mean over joints is over all 21 (accepted) joints, the wrist, whose error is 0, among them; a mean
over crops gives each crop the same weight.

    mpjpe      mean joint distance                  pck     share of joints within 0, 1, ..., 50 mm, unscaled poses
    n_mpjpe    after the best scale per crop        auc_*   area under pck over 0-50 mm and over 20-50 mm, in 0..1
    pa_mpjpe   after the best similarity            reference   the same numbers for the labels' mean pose

Two crop rules: `joints3d`, the crops as built (about the 3D joints, at one metric scale), and `box2d`, cut again about
the joints' tight 2D box, which is what a detector would give.

WORKDIR/results.json holds {run, data, crops, results: {rule: numbers}, versions, machine}; hand_tf.report reads it.
"""

import json
import os
import pathlib
import platform
import sys
import time

import numpy as np
from absl import flags

import hand_tf
from hand_tf.core import atomic, command_line, crops, records_folder, skeleton
from hand_tf.data import scenarios
from hand_tf.results.table import RESULTS
from hand_tf.training import runs

FLAGS = flags.FlagValues()
_define = {"flag_values": FLAGS}

THRESHOLDS = tuple(range(51))  # mm

flags.DEFINE_string("data_dir", None, "Folder of records (tfrecords_tools.build).", **_define)
flags.DEFINE_string("run", None, "Workdir of a finished run that has a pose head.", **_define)
flags.DEFINE_string("subjects", "S9+S10", "Subjects to test on; * for all.", **_define)
flags.DEFINE_enum("crop", "both", [*crops.CROP_RULES, "both"], "Crop rule (see above).", **_define)
flags.DEFINE_float("box_margin", 1.5, "box2d: side of the crop over the longer side of the joints' box.", **_define)
flags.DEFINE_integer("max_crops", 0, "Test on this many crops, always the same; 0: all.", lower_bound=0, **_define)
flags.DEFINE_integer("batch_size", 64, "Crops at once; changes no number.", lower_bound=1, **_define)
flags.DEFINE_string("output", None, "File to write; default WORKDIR/results.json.", **_define)
flags.mark_flags_as_required(["data_dir", "run"], flag_values=FLAGS)


def main(_):

    workdir = pathlib.Path(FLAGS.run)
    run = runs.describe(workdir)
    data = records_folder.load_manifest(FLAGS.data_dir)
    estimator, mean_pose = load_estimator(workdir, data.crop_size)
    index = records_folder.read_index(FLAGS.data_dir)
    chosen = scenarios.choose_labels(f"{FLAGS.subjects}:all", index, data.subjects)
    chosen = chosen[: FLAGS.max_crops] if FLAGS.max_crops else chosen

    started = time.perf_counter()
    results = {}
    for rule in crops.CROP_RULES if FLAGS.crop == "both" else (FLAGS.crop,):
        found = _predict(estimator, data, index, chosen, rule)
        if not np.isfinite(found["predicted"]).all():
            raise ValueError(f"{workdir}: predicts poses that are not finite; its training has diverged")
        true, weights, subjects = found["pose"], found["pose_weight"], found["subject"].astype(str)
        results[rule] = measure(true, found["predicted"], weights, subjects)
        results[rule]["reference"] = measure(true, np.broadcast_to(mean_pose, true.shape), weights, subjects)

    output = pathlib.Path(FLAGS.output or workdir / RESULTS)
    facts = {"run": run, **_circumstances(data, chosen), "results": results}
    facts["data"]["also_trained_on"] = also_trained_on(run, data.subjects)
    if facts["data"]["also_trained_on"]:
        print(f"warning: not a test on unseen people: {facts['data']['also_trained_on']} were trained on too")
    facts["seconds"] = round(time.perf_counter() - started, 1)
    atomic.write_text(output, json.dumps(facts, indent=1, allow_nan=False))
    print(table(facts))
    print(f"{output}: written; next: python -m hand_tf.report --runs={workdir.parent} --data_dir={FLAGS.data_dir}")


def also_trained_on(run, known):
    """Names of tested subjects that the run, or one that it started from, has seen with or without labels."""
    seen = runs.subjects_seen(run, known)
    return ", ".join(name for name in scenarios.parse_subjects(FLAGS.subjects, known) if name in seen)


# --- what is measured -----------------------------------------------------------------------------------------------


def load_estimator(workdir, crop_size):
    """The run's model, source -> pose (mm), and the mean pose [21, 3] mm of the labels that it learned from.

    Raises FileNotFoundError if the run has no pose head, ValueError if it reads crops of another size.
    """
    import keras

    from hand_tf.nets import models

    parts = {}
    for name in ("encoder", "pose_head"):
        path = pathlib.Path(workdir) / f"{name}.keras"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: not there, so the run predicts no poses; after pretrain, train"
                f" --regime=pose_head --init_from={workdir} and evaluate that"
            )
        parts[name] = keras.models.load_model(path, compile=False, safe_mode=True)
    size = parts["encoder"].input.shape[1]
    if size != crop_size:
        raise ValueError(f"{workdir}: its encoder reads crops of {size} px, the records hold {crop_size} px")
    mean_pose = keras.ops.convert_to_numpy(parts["pose_head"].get_layer("pose").mean)
    return models.pose_estimator(parts["encoder"], parts["pose_head"]), mean_pose


def _predict(estimator, data, index, chosen, rule):
    """Truth and prediction of all chosen crops: pose, predicted [n, 21, 3] mm, pose_weight [n, 21], subject [n]."""
    import tqdm

    from hand_tf.data import batching, labelled_crops

    batches = labelled_crops.evaluation(
        FLAGS.data_dir, data, chosen, index, batch_size=FLAGS.batch_size, crop=rule, box_margin=FLAGS.box_margin
    )
    columns = {"pose": [], "pose_weight": [], "subject": [], "predicted": []}
    bar = tqdm.tqdm(total=len(chosen), desc=rule, unit="crop", disable=None)
    with bar, batching.damage_named(FLAGS.data_dir, data):
        for batch in batches.as_numpy_iterator():
            batch["predicted"] = np.asarray(estimator.predict_on_batch({"source": batch["source"]})["pose"])
            for name, column in columns.items():
                column.append(batch[name])
            bar.update(len(batch["pose"]))
    found = {name: np.concatenate(column) for name, column in columns.items()}
    if len(found["pose"]) != len(chosen):
        raise ValueError(
            f"{FLAGS.data_dir}: the index promises {len(chosen)} crops, the shards hold {len(found['pose'])}"
        )
    return found


# --- numbers --------------------------------------------------------------------------------------------------------


def measure(true, predicted, weights, subjects):
    """All numbers of one set of predictions, as a dict that JSON can hold.

    Args:
        true, predicted: poses [n, 21, 3] in mm; weights: [n, 21], accepted joints; subjects: [n] names.
    """
    from hand_tf.nets import metrics

    errors = {
        name: _in_chunks(getattr(metrics, name), true, predicted, weights) for name in ("n_mpjpe", "mpjpe", "pa_mpjpe")
    }
    curve = np.asarray(metrics.pck(true, predicted, weights, THRESHOLDS), float)
    joints = joint_errors(true, predicted, weights)
    return {
        **{name: float(values.mean()) for name, values in errors.items()},
        "auc_0_50": metrics.auc(THRESHOLDS, curve, 0, 50),
        "auc_20_50": metrics.auc(THRESHOLDS, curve, 20, 50),
        "pck": curve.tolist(),
        "per_joint": {
            joint: {name: _mean(values[:, k], weights[:, k]) for name, values in joints.items()}
            for k, joint in enumerate(skeleton.JOINT_NAMES)
        },
        "per_subject": {
            subject: {"crops": int((subjects == subject).sum())}
            | {name: float(values[subjects == subject].mean()) for name, values in errors.items()}
            for subject in sorted(set(subjects), key=lambda name: (len(name), name))
        },
    }


def best_scale(true, predicted, weights):
    """The scales [n] at which N-MPJPE compares; see `metrics`. Poses [n, 21, 3] mm about their wrists."""
    g, p = (np.where(weights[..., None] > 0, pose, 0.0).astype(float) for pose in (true, predicted))
    extent = (p * p).sum((1, 2))
    return np.maximum((p * g).sum((1, 2)), 0) / np.where(extent > 0, extent, 1)


def joint_errors(true, predicted, weights):
    """Distances [n, 21] mm of each joint, of the pose as it is (`mpjpe`) and at the scale of N-MPJPE (`n_mpjpe`)."""
    true, predicted = (pose - pose[:, [skeleton.ROOT]] for pose in (true, predicted))
    scaled = best_scale(true, predicted, weights)[:, None, None] * predicted
    return {name: np.linalg.norm(p - true, axis=-1) for name, p in (("n_mpjpe", scaled), ("mpjpe", predicted))}


def _in_chunks(metric, *arrays, size=4096):
    """`metric` of [n, ...] arrays, [n], a chunk at a time: a whole test set at once would not fit on a small GPU."""
    chunks = range(0, len(arrays[0]), size)
    return np.concatenate([np.asarray(metric(*(a[i : i + size] for a in arrays)), float) for i in chunks])


def _mean(values, weights):
    """The mean over accepted joints; None where there is none."""
    return float(values[weights > 0].mean()) if (weights > 0).any() else None


# --- what is written ------------------------------------------------------------------------------------------------


def _circumstances(data, chosen):
    """What the numbers depend on beside the run: crops, records, versions, machine."""
    import keras
    import tensorflow as tf

    return {
        "crops": len(chosen),
        "data": {
            "subjects": FLAGS.subjects,
            "max_crops": FLAGS.max_crops,
            "box_margin": FLAGS.box_margin,
            "crop_size": data.crop_size,
            "sequences": sorted({key.split("/")[0] for key, _ in chosen}),
            "instants": len({key for key, _ in chosen}),
            "schema_version": data.schema_version,
            "index_sha256": data.index_sha256,
        },
        "versions": {
            "hand_tf": hand_tf.__version__,
            "python": platform.python_version(),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "backend": keras.backend.backend(),
        },
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "devices": [str(device) for device in keras.distribution.list_devices()],
        },
    }


def table(facts):
    """The numbers of results.json as text for the terminal."""
    run, data = facts["run"], facts["data"]
    lines = [
        f"{run['name']}: {run['configuration']}, {run['labels']} labels ({run['scenario']}),"
        f" tested on {facts['crops']} crops of {data['subjects']}",
        "mm, root-relative, mean over all 21 joints (the wrist too)",
        f"{'':24}{'N-MPJPE':>9}{'MPJPE':>9}{'PA-MPJPE':>10}{'AUC 0-50':>10}{'AUC 20-50':>11}",
    ]
    for rule, numbers in facts["results"].items():
        for name, row in ((rule, numbers), ("  the labels' mean pose", numbers["reference"])):
            lines.append(
                f"{name:24}{row['n_mpjpe']:9.2f}{row['mpjpe']:9.2f}{row['pa_mpjpe']:10.2f}"
                f"{row['auc_0_50']:10.3f}{row['auc_20_50']:11.3f}"
            )
        subjects = (f"{name} {part['n_mpjpe']:.2f}" for name, part in numbers["per_subject"].items())
        lines.append("  N-MPJPE by subject: " + ", ".join(subjects))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
