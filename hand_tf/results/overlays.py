"""Predicted and true poses drawn on test crops.

A predicted pose is relative to the wrist, so it is drawn at the true wrist. Its position t in the crop's virtual camera
follows from the true pose p and its pixels u: f (p + t)_xy / (p + t)_z = u - c is linear in t. The size of a predicted
pose is not reliable, so it is drawn at the scale of N-MPJPE.
"""

import os
import pathlib

import cv2
import keras
import numpy as np

from hand_tf.core import drawing, records_folder
from hand_tf.core.errors import InputError
from hand_tf.core.records_folder import Records
from hand_tf.data import batching, labelled_crops
from hand_tf.nets import metrics
from hand_tf.nets.parts import load_estimator
from hand_tf.results import evaluation
from hand_tf.results.charts import ReportPicture
from hand_tf.results.results_table import ResultsTable, Row

SIZE = 160  # px, of a crop on the sheet
# Rotates the camera's view into a view from the camera's right: depth takes the place of x and grows to the right.
SIDE_VIEW = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def open_tested(table: ResultsTable, data_dir: str | os.PathLike) -> Records:
    """The records that the results were measured on. Raises ValueError if `data_dir` holds others."""
    records, test = records_folder.open_records(data_dir), table.results[0]["data"]
    if records.manifest.index_sha256 != test["index_sha256"]:
        raise InputError(f"{data_dir}: not the records that the results were measured on (index_sha256 differs)")
    return records


def sheets(table: ResultsTable, row: Row, records: Records, count: int) -> list[ReportPicture]:
    """One picture per configuration of a row: `count` random test crops with the poses of its first run."""
    chosen = evaluation.choose_crops(records, table.results[0]["data"]["subjects"], count)
    pictures = []
    for column in (column for column in table.columns if (row, column) in table.cells):
        image = _sheet(table.cells[row, column][0], records, chosen)
        pictures.append(ReportPicture(f"poses_{len(pictures) + 1}.png", image, column))
    return pictures


def agreed_and_wrong(table: ResultsTable, row: Row, records: Records, count: int) -> list[ReportPicture]:
    """A picture of the instants at which the views of the best configuration of a row agree and are wrong.

    Of its first run, one crop of each; empty without a configuration that beats the mean pose, and for results that do
    not name such instants.
    """
    for column in table.best(row)[:1]:
        result = table.cells[row, column][0]
        worst = (result["results"][table.rule].get("fused") or {}).get("agreed_and_wrong", [])[:count]
        cameras = {item["key"]: item["cameras"] for item in records.index}
        chosen = [(item["key"], cameras[item["key"]][0]) for item in worst if item["key"] in cameras]
        if chosen:
            return [ReportPicture("agreed_and_wrong.png", _sheet(result, records, chosen), column)]
    return []


def _sheet(result, records, chosen):
    """The crops `chosen` with the poses of the run of a result, side by side, as PNG."""
    with batching.damage_named(records):
        batch = next(labelled_crops.evaluation(records, chosen, batch_size=len(chosen)).as_numpy_iterator())
    estimator = load_estimator(pathlib.Path(result["file"]).parent, records.manifest.crop_size)
    image = drawing.grid([_cells(batch, estimator)], 4)
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _cells(batch, estimator):
    """The crops of a batch with the poses that a model predicts, and the N-MPJPE of each."""
    true, weights = batch["pose"], batch["pose_weight"]
    # Called directly: `predict` would trace one graph per configuration, and TensorFlow warns about that.
    poses = keras.ops.convert_to_numpy(estimator({"source": batch["source"]}, training=False)["pose"])
    errors = np.asarray(metrics.n_mpjpe(true, poses, weights))
    poses = np.asarray(metrics.best_scale(true, poses, weights))[:, None, None] * poses
    cells = []
    for i, (pose, error) in enumerate(zip(poses, errors, strict=True)):
        crop = {name: value[i] for name, value in batch.items()}
        cells.append(drawing.caption(draw(crop, pose), f"{crop['subject'].decode()}: {error:.1f} mm"))
    return cells


def draw(crop: dict[str, np.ndarray], pose: np.ndarray) -> np.ndarray:
    """A picture [SIZE, 2 SIZE, 3] of one crop: the true pose in grey, `pose` [21, 3] mm in colour, from front and side.

    `crop` has `source`, `pose`, `pose_weight`, `joints_2d` and `intrinsics`, see `labelled_crops.evaluation`.
    """
    true, accepted, factor = crop["pose"], crop["pose_weight"], SIZE / len(crop["source"])
    image = cv2.resize(crop["source"], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    wrist = wrist_position(true, crop["joints_2d"], crop["intrinsics"], accepted)
    rays = (pose + wrist) @ crop["intrinsics"].T
    # Integer coordinates are pixel centres, so the picture's edge lies at -0.5 before and after it is enlarged.
    seen, predicted = ((p + 0.5) * factor - 0.5 for p in (crop["joints_2d"], rays[:, :2] / rays[:, 2:]))
    front = drawing.draw_joints(_grey(image, seen, accepted), predicted)

    scale = 0.4 * SIZE / float(np.abs(true[accepted > 0]).max())
    middle = np.array([0.5, 0.5]) * (SIZE - 1) - scale * (true[accepted > 0] @ SIDE_VIEW.T)[:, :2].mean(0)
    seen, predicted = (scale * (p @ SIDE_VIEW.T)[:, :2] + middle for p in (true, pose))
    empty = np.full_like(image, 32)
    return np.hstack([front, drawing.draw_joints(_grey(empty, seen, accepted), predicted)])


def wrist_position(pose: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """The wrist [3] in the crop's camera, mm, of a pose [21, 3] mm with pixels [21, 2] and accepted joints [21]."""
    focal, centre = intrinsics[0, 0], intrinsics[:2, 2]
    rows, values = [], []
    for p, u in zip(pose[accepted > 0], pixels[accepted > 0] - centre, strict=True):
        rows += [[focal, 0, -u[0]], [0, focal, -u[1]]]
        values += [u[0] * p[2] - focal * p[0], u[1] * p[2] - focal * p[1]]
    return np.linalg.lstsq(np.asarray(rows, float), np.asarray(values, float), rcond=None)[0]


def _grey(image, pixels, accepted):
    """The image with a light grey skeleton."""
    drawn = drawing.draw_joints(np.zeros_like(image), pixels, accepted).any(-1, keepdims=True)
    return np.where(drawn, image // 4 + np.uint8(180), image)
