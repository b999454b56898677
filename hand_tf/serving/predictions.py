"""Predicts poses for files: which hands to look at in each of them, and the entries of predictions.json about them."""

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from hand_tf.core import geometry
from hand_tf.core.errors import InputError
from hand_tf.serving import boxes, pictures
from hand_tf.serving.boxes import HandBox
from hand_tf.serving.estimator import HandPose, PoseEstimator
from hand_tf.serving.left_out import LeftOut
from hand_tf.serving.overlays import Overlays
from hand_tf.serving.pictures import InputPicture

GIVEN, CENTRE_SQUARE, FOUND = "given", "the square in the centre of each picture", "found by the hand detector"


def hands_of_table(
    table: str | os.PathLike, inputs: Sequence[str], side: str, left_out: LeftOut
) -> dict[pathlib.Path, list[HandBox]]:
    """The files of `inputs` that have a row in a table of boxes, each with its hands; without inputs all its files.

    A file is looked up under the name that the user gave it; if no row has that name, as what it links to.

    Args:
        table, side: see `boxes.read_boxes`.
        left_out: receives rows that cannot be used, and inputs without a row.

    Raises OSError or ValueError for a table or inputs that cannot be used, and if no input has a row.
    """
    hands = boxes.read_boxes(table, side, left_out)
    files = pictures.list_files(inputs) if inputs else list(_usable_files(hands, left_out))
    named = {os.path.abspath(path): each for path, each in hands.items()}
    resolved = {path.resolve(): each for path, each in hands.items()}
    found = {path: named.get(os.path.abspath(path)) or resolved.get(path.resolve()) for path in files}
    for path in (path for path in files if not found[path]):
        left_out.add(f"{path}: no row in {table}; left out", hands=0)
    found = {path: each for path, each in found.items() if each}
    if not found:
        because = left_out.problems[0] if left_out.hands else f"no row is about any of the {len(files)} inputs"
        raise InputError(f"--boxes={table}: {because}; nothing to do")
    return found


def _usable_files(hands, left_out):
    """Those files of a table that are there and are pictures or videos."""
    for path, each in hands.items():
        try:
            yield from pictures.list_files([path])
        except (OSError, ValueError) as error:
            left_out.add(f"{error}; left out", len(each))


def base_of(files: Iterable[pathlib.Path]) -> str:
    """The folder below which results are named as the files are."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in files])


def predict_pictures(
    estimator: PoseEstimator,
    every: Iterable[InputPicture],
    left_out: LeftOut,
    *,
    find: Callable[[InputPicture], list[HandBox]] | None = None,
    camera: geometry.Camera | None,
    margin: float,
    batch_size: int,
    smooth: Callable[[InputPicture, list[HandPose]], list[HandPose]] | None = None,
    overlays: Overlays | None,
) -> Iterator[list[dict]]:
    """Yields the poses of the hands in each picture, as entries of predictions.json.

    For a picture without hands this is one entry, which has only a file, a frame, a time, and None as its `hand`.

    Args:
        every: the pictures, with the hands to look at.
        find: finds the hands in a picture, instead of those that it comes with.
        left_out: receives boxes that cannot be cut out, and where no hand is found.
        camera: that took all pictures, or None.
        margin: side of a crop over the longer side of the hand's box.
        batch_size: crops per step; with 1, each picture is predicted before the next one is asked for.
        smooth: takes the hands of each picture in turn, and returns them filtered (`one_euro.TrackSmoother`).
        overlays: draws the hands.
    """
    if find:
        every = (_with_hands(picture, find, left_out) for picture in every)
    usable = (_usable(picture, camera, left_out) for picture in every)
    with overlays or contextlib.nullcontext():
        for batch in _batches(usable, batch_size):
            for picture, found in zip(batch, estimator.predict_pictures(batch, camera, margin), strict=True):
                hands = smooth(picture, found) if smooth else found
                entries = [_entry(picture, hand) for hand in hands]
                if overlays and (entries or picture.frame is not None):
                    overlays.add(picture, entries)
                yield entries or [_place(picture) | {"hand": None}]


def _with_hands(picture, find, left_out):
    """The picture with the hands that are found in it."""
    hands = find(picture)
    if not hands:
        where = "no hand found" if picture.frame is None else "no hand found in some of its frames"
        left_out.add(f"{picture.file}: {where}", hands=0)
    return dataclasses.replace(picture, hands=hands)


def _usable(picture, camera, left_out):
    """The picture with those of its hands that can be cut out of it."""
    height, width = picture.image.shape[:2]
    if camera and (width, height) != (camera.width, camera.height):
        problem = f"{picture.file}: {width}x{height} px, the intrinsics are for {camera.width}x{camera.height}"
        left_out.add(f"{problem}; left out", len(picture.hands))
        return dataclasses.replace(picture, hands=[])
    hands = []
    for hand in picture.hands:
        try:
            if hand.box is not None:
                boxes.check_box(hand.crop_box or hand.box, width, height, camera, str(picture.file))
            hands.append(hand)
        except InputError as error:
            # The boxes of found hands differ from frame to frame; one line for all of them is enough.
            found = f"{picture.file}: hands found outside of the picture, or where the lens distortion cannot be undone"
            left_out.add(f"{error if hand.score is None else found}; left out")
    return dataclasses.replace(picture, hands=hands)


def _batches(all_pictures: Iterable[InputPicture], batch_size: int) -> Iterator[list[InputPicture]]:
    """Lists of pictures that hold `batch_size` hands, or a few more, so that the hands of a picture stay together.

    Pictures without hands count as one.
    """
    batch, num_hands = [], 0
    for picture in all_pictures:
        batch.append(picture)
        num_hands += max(len(picture.hands), 1)
        if num_hands >= batch_size:
            yield batch
            batch, num_hands = [], 0
    if batch:
        yield batch


def _entry(picture: InputPicture, hand: HandPose) -> dict:
    return _place(picture) | {
        "hand": hand.side,
        "track": hand.track,
        "score": hand.score,
        "box": hand.box,
        "pose_mm": _rows(hand.pose_mm, 3),
        "joints_2d": _rows(hand.joints_2d, 2),
        "joint_error_mm": None if hand.joint_error_mm is None else _numbers(hand.joint_error_mm),
    }


def _place(picture):
    """Which picture an entry is about."""
    return {"file": str(picture.file), "frame": picture.frame, "time_s": picture.time_s}


def _numbers(values):
    """Rounded numbers; None for a joint that the model does not know."""
    return [value if math.isfinite(value) else None for value in np.round(values, 1).tolist()]


def _rows(values, decimals):
    """Rows of rounded numbers; None, `null` in JSON, for a joint that the model does not know."""
    return [row.tolist() if np.isfinite(row).all() else None for row in np.round(values, decimals)]
