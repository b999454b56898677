"""Predicted and true poses drawn on test crops.

A pose has no place of its own: it is drawn at the true wrist, whose position t in the crop's virtual camera follows
from the true pose p and its pixels u, because `f (p + t)_xy / (p + t)_z = u - c` is linear in t. Nor has it a reliable
size: it is drawn at the scale of N-MPJPE.
"""

import pathlib

import cv2
import numpy as np

from hand_tf import drawing, evaluate, figures, manifest, metrics, pipeline, scenarios, schema

SIZE = 128  # px, of a crop on the sheet
# What the camera sees, and the same from its right: depth, growing to the right, takes the place of x.
SIDE_VIEW = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def sheet(study, row, records, count):
    """The first run of every configuration of a row of a `study.Study`, on `count` test crops drawn by lot.

    Raises ValueError if `records` is not the folder that the results were measured on.
    """
    data, index = manifest.load(records, schema.SCHEMA_VERSION), manifest.read_index(records)
    test = study.results[0]["data"]
    if data.index_sha256 != test["index_sha256"]:
        raise ValueError(f"{records}: not the records that the results were measured on (index_sha256 differs)")
    chosen = scenarios.choose(f"{test['subjects']}:all", index, data.subjects)[:count]
    batch = next(pipeline.evaluation(records, data, chosen, index, batch_size=len(chosen)).as_numpy_iterator())
    rows = []
    for column in (column for column in study.columns if (row, column) in study.cells):
        folder = pathlib.Path(study.cells[row, column][0]["file"]).parent
        rows.append(_row(column, batch, evaluate.load_estimator(folder, data.crop_size)[0]))
    subjects = ", ".join(sorted({name.decode() for name in batch["subject"]}))
    caption = (
        f"Test crops of {subjects}, drawn by lot, and what was learned from {row[0]:,} labels ({row[1]}). Grey: the"
        " true pose. Colours: the predicted one (thumb red, index yellow, middle green, ring blue, little violet)."
        " Left on the crop, right from the side, with the camera to the left. Number: N-MPJPE of the crop; the pose"
        " is drawn at its scale."
    )
    encoded = cv2.imencode(".png", cv2.cvtColor(drawing.grid(rows, 4), cv2.COLOR_RGB2BGR))[1]
    return figures.Picture("overlays.png", encoded.tobytes(), caption)


def _row(name, batch, estimator):
    """The crops of a batch with the poses that a model predicts, under its name."""
    poses = np.asarray(estimator.predict_on_batch({"source": batch["source"]})["pose"])
    errors = np.asarray(metrics.n_mpjpe(batch["pose"], poses, batch["pose_weight"]))
    poses = evaluate.best_scale(batch["pose"], poses, batch["pose_weight"])[:, None, None] * poses
    cells = []
    for i, (pose, error) in enumerate(zip(poses, errors, strict=True)):
        cell = drawing.caption(draw({field: value[i] for field, value in batch.items()}, pose), f"{error:.1f} mm")
        cells.append(drawing.caption(cell, "" if i else name, 20))
    return cells


def draw(crop, pose):
    """One crop [SIZE, 2 SIZE, 3] with the true pose in grey and `pose` [21, 3] mm in colours, from front and side.

    `crop` has `source`, `pose`, `pose_weight`, `joints_2d`, `intrinsics`, as in `pipeline.evaluation`.
    """
    true, accepted, factor = crop["pose"], crop["pose_weight"], SIZE / len(crop["source"])
    image = cv2.resize(crop["source"], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    wrist = wrist_position(true, crop["joints_2d"], crop["intrinsics"], accepted)
    rays = (pose + wrist) @ crop["intrinsics"].T
    # Pixel centres are integers, so that the enlarged picture starts half a pixel before 0.
    seen, predicted = ((p + 0.5) * factor - 0.5 for p in (crop["joints_2d"], rays[:, :2] / rays[:, 2:]))
    front = drawing.draw_joints(_grey(image, seen, accepted), predicted)

    scale = 0.4 * SIZE / float(np.abs(true[accepted > 0]).max())
    middle = np.array([0.5, 0.5]) * (SIZE - 1) - scale * (true[accepted > 0] @ SIDE_VIEW.T)[:, :2].mean(0)
    seen, predicted = (scale * (p @ SIDE_VIEW.T)[:, :2] + middle for p in (true, pose))
    empty = np.full_like(image, 32)
    return np.hstack([front, drawing.draw_joints(_grey(empty, seen, accepted), predicted)])


def wrist_position(pose, pixels, intrinsics, accepted):
    """Where the wrist is, [3] mm in the crop's camera: pose [21, 3] mm, its pixels [21, 2], accepted [21]."""
    focal, centre = intrinsics[0, 0], intrinsics[:2, 2]
    rows, values = [], []
    for p, u in zip(pose[accepted > 0], pixels[accepted > 0] - centre, strict=True):
        rows += [[focal, 0, -u[0]], [0, focal, -u[1]]]
        values += [u[0] * p[2] - focal * p[0], u[1] * p[2] - focal * p[1]]
    return np.linalg.lstsq(np.asarray(rows, float), np.asarray(values, float), rcond=None)[0]


def _grey(image, pixels, accepted):
    """The image with a light grey skeleton, under whatever is drawn next."""
    drawn = drawing.draw_joints(np.zeros_like(image), pixels, accepted, 2).any(-1, keepdims=True)
    return np.where(drawn, image // 4 + np.uint8(180), image)
