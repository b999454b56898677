"""Predicts poses for files: which hands to look at in each of them, and what is written about them.

OUT/predictions.json    one entry per hand, see `hand-tf predict --help`
OUT/overlays/           the pictures with boxes and skeletons
"""

import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from hand_tf.core import atomic, drawing, geometry, skeleton
from hand_tf.serving import boxes, pictures
from hand_tf.serving.boxes import HandBox
from hand_tf.serving.estimator import HandPose, PoseEstimator
from hand_tf.serving.pictures import InputPicture

PREDICTIONS, OVERLAYS = "predictions.json", "overlays"
CENTRE_SQUARE = "none given, the hand is taken to fill the centre square"


def same_hand_everywhere(inputs: Sequence[str], hand: HandBox) -> dict[pathlib.Path, list[HandBox]]:
    """The files of `inputs`, each with this hand. Raises OSError or ValueError for inputs that cannot be used."""
    return {path: [hand] for path in pictures.list_files(inputs)}


def hands_of_table(
    table: str | os.PathLike, inputs: Sequence[str], side: str, problems: list[str]
) -> dict[pathlib.Path, list[HandBox]]:
    """The files of `inputs` that have a row in a table of boxes, each with its hands; without inputs all its files.

    Args:
        table, side: see `boxes.read_boxes`.
        problems: receives one line for each input without a row.

    Raises OSError or ValueError for a table or inputs that cannot be used, and if no input has a row.
    """
    hands = boxes.read_boxes(table, side)
    files = pictures.list_files(inputs or hands)
    hands = {path.resolve(): each for path, each in hands.items()}
    found = {path: hands[path.resolve()] for path in files if path.resolve() in hands}
    if not found:
        raise ValueError(f"--boxes={table}: no row is about any of the {len(files)} inputs; nothing to do")
    problems += [f"{path}: no row in {table}; left out" for path in files if path not in found]
    return found


def predict_files(
    estimator: PoseEstimator,
    hands: dict[pathlib.Path, list[HandBox]],
    problems: list[str],
    *,
    camera: geometry.Camera | None,
    margin: float,
    frame_stride: int,
    batch_size: int,
    overlays: pathlib.Path | None,
) -> list[dict]:
    """Poses of the hands in all files, as entries of predictions.json.

    Args:
        hands: by file, from `same_hand_everywhere` or `hands_of_table`.
        problems: receives one line for each file that cannot be read, or not to its end.
        camera: that took all pictures, or None.
        margin: side of a crop over the longer side of the hand's box.
        frame_stride: use every n-th frame of a video.
        batch_size: crops per step.
        overlays: folder for pictures with skeletons; None draws none.

    Raises ValueError if no file can be read, and for boxes and pictures as `PoseEstimator.predict_pictures` does.
    """
    entries, base = [], os.path.commonpath([path.resolve().parent for path in hands])
    for batch in _batches(pictures.read_pictures(hands, problems, frame_stride), batch_size):
        for picture, found in zip(batch, estimator.predict_pictures(batch, camera, margin), strict=True):
            new = [_entry(picture, hand) for hand in found]
            if overlays:
                save_overlay(overlays / picture.file.resolve().relative_to(base), picture, new)
            entries += new
    if not entries:
        raise ValueError(f"nothing could be predicted; {problems[0]}")
    return entries


def _batches(all_pictures: Iterable[InputPicture], batch_size: int) -> Iterator[list[InputPicture]]:
    """Lists of pictures that hold `batch_size` hands, or a few more, so that the hands of a picture stay together."""
    batch, num_hands = [], 0
    for picture in all_pictures:
        batch.append(picture)
        num_hands += len(picture.hands)
        if num_hands >= batch_size:
            yield batch
            batch, num_hands = [], 0
    if batch:
        yield batch


def _entry(picture: InputPicture, hand: HandPose) -> dict:
    return {
        "file": str(picture.file),
        "frame": picture.frame,
        "hand": hand.side,
        "box": hand.box,
        "pose_mm": _rows(hand.pose_mm, 3),
        "joints_2d": _rows(hand.joints_2d, 2),
    }


def _rows(values, decimals):
    """Rows of rounded numbers; None, `null` in JSON, for a joint that the model does not know."""
    return [row.tolist() if np.isfinite(row).all() else None for row in np.round(values, decimals)]


def _places(entry):
    """The places [21, 2] px of an entry, NaN for joints that the model does not know."""
    return np.array([place or (np.nan, np.nan) for place in entry["joints_2d"]])


def save_overlay(path: pathlib.Path, picture: InputPicture, entries: Sequence[dict]) -> None:
    """Draws `entries` of predictions.json on their picture; for a video, `path` becomes a folder of its frames."""
    path = path if picture.frame is None else path / f"{picture.frame:08d}.jpg"
    image, thickness = picture.image.copy(), max(1, round(max(picture.image.shape) / 500))
    for entry in entries:
        x, y, width, height = entry["box"]
        corners = np.round([[x, y], [x + width - 1, y + height - 1]]).astype(int).tolist()
        cv2.rectangle(image, *corners, (255, 255, 255), thickness)
        image = drawing.draw_joints(image, _places(entry), thickness=thickness)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.renaming(path) as partial:  # OpenCV tells the format by the suffix, which `partial` keeps
        drawing.save(partial, image)


def write_predictions(output: pathlib.Path, head: dict, entries: Sequence[dict]) -> None:
    """Writes predictions.json to the folder `output`: what holds for all predictions, then the entries."""
    output.mkdir(parents=True, exist_ok=True)
    content = head | {"joint_names": skeleton.JOINT_NAMES, "predictions": entries}
    atomic.write_text(output / PREDICTIONS, json.dumps(content, allow_nan=False))
