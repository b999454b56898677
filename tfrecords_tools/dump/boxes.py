"""Hands without joints, from `boxes.csv`: frame,camera,person,side,x,y,width,height (px, one row per camera).

Such an instant serves pre-training only. On request, hands with joints are placed by their boxes too, as if there were
no joints; these then serve as labels alone. From boxes with centres `b_i` and longer sides `w_i`, in cameras of focal
length `f_i` at distances `d_i` from the hand:

    centre = triangulate(b_1, .., b_V),   radius = max_i  w_i d_i / (2 f_i)

# Choice: the largest view, because every box shows the hand foreshortened.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from hand_tf.core import geometry, reading, skeleton
from hand_tf.core.errors import InputError
from tfrecords_tools.dump import panoptic
from tfrecords_tools.dump.skipped import Skipped

COLUMNS = ("frame", "camera", "person", "side", "x", "y", "width", "height")


def _parse(row):
    """(frame, person, side, camera, box [4]) of a row. AttributeError, TypeError or ValueError if it is malformed."""
    box = np.array([float(row[field]) for field in ("x", "y", "width", "height")])
    side, camera = row["side"].strip(), row["camera"].strip()
    if side not in skeleton.SIDES or not np.isfinite(box).all() or box[2:].min() <= 0:
        raise InputError("side must be left or right, width and height positive")
    return int(row["frame"]), int(row["person"]), side, camera, box


def read_boxes(sequence_dir: pathlib.Path, skipped: Skipped) -> dict[tuple[int, int, str], dict[str, np.ndarray]]:
    """{(frame, person, side): {camera name: box (x, y, width, height)}}; empty without the file.

    Malformed rows are counted. Raises ValueError if a column is missing.
    """
    path = pathlib.Path(sequence_dir) / "boxes.csv"
    boxes = {}
    for line, row in reading.read_table(path, COLUMNS) if path.is_file() else ():
        try:
            frame, person, side, camera, box = _parse(row)
        except (AttributeError, TypeError, ValueError):
            skipped.add("boxes: malformed row of boxes.csv", f"line {line}")
            continue
        boxes.setdefault((frame, person, side), {})[camera] = box
    return boxes


def locate(boxes: dict[str, np.ndarray], cameras: Sequence[geometry.Camera]) -> tuple[np.ndarray, float] | None:
    """Centre [3] mm and radius mm of a hand that two or more `cameras` see in `boxes` {camera name: box}.

    None if the rays through the boxes' centres do not meet in one point.
    """
    centres = np.array([boxes[camera.name][:2] + (boxes[camera.name][2:] - 1) / 2 for camera in cameras])
    centre = geometry.triangulate(centres, cameras)
    radius = 0.0
    for camera, box_centre in zip(cameras, centres, strict=True):
        side = boxes[camera.name][2:].max()
        miss = np.linalg.norm(geometry.project([centre], camera)[0] - box_centre)  # NaN behind the camera
        if not miss <= side / 2:
            return None
        distance = np.linalg.norm(camera.R @ centre + camera.t)
        radius = max(radius, side * distance / (2 * np.sqrt(camera.K[0, 0] * camera.K[1, 1])))
    return centre, float(radius)


def keep_labels(
    placed: Sequence[panoptic.HandInstant], labelled: Iterable[panoptic.HandInstant], skipped: Skipped
) -> list[panoptic.HandInstant]:
    """Instants `placed` by their boxes, with the joints of the same hands in `labelled`, if these have any.

    Hands with joints and without boxes are counted in `skipped`.
    """
    joints = {(each.frame, each.subject, each.side): each for each in labelled}
    found = []
    for instant in placed:
        label = joints.pop((instant.frame, instant.subject, instant.side), None)
        if label is not None:
            instant = dataclasses.replace(instant, joints=label.joints, accepted=label.accepted)
        found.append(instant)
    for label in joints.values():
        skipped.add("instants: joints, but no boxes that meet (--crops_from=boxes)", label.name)
    return found


def read_instants(
    sequence_dir: pathlib.Path,
    cameras: Sequence[geometry.Camera],
    subject_of: panoptic.SubjectOf,
    with_joints: Iterable[panoptic.HandInstant],
    skipped: Skipped,
) -> tuple[list[panoptic.HandInstant], dict[int, dict[str, list[np.ndarray]]]]:
    """Instants that have boxes but no joints, and all boxes.

    Args:
        subject_of: see `panoptic.read_subjects`.
        with_joints: instants that have joints; the same hand of a subject at the same frame is not taken twice.

    Returns:
        instants: list of `HandInstant` whose joints are all 0 and not accepted.
        boxes: {frame: {camera name: list of boxes}}, for the background.
    """
    sequence = pathlib.Path(sequence_dir).name
    taken = {(instant.frame, instant.subject, instant.side) for instant in with_joints}
    instants, boxes = [], {}
    for (frame, person, side), views in sorted(read_boxes(sequence_dir, skipped).items()):
        for name, box in views.items():
            boxes.setdefault(frame, {}).setdefault(name, []).append(box)
        subject = subject_of(frame, person)
        if subject is None or (frame, subject, side) in taken:
            continue
        seen_by = [camera for camera in cameras if camera.name in views]
        located = locate(views, seen_by) if len(seen_by) >= 2 else None
        if located is None:
            skipped.add("instants: boxes in fewer than two cameras, or that do not meet", f"frame {frame} {side} hand")
            continue
        taken.add((frame, subject, side))
        joints, accepted = np.zeros((skeleton.NUM_JOINTS, 3)), np.zeros(skeleton.NUM_JOINTS, bool)
        names = tuple(camera.name for camera in seen_by)
        instants.append(panoptic.HandInstant(sequence, subject, frame, person, side, joints, accepted, *located, names))
    return instants, boxes
