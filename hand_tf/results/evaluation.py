"""Measures the poses that a run estimates for chosen test crops.

Poses are [n, 21, 3] mm, relative to the wrist, in the frame of the crop's virtual camera. A mean over joints is over
all accepted joints, including the wrist, whose error is 0. A mean over crops gives each crop the same weight.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

import hand_tf
from hand_tf.core import fusion, skeleton
from hand_tf.core.errors import InputError
from hand_tf.core.processors import usable_cores
from hand_tf.core.records_folder import Records
from hand_tf.data import scenarios
from hand_tf.nets import keras_settings, metrics
from hand_tf.nets.parts import load_estimator
from hand_tf.results.results_table import WITHOUT_WRIST
from hand_tf.training import predictions, runs

THRESHOLDS = tuple(range(51))  # mm, of the PCK curve


def evaluate(
    workdir: str | os.PathLike,
    records: Records,
    *,
    subjects: str,
    rules: Sequence[str],
    box_margin: float,
    max_crops: int,
    batch_size: int,
) -> dict:
    """The content of results.json: the errors of the run in `workdir` on the labelled crops of `subjects`.

    Args:
        rules: crop rules, of `crops.CROP_RULES`.
        box_margin: for `box2d`, side of the crop over the longer side of the joints' box.
        max_crops: how many crops to measure, always the same ones; 0: all.
        batch_size: crops per step; does not affect the results.

    Raises FileNotFoundError or ValueError for a run without poses, unknown subjects, damaged records, or poses that are
    not finite.
    """
    with keras_settings.ours():
        return _evaluate(workdir, records, subjects, rules, box_margin, max_crops, batch_size)


def _evaluate(workdir, records, subjects, rules, box_margin, max_crops, batch_size):
    run = runs.describe(workdir)
    estimator = load_estimator(workdir, records.manifest.crop_size)
    mean_pose = keras.ops.convert_to_numpy(estimator.get_layer("pose_head").get_layer("pose").mean)
    chosen = choose_crops(records, subjects, max_crops)

    started, results = time.perf_counter(), {}
    for rule in rules:
        options = {"rule": rule, "box_margin": box_margin, "batch_size": batch_size}
        crops = predictions.predict(estimator, records, chosen, **options)
        if not np.isfinite(crops["predicted"]).all():
            raise InputError(f"{workdir}: predicts poses that are not finite; its training has diverged")
        crops["pose_weight"][:, run["unlabelled_joints"]] = 0  # which the run does not estimate
        true, weights, names = crops["pose"], crops["pose_weight"], crops["subject"]
        results[rule] = measure(true, crops["predicted"], weights, names)
        results[rule] |= {"joints_2d_px": measure_2d(crops), "fused": measure_fused(crops)}
        results[rule]["confidence"] = measure_confidence(crops)
        results[rule]["reference"] = measure(true, np.broadcast_to(mean_pose, true.shape), weights, names)

    asked = {"subjects": subjects, "max_crops": max_crops, "box_margin": box_margin}
    return {
        "run": run,
        "crops": len(chosen),
        "data": {**asked, **_describe_test(records, chosen, run, subjects)},
        **_versions_and_machine(),
        "results": results,
        "seconds": round(time.perf_counter() - started, 1),
    }


def choose_crops(records: Records, subjects: str, max_crops: int = 0) -> list[tuple[str, str]]:
    """The labelled crops (record key, camera) of `subjects`, or the first `max_crops` of a fixed random order."""
    chosen = scenarios.choose_labels(f"{subjects}:all", records.index, records.manifest.subjects)
    return chosen[:max_crops] if max_crops else chosen


# --- numbers --------------------------------------------------------------------------------------------------------


def measure(true: np.ndarray, predicted: np.ndarray, weights: np.ndarray, subjects: np.ndarray) -> dict:
    """All numbers of one set of predictions, as a dict that JSON can hold.

    Args:
        true, predicted: poses [n, 21, 3] in mm.
        weights: [n, 21], 1 for accepted joints.
        subjects: [n], names.
    """
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


def measure_2d(crops: dict[str, np.ndarray]) -> float | None:
    """Mean distance of the joints' places, px of the crop, over accepted joints; None for a head without places."""
    if "predicted_2d" not in crops:
        return None
    distances, weights = np.linalg.norm(crops["predicted_2d"] - crops["joints_2d"], axis=-1), crops["pose_weight"]
    return float(((distances * weights).sum(1) / weights.sum(1)).mean())


def measure_confidence(crops: dict[str, np.ndarray], bins: int = 10) -> list[dict] | None:
    """Whether joints are as far off as the run expects: expected and observed errors (mm, at the scale of N-MPJPE).

    The accepted joints but the wrist, from the smallest expected error to the largest, in `bins` equally large groups.
    None for a run that expects nothing.
    """
    if "joint_error" not in crops:
        return None
    observed = joint_errors(crops["pose"], crops["predicted"], crops["pose_weight"])["n_mpjpe"]
    counted = crops["pose_weight"] > 0
    counted[:, skeleton.ROOT] = False
    expected, observed = crops["joint_error"][counted], observed[counted]
    groups = np.array_split(np.argsort(expected, kind="stable"), bins)
    return [
        {
            "joints": len(group),
            "expected_mm": float(expected[group].mean()),
            "observed_mm": float(observed[group].mean()),
        }
        for group in groups
        if len(group)
    ]


def measure_fused(crops: dict[str, np.ndarray]) -> dict | None:
    """Errors (mm) of the poses that the views of an instant give together, see `core.fusion`; in the world.

    Of the instants with at least two measured views; None if there is none. Each instant counts once.
    """
    keys, first, instants, counts = np.unique(crops["key"], True, True, True)
    if not (counts > 1).any():
        return None
    world = fusion.to_world(crops["predicted"], crops["rotation"])
    fused, spread = fusion.fuse_instants(world, instants, crops["rotation"])
    true = fusion.to_world(crops["pose"][first], crops["rotation"][first])
    seen, weights = counts > 1, crops["pose_weight"][first]
    errors = {
        name: _in_chunks(getattr(metrics, name), true[seen], fused[seen], weights[seen])
        for name in ("n_mpjpe", "mpjpe", "pa_mpjpe")
    }
    found = {name: float(values.mean()) for name, values in errors.items()}
    found |= {"instants": int(seen.sum()), "views": float(counts[seen].mean())}
    return found | {"agreed_and_wrong": agreed_and_wrong(keys[seen], errors["n_mpjpe"], spread[seen].mean(-1))}


def agreed_and_wrong(keys: np.ndarray, errors: np.ndarray, spreads: np.ndarray, count: int = 12) -> list[dict]:
    """The instants whose fused pose is worst although their views agree: of the half with the least spread.

    Args:
        keys: of the records, [n]; errors: N-MPJPE of the fused poses, [n] mm; spreads: of the views, [n] mm.
        count: how many at most, the worst first.
    """
    agreed = np.argsort(spreads, kind="stable")[: (len(keys) + 1) // 2]
    worst = agreed[np.argsort(-errors[agreed], kind="stable")][:count]
    return [
        {"key": str(keys[n]), "n_mpjpe": round(float(errors[n]), 2), "spread_mm": round(float(spreads[n]), 2)}
        for n in worst
    ]


def joint_errors(true: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Distances [n, 21] mm per joint: of the pose as it is (`mpjpe`) and at the scale of N-MPJPE (`n_mpjpe`)."""
    true, predicted = (pose - pose[:, [skeleton.ROOT]] for pose in (true, predicted))
    scaled = _in_chunks(metrics.best_scale, true, predicted, weights)[:, None, None] * predicted
    return {name: np.linalg.norm(pose - true, axis=-1) for name, pose in (("n_mpjpe", scaled), ("mpjpe", predicted))}


def _in_chunks(metric: Callable, *arrays: np.ndarray, size: int = 4096) -> np.ndarray:
    """`metric` of arrays [n, ...] -> [n], a chunk at a time: a whole test set would not fit on a small GPU."""
    chunks = range(0, len(arrays[0]), size)
    return np.concatenate([np.asarray(metric(*(a[i : i + size] for a in arrays)), float) for i in chunks])


def _mean(values, weights):
    """The mean over accepted joints, or None if there is none."""
    return float(values[weights > 0].mean()) if (weights > 0).any() else None


# --- what is written and printed ------------------------------------------------------------------------------------


def _describe_test(records, chosen, run, subjects):
    """The crops that a run is tested on, and which of their subjects it was trained on."""
    seen = runs.subjects_seen(run, records.manifest.subjects)
    tested = scenarios.parse_subjects(subjects, records.manifest.subjects)
    return {
        "crop_size": records.manifest.crop_size,
        "sequences": sorted({key.split("/")[0] for key, _ in chosen}),
        "instants": len({key for key, _ in chosen}),
        "schema_version": records.manifest.schema_version,
        "index_sha256": records.manifest.index_sha256,
        "also_trained_on": ", ".join(name for name in tested if name in seen),
    }


def _versions_and_machine():
    return {
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
            "cpus": usable_cores(),
            "devices": [str(device) for device in keras.distribution.list_devices()],
        },
    }


def _labels_in_words(run):
    words = f"{run['labels']} labels ({run['scenario']})" if run["scenario"] else "no labels of its own"
    return words + (f" and {run['validation_labels']} to validate" if run.get("validation_labels") else "")


def as_text(result: dict) -> str:
    """The numbers of a results.json as a table for the terminal."""
    run, test = result["run"], result["data"]
    lines = [
        f"{run['name']}: {run['configuration']}, {_labels_in_words(run)},"
        f" tested on {result['crops']} crops of {test['subjects']}",
        "Errors in mm, relative to the wrist. Means are over all 21 joints, including the wrist, whose error is 0;",
        "without it, N-MPJPE is 21/20 of that (convention of Rhodin et al., 2018): column `20 joints`.",
        f"{'':24}{'N-MPJPE':>9}{'20 joints':>11}{'MPJPE':>9}{'PA-MPJPE':>10}{'AUC 0-50':>10}{'AUC 20-50':>11}",
    ]
    for rule, numbers in result["results"].items():
        for name, row in ((rule, numbers), ("  the labels' mean pose", numbers["reference"])):
            lines.append(
                f"{name:24}{row['n_mpjpe']:9.2f}{WITHOUT_WRIST * row['n_mpjpe']:11.2f}{row['mpjpe']:9.2f}"
                f"{row['pa_mpjpe']:10.2f}{row['auc_0_50']:10.3f}{row['auc_20_50']:11.3f}"
            )
        subjects = (f"{subject} {row['n_mpjpe']:.2f}" for subject, row in numbers["per_subject"].items())
        lines.append("  N-MPJPE by subject: " + ", ".join(subjects))
        if numbers.get("fused"):
            fused = numbers["fused"]
            lines.append(
                f"  {fused['views']:.1f} views of each of {fused['instants']} instants fused: N-MPJPE"
                f" {fused['n_mpjpe']:.2f}, MPJPE {fused['mpjpe']:.2f}, PA-MPJPE {fused['pa_mpjpe']:.2f}"
            )
        if numbers.get("joints_2d_px") is not None:
            lines.append(f"  joints in the crop of {test['crop_size']} px: {numbers['joints_2d_px']:.2f} px off")
        if numbers.get("confidence"):
            bins = (f"{each['expected_mm']:.0f}/{each['observed_mm']:.0f}" for each in numbers["confidence"])
            lines.append("  expected/observed errors of joints, mm, from the surest tenth on: " + " ".join(bins))
    trained, measured = run.get("hand_tf") or "an earlier version", result["versions"]["hand_tf"]
    lines.append(f"trained with hand_tf {trained}, measured with {measured}; the flags of the run: flags.txt, run.json")
    return "\n".join(lines)
