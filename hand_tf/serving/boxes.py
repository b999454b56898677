"""Boxes of hands in pictures, and tables of them.

A box is x, y, width, height in px, tight around the hand's joints. x and y are those of its first pixel, so that its
centre is x + (width - 1) / 2, y + (height - 1) / 2.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from hand_tf.core import geometry, reading, skeleton
from hand_tf.core.errors import InputError
from hand_tf.serving.left_out import LeftOut

Box = tuple[float, float, float, float]  # x, y, width, height px
FIELDS = ("x", "y", "width", "height")
LARGEST = 1_000_000  # px; larger than any picture


@dataclasses.dataclass(frozen=True)
class HandBox:
    """A hand to look at: its box, None if it is unknown, and its `side`, right or left.

    `track` is its number in a video. Of a hand that was found, `score` 0..1 is how sure that is. `angle` (radians,
    clockwise) is by how much its crop is turned, so that the hand points up; `crop_box` is then the box that counts: it
    is tight in the turned crop, and written as if it were not turned.
    """

    box: Box | None
    side: str
    score: float | None = None
    track: int | None = None
    crop_box: Box | None = None
    angle: float = 0.0


def parse_box(values: Iterable[str | float], where: str) -> Box:
    """Texts or numbers x, y, width, height as a box. Raises ValueError, which starts with `where`."""
    try:
        box = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        box = ()
    if len(box) != 4 or not np.all(np.isfinite(box)):
        raise InputError(f"{where}: four numbers x,y,width,height expected")
    if min(box[2:]) <= 0:
        raise InputError(f"{where}: width and height above 0 expected")
    if max(map(abs, box)) > LARGEST:
        raise InputError(f"{where}: numbers of px up to {LARGEST:,} expected")
    return box


def read_boxes(path: str | os.PathLike, side: str, left_out: LeftOut) -> dict[pathlib.Path, list[HandBox]]:
    """The hands of each file in a table with the columns file, x, y, width, height, and optionally hand.

    Files are relative to the table. Without the column hand, or where it is empty, the hand is a `side` hand. Rows that
    are wrong are counted in `left_out`.
    Raises OSError without the table, ValueError for one of other columns or without any right row.
    """
    path, hands = pathlib.Path(path), {}
    for line, row in reading.read_table(path, ("file", *FIELDS)):
        try:
            hand = _hand_of(row, side, f"{path}: line {line}")
        except ValueError as error:
            left_out.add(f"{error}; left out")
        else:
            hands.setdefault(pathlib.Path(os.path.normpath(path.parent / row["file"])), []).append(hand)
    if not hands:
        raise InputError(left_out.problems[0] if left_out.hands else f"{path}: no boxes; nothing to do")
    return hands


def _hand_of(row, side, where):
    """The hand of a row. Raises ValueError, which starts with `where`, for a wrong one."""
    if None in row or None in row.values():  # too many cells, too few cells
        raise InputError(f"{where}: {len(row.keys() - {None})} cells expected")
    hand = HandBox(parse_box([row[name] for name in FIELDS], where), row.get("hand") or side)
    if hand.side not in skeleton.SIDES:
        raise InputError(f"{where}: field hand: {hand.side!r}, expected right or left")
    return hand


def centre_square(width: int, height: int, margin: float) -> Box:
    """The box whose crop, `margin` times as wide, is the largest square in the centre of a picture."""
    side = min(width, height) / margin
    return (width - side) / 2, (height - side) / 2, side, side


def check_box(box: Box, width: int, height: int, camera: geometry.Camera | None, where: str) -> None:
    """Raises ValueError, which starts with `where`, if `box` cannot be cut out of a picture of `width` x `height` px.

    That is so for a box outside the picture and, with a `camera`, for one whose centre cannot be undistorted.
    """
    x, y, box_width, box_height = box
    if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
        raise InputError(f"{where}: the box {box} lies outside the picture ({width}x{height} px)")
    if camera:
        centre = np.array([[x + (box_width - 1) / 2, y + (box_height - 1) / 2]])
        seen = geometry.project(np.append(geometry.undistort(centre, camera), [[1.0]], axis=1), camera)
        if not np.allclose(seen, centre, atol=0.5):
            raise InputError(f"{where}: the box {box} lies where the lens distortion cannot be undone")
