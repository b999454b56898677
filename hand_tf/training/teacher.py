"""The teacher of `multi_view_teacher`: an earlier estimator, made better by all cameras of an instant.

    1. the estimator of `init_from` predicts every crop of the subjects, in its own view
    2. the poses of an instant are turned into the world and fused over its views (`core.fusion`)
    3. a student, started from that estimator, learns the fused poses, turned back into each view, beside the labels

Step 2 needs no label: depth, which one camera has to guess, is seen by another one from the side. If there are labels,
and the head is linear, the points of the latent are fused as well (they turn as poses do), and a head that is solved on
the fused points of the labelled instants gives the poses: fused points have less noise than those of a view. The fused
poses are kept in the run's folder, so a run that continues has the same teacher.

    WORKDIR/fused_poses.npz    keys [n], world [n, 21, 3] mm, spread [n, 21] mm
    WORKDIR/teacher.json       how good the teacher is on the held-out stretches, if there are any

Views can agree on a mistake, and a student that learns it is no better than its teacher. So both are measured on what
neither has learned from: on held-out labels if there are any, otherwise by how far a view is from what the others say.
"""

import pathlib

import keras
import numpy as np

from hand_tf.core import atomic, fusion, reading
from hand_tf.core.errors import InputError
from hand_tf.core.records_folder import Records
from hand_tf.data import held_out, scenarios
from hand_tf.data.fused_labels import FusedPoses
from hand_tf.nets import models
from hand_tf.training import closed_form, predictions, probe, validation
from hand_tf.training.settings import TrainingSettings

FILE, QUALITY_FILE = "fused_poses.npz", "teacher.json"
HELD_OUT_INSTANTS = 200  # that `quality` looks at, about
INSTANTS_AT_ONCE = 5000  # that are predicted and fused together
# Choice: how many labels the single view's head weighs, along the directions in which views differ, for the head of
# fused points. Flat between 10 and 100 on the dome, from 8 labels to 640.
NOISE_WEIGHT = 30.0


def fused_poses(
    settings: TrainingSettings, records: Records, parts: dict[str, keras.Model], labels: dict | None = None
) -> FusedPoses:
    """The fused poses of all instants that the run may use; from the run's folder if they are there.

    Args:
        parts: `encoder` and `pose_head` of the teacher.
        labels: from `run_data.load_run_labels`; with a linear pose head, they fix the head of the fused points.

    Raises ValueError if there is no instant with two views, or if the teacher's poses are not finite.
    """
    path = pathlib.Path(settings.workdir) / FILE
    if path.is_file():
        with np.load(path, allow_pickle=False) as found:
            return _weighted(found["keys"], found["world"], found["spread"])
    rows = _instants(settings, records, held=False)
    if not rows:
        raise InputError(f"{records.folder}: no instant of {settings.subjects} has two views to fuse")
    found = _concatenated(
        _fused(parts, records, rows[first : first + INSTANTS_AT_ONCE])
        for first in range(0, len(rows), INSTANTS_AT_ONCE)
    )
    if not np.isfinite(found["world"]).all():
        raise InputError(f"{settings.init_from}: predicts poses that are not finite; its training has diverged")
    print(
        f"teacher: the poses of {len(found['keys'])} instants are fused; a view is"
        f" {np.median(found['spread']):.0f} mm from the fused joints (median)",
        flush=True,
    )
    if labels and "points" in found:
        found["world"] = _poses_of_points(parts["pose_head"], found, labels)
    with atomic.replacing(path, "wb") as file:
        np.savez(file, **{name: found[name] for name in ("keys", "world", "spread")})
    return _weighted(found["keys"], found["world"], found["spread"])


def _fused(parts, records, rows):
    """The instants `rows`, fused: `keys` [m], `world` [m, 21, 3] mm, `spread` [m, 21] mm.

    For a linear head also the fused `points` [m, N, 3], and the `scatter` [1, N, N] of the points of single views about
    them, summed over `views` [1].
    """
    keys, poses, rotations, points = predict_all(parts, records, _crops(rows))
    names, instants = np.unique(keys, return_inverse=True)
    seen = fusion.to_world(poses, rotations)
    world, spread = fusion.fuse_instants(seen, instants, rotations)
    found = {"keys": names, "world": world.astype("float32"), "spread": spread.astype("float32")}
    if points is None:
        return found
    seen_points = fusion.to_world(points, rotations)
    fused = fusion.fuse_points(seen_points, instants, rotations, fusion.residuals(seen, world, instants, rotations))
    away = (seen_points - fused[instants]).transpose(1, 0, 2).reshape(fused.shape[1], -1)
    return found | {"points": fused.astype("float32"), "scatter": (away @ away.T)[None], "views": np.array([len(keys)])}


def _concatenated(parts):
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _poses_of_points(head, fused, labels):
    """World poses [m, 21, 3] mm of fused points, by a head that is solved on the labelled instants among them."""
    keys, first = np.unique(labels["key"].astype(str), return_index=True)
    keys, place, first_of = np.intersect1d(fused["keys"], keys, return_indices=True)
    first = first[first_of]
    poses = fusion.to_world(labels["pose"][first], labels["rotation"][first])
    moments = closed_form.Moments(fused["points"].shape[1])
    moments.add(fused["points"][place], poses, labels["pose_weight"][first])
    noise = fused["scatter"].sum(0) / fused["views"].sum()
    weights = moments.solve_near(closed_form.weights_of(head), NOISE_WEIGHT * noise)
    print(f"teacher: the head of fused points is fixed by {len(keys)} labelled instants", flush=True)
    return (weights @ fused["points"]).astype("float32")


def _instants(settings, records, held):
    """Rows of the index: the instants of the subjects that have several views, inside or outside held-out stretches."""
    subjects = scenarios.parse_subjects(settings.subjects, records.manifest.subjects)
    keys = held_out.held_out_keys(records.index, settings.validation_share)
    rows = [row for row in records.index if row["subject"] in subjects and len(row["cameras"]) > 1]
    return [row for row in rows if (row["key"] in keys) == held]


def _crops(rows):
    """(record key, camera) of all views of the instants."""
    return [(row["key"], name) for row in rows for name in row["cameras"]]


def quality(
    settings: TrainingSettings, records: Records, parts: dict[str, keras.Model], held_out_labels: dict | None
) -> dict[str, float]:
    """How good an estimator is on the held-out stretches; empty without --validation_share.

    `val_n_mpjpe` mm if there are held-out labels, and `view_disagreement`, see `fusion.disagreement`.
    """
    rows = _instants(settings, records, held=True)
    rows = rows[:: max(len(rows) // HELD_OUT_INSTANTS, 1)]
    if not rows:
        return {}
    found = {}
    if held_out_labels:
        estimator = models.pose_estimator(parts["encoder"], parts["pose_head"])
        samples = probe.with_images(held_out_labels, whole_only=False)
        found["val_n_mpjpe"] = validation.measure(estimator, samples)["val_n_mpjpe"]
    keys, poses, rotations, _ = predict_all(parts, records, _crops(rows))
    world = fusion.to_world(poses, rotations)
    return found | {"view_disagreement": fusion.disagreement(world, np.unique(keys, return_inverse=True)[1], rotations)}


def quality_of_teacher(
    settings: TrainingSettings, records: Records, parts: dict[str, keras.Model], held_out_labels: dict | None
) -> dict[str, float]:
    """The teacher's `quality`, from the run's folder if it is there; `parts` are still the teacher's."""
    path = pathlib.Path(settings.workdir) / QUALITY_FILE
    if not path.is_file():
        atomic.write_json(path, quality(settings, records, parts, held_out_labels))
    return reading.read_json_object(path)


def compare(teacher: dict[str, float], student: dict[str, float]) -> str:
    """A sentence on what a student has gained; both are from `quality`."""
    name = "val_n_mpjpe" if "val_n_mpjpe" in student else "view_disagreement"
    before, after = teacher[name], student[name]
    shown = "{:.1f} mm" if name == "val_n_mpjpe" else "{:.1%}"
    text = f"held-out stretches: {name} {shown.format(after)}, its teacher {shown.format(before)}"
    return text if after < before else f"warning: the student is not better than its teacher. {text}; keep the teacher"


def _weighted(keys: np.ndarray, world: np.ndarray, spread: np.ndarray) -> FusedPoses:
    """Fused poses that count the less the more their views disagree: 1 / (1 + (spread / median)^2), of mean 1."""
    # Choice: each joint against its own median, or finger tips, which are harder, would hardly count.
    relative = spread / np.maximum(np.median(spread, axis=0), 1e-3)
    weights = 1 / (1 + relative**2)
    return FusedPoses(keys, world, weights / weights.mean())


def predict_all(
    parts: dict[str, keras.Model], records: Records, chosen: list[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """What an estimator predicts for the crops `chosen` (record key, camera).

    Returns keys [n] str, poses [n, 21, 3] mm, rotations [n, 3, 3], and the points [n, N, 3] that a linear head maps to
    poses; None for another head.
    """
    estimator = models.pose_estimator(parts["encoder"], parts["pose_head"])
    if closed_form.is_linear(parts["pose_head"]):
        points = parts["encoder"](estimator.input["source"])["points"]
        outputs = estimator.output | {"points": closed_form.shape_points(parts["pose_head"])(points)}
        estimator = keras.Model(estimator.input, outputs, name="pose_and_points")
    found = predictions.predict(estimator, records, chosen, title="teacher")
    return found["key"], found["predicted"], found["rotation"], found.get("points")
