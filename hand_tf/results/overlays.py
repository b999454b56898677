"""Predicted and true poses drawn on test crops.

A pose has no place of its own: it is drawn at the true wrist, whose position t in the crop's virtual camera follows
from the true pose p and its pixels u, because `f (p + t)_xy / (p + t)_z = u - c` is linear in t. Nor has it a reliable
size: it is drawn at the scale of N-MPJPE.
"""

import pathlib

import cv2
import numpy as np

from hand_tf import evaluate
from hand_tf.core import drawing, records_folder
from hand_tf.data import batching, labelled_crops, scenarios
from hand_tf.nets import metrics
from hand_tf.results import charts

SIZE = 160  # px, of a crop on the sheet
# What the camera sees, and the same from its right: depth, growing to the right, takes the place of x.
SIDE_VIEW = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def sheets(study, row, records, count):
    """Pictures of `count` test crops drawn by lot, one for the first run of every configuration of a study's row.

    Raises ValueError if `records` is not the folder that the results were measured on.
    """
    data, index = records_folder.load_manifest(records), records_folder.read_index(records)
    test = study.results[0]["data"]
    if data.index_sha256 != test["index_sha256"]:
        raise ValueError(f"{records}: not the records that the results were measured on (index_sha256 differs)")
    chosen = scenarios.choose_labels(f"{test['subjects']}:all", index, data.subjects)[:count]
    with batching.damage_named(records, data):
        batch = next(
            labelled_crops.evaluation(records, data, chosen, index, batch_size=len(chosen)).as_numpy_iterator()
        )
    pictures = []
    for column in (column for column in study.columns if (row, column) in study.cells):
        folder = pathlib.Path(study.cells[row, column][0]["file"]).parent
        image = drawing.grid([_cells(batch, evaluate.load_estimator(folder, data.crop_size)[0])], 4)
        encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        pictures.append(charts.Picture(f"poses_{len(pictures) + 1}.png", encoded.tobytes(), column))
    return pictures


def _cells(batch, estimator):
    """The crops of a batch with the poses that a model predicts, and the N-MPJPE of each."""
    poses = np.asarray(estimator.predict_on_batch({"source": batch["source"]})["pose"])
    errors = np.asarray(metrics.n_mpjpe(batch["pose"], poses, batch["pose_weight"]))
    poses = evaluate.best_scale(batch["pose"], poses, batch["pose_weight"])[:, None, None] * poses
    crops = [{name: value[i] for name, value in batch.items()} for i in range(len(poses))]
    captions = [f"{crop['subject'].decode()}: {error:.1f} mm" for crop, error in zip(crops, errors, strict=True)]
    return [drawing.caption(draw(crop, pose), text) for crop, pose, text in zip(crops, poses, captions, strict=True)]


def draw(crop, pose):
    """One crop [SIZE, 2 SIZE, 3] with the true pose in grey and `pose` [21, 3] mm in colours, from front and side.

    `crop` has `source`, `pose`, `pose_weight`, `joints_2d`, `intrinsics`, as in `labelled_crops.evaluation`.
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
    drawn = drawing.draw_joints(np.zeros_like(image), pixels, accepted).any(-1, keepdims=True)
    return np.where(drawn, image // 4 + np.uint8(180), image)
