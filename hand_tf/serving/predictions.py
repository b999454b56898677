"""Predicts poses for files: which hands to look at in each of them, and what is written about them.

OUT/predictions.json            one entry per hand, see `hand-tf predict --help`
OUT/predictions.csv             on request, one row per joint, see `tables`
OUT/predictions.partial.jsonl   the entries as they come, until predictions.json is written; what a killed run leaves
OUT/overlays/                   the pictures and videos with boxes and skeletons (`overlays`)
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from hand_tf.core import atomic, folder_lock, geometry, skeleton
from hand_tf.core.errors import InputError
from hand_tf.serving import boxes, pictures, tables
from hand_tf.serving.boxes import HandBox
from hand_tf.serving.estimator import HandPose, PoseEstimator
from hand_tf.serving.left_out import LeftOut
from hand_tf.serving.overlays import Overlays
from hand_tf.serving.pictures import InputPicture

PREDICTIONS, PARTIAL, OVERLAYS = "predictions.json", "predictions.partial.jsonl", "overlays"
TABLE, FORMATS = "predictions.csv", ("json", "csv")
GIVEN, CENTRE_SQUARE, FOUND = "given", "the square in the centre of each picture", "found by the hand detector"


def same_hand_everywhere(inputs: Sequence[str], hand: HandBox) -> dict[pathlib.Path, list[HandBox]]:
    """The files of `inputs`, each with this hand. Raises OSError or ValueError for inputs that cannot be used."""
    return {path: [hand] for path in pictures.list_files(inputs)}


def hands_to_be_found(inputs: Sequence[str]) -> dict[pathlib.Path, list[HandBox]]:
    """The files of `inputs`, whose hands are not known yet. Raises OSError or InputError as above."""
    return {path: [] for path in pictures.list_files(inputs)}


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


def predict_files(
    estimator: PoseEstimator,
    hands: dict[pathlib.Path, list[HandBox]],
    left_out: LeftOut,
    *,
    find: Callable[[InputPicture], list[HandBox]] | None = None,
    camera: geometry.Camera | None,
    margin: float,
    frame_stride: int,
    batch_size: int,
    max_pixels: int,
    overlays: pathlib.Path | None,
) -> Iterator[list[dict]]:
    """Yields the poses of the hands in each picture, as entries of predictions.json.

    Args:
        hands: by file, from `same_hand_everywhere`, `hands_to_be_found` or `hands_of_table`.
        find: finds the hands in a picture, instead of those in `hands`.
        left_out: receives files that cannot be read, or not to their end, and boxes that cannot be cut out.
        camera: that took all pictures, or None.
        margin: side of a crop over the longer side of the hand's box.
        frame_stride: use every n-th frame of a video.
        batch_size: crops per step.
        max_pixels: larger pictures are left out.
        overlays: folder for pictures and videos with skeletons; None draws none.
    """
    base = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in hands])
    every = pictures.read_pictures(hands, left_out, frame_stride, max_pixels)
    if find:
        every = (_with_hands(picture, find, left_out) for picture in every)
    usable = (_usable(picture, camera, left_out) for picture in every)
    with Overlays(overlays, base, frame_stride) if overlays else contextlib.nullcontext() as drawn:
        for batch in _batches(usable, batch_size):
            for picture, found in zip(batch, estimator.predict_pictures(batch, camera, margin), strict=True):
                entries = [_entry(picture, hand) for hand in found]
                if drawn and (entries or picture.frame is not None):
                    drawn.add(picture, entries)
                yield entries


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
    return {
        "file": str(picture.file),
        "frame": picture.frame,
        "time_s": picture.time_s,
        "hand": hand.side,
        "track": hand.track,
        "score": hand.score,
        "box": hand.box,
        "pose_mm": _rows(hand.pose_mm, 3),
        "joints_2d": _rows(hand.joints_2d, 2),
    }


def _rows(values, decimals):
    """Rows of rounded numbers; None, `null` in JSON, for a joint that the model does not know."""
    return [row.tolist() if np.isfinite(row).all() else None for row in np.round(values, decimals)]


def check_output(output: pathlib.Path, overwrite: bool) -> None:
    """Raises InputError if the folder holds results, whole or of a call that was killed, unless `overwrite`."""
    for name in (PREDICTIONS, PARTIAL):
        if (output / name).exists() and not overwrite:
            raise InputError(
                f"--output={output}: holds predictions already ({name}); choose another folder or pass --overwrite"
            )


@contextlib.contextmanager
def writing(
    output: pathlib.Path, head: dict, overwrite: bool = False, formats: Sequence[str] = ("json",)
) -> Iterator[Callable[[Sequence[dict]], None]]:
    """A function that writes entries as they come; predictions.json, and what else `formats` ask for, appears when the
    block ends.

    It holds what is true of all predictions, `head`, `"complete"`, and the entries. If the block ends with an error or
    is interrupted, it is written with what has come until then, and `complete` is false. Raises InputError if the
    folder holds results and they may not be overwritten.
    """
    partial, complete, count = output / PARTIAL, False, 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder_lock.holding(output))
        check_output(output, overwrite)  # once more: another process may have finished since
        file = stack.enter_context(open(partial, "w", encoding="utf-8"))

        def write(entries):
            nonlocal count
            file.write("".join(f"{json.dumps(entry, allow_nan=False)}\n" for entry in entries))
            file.flush()  # what is written stays, whatever happens to this process
            count += len(entries)

        try:
            yield write
            complete = True
        finally:
            if count or complete:
                _put_together(output, head | {"complete": complete})
                if "csv" in formats:
                    with atomic.replacing(output / TABLE) as table, open(partial, encoding="utf-8") as lines:
                        tables.write_csv(table, lines)
            partial.unlink()


def _put_together(output, head):
    """Writes predictions.json from the lines of the partial file, of which memory need not hold more than one."""
    head = json.dumps(head | {"joint_names": skeleton.JOINT_NAMES}, allow_nan=False)
    with atomic.replacing(output / PREDICTIONS) as file, open(output / PARTIAL, encoding="utf-8") as lines:
        file.write(f'{head[:-1]}, "predictions": [\n')
        for number, line in enumerate(lines):
            file.write((",\n" if number else "") + line.rstrip("\n"))
        file.write("\n]}\n")
