"""The teacher of `multi_view_teacher`: an earlier estimator, made better by all cameras of an instant.

    1. the estimator of `init_from` predicts every crop of the subjects, in its own view
    2. the poses of an instant are turned into the world and fused over its views (`core.fusion`)
    3. a student, started from that estimator, learns the fused poses, turned back into each view, beside the labels

Step 2 reads no label: depth, which one camera has to guess, is seen by another one from the side. The fused poses are
kept in the run's folder, so a run that continues has the same teacher.

    WORKDIR/fused_poses.npz    keys [n], world [n, 21, 3] mm, spread [n, 21] mm
    WORKDIR/teacher.json       how good the teacher is on the held-out stretches, if there are any

Views can agree on a mistake, and a student that learns it is no better than its teacher. So both are measured on what
neither has learned from: on held-out labels if there are any, otherwise by how far a view is from what the others say.
"""

import pathlib

import keras
import numpy as np

from hand_tf.core import atomic, fusion, reading
from hand_tf.core.records_folder import Records
from hand_tf.data import held_out, scenarios
from hand_tf.data.fused_labels import FusedPoses
from hand_tf.nets import models
from hand_tf.training import predictions, probe, validation
from hand_tf.training.settings import TrainingSettings

FILE, QUALITY_FILE = "fused_poses.npz", "teacher.json"
HELD_OUT_INSTANTS = 200  # that `quality` looks at, about
INSTANTS_AT_ONCE = 5000  # that are fused together


def fused_poses(settings: TrainingSettings, records: Records, parts: dict[str, keras.Model]) -> FusedPoses:
    """The fused poses of all instants that the run may use; from the run's folder if they are there.

    Args:
        parts: `encoder` and `pose_head` of the teacher.

    Raises ValueError if there is no instant with two views, or if the teacher's poses are not finite.
    """
    path = pathlib.Path(settings.workdir) / FILE
    if path.is_file():
        with np.load(path, allow_pickle=False) as found:
            return _weighted(found["keys"], found["world"], found["spread"])
    rows = _instants(settings, records, held=False)
    if not rows:
        raise ValueError(f"{records.folder}: no instant of {settings.subjects} has two views to fuse")
    keys, poses, rotations = predict_all(parts, records, _crops(rows))
    if not np.isfinite(poses).all():
        raise ValueError(f"{settings.init_from}: predicts poses that are not finite; its training has diverged")
    names, instants = np.unique(keys, return_inverse=True)
    world, spread = _fuse(poses, instants, rotations)
    with atomic.replacing(path, "wb") as file:
        np.savez(file, keys=names, world=world.astype("float32"), spread=spread.astype("float32"))
    print(
        f"teacher: {len(keys)} poses of {len(names)} instants fused; a view is"
        f" {np.median(spread):.0f} mm from the fused joints (median)",
        flush=True,
    )
    return _weighted(names, world, spread)


def _instants(settings, records, held):
    """Rows of the index: the instants of the subjects that have several views, inside or outside held-out stretches."""
    subjects = scenarios.parse_subjects(settings.subjects, records.manifest.subjects)
    keys = held_out.held_out_keys(records.index, settings.validation_share)
    rows = [row for row in records.index if row["subject"] in subjects and len(row["cameras"]) > 1]
    return [row for row in rows if (row["key"] in keys) == held]


def _crops(rows):
    """(record key, camera) of all views of the instants."""
    return [(row["key"], name) for row in rows for name in row["cameras"]]


def _fuse(poses, instants, rotations):
    """`fusion.fuse_instants` of the poses of views, some instants at a time: a large rig has millions of views."""
    order = np.argsort(instants, kind="stable")
    firsts = np.arange(0, instants.max() + 1, INSTANTS_AT_ONCE)
    parts = []
    for rows in np.split(order, np.searchsorted(instants[order], firsts[1:])):
        of_part = instants[rows] - instants[rows[0]]
        parts.append(fusion.fuse_instants(fusion.to_world(poses[rows], rotations[rows]), of_part, rotations[rows]))
    return (np.concatenate(part) for part in zip(*parts, strict=True))


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
    keys, poses, rotations = predict_all(parts, records, _crops(rows))
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
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys [n] str, predicted poses [n, 21, 3] mm, rotations [n, 3, 3] of the crops `chosen` (record key, camera)."""
    estimator = models.pose_estimator(parts["encoder"], parts["pose_head"])
    found = predictions.predict(estimator, records, chosen, title="teacher")
    return found["key"], found["predicted"], found["rotation"]
