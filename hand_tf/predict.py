"""Predicts poses in images and videos with an exported model. No run and no records are needed.

    hand-tf fetch detector                                            once: the networks that find hands
    hand-tf predict --output=OUT photo.jpg clip.mp4
    hand-tf predict --model=MODEL --box=310,120,180,200 --output=OUT photo.jpg
    hand-tf predict --model=MODEL --boxes=boxes.csv --output=OUT [FOLDER]
    hand-tf predict --model=MODEL --intrinsics=camera.json --output=OUT clip.mp4

Inputs are images, folders of images, and videos. MODEL is the folder that `hand-tf export` wrote, or the .tflite file
in it, for which no TensorFlow is loaded. Without --model it is the one that comes with the package, "hands".

Hands are found by MediaPipe's palm detector and hand landmark model, in the whole picture and in --tiles of it, for
small hands. Their crops are turned so that the hand points up, and poses are turned back. In a video a hand is followed
from frame to frame, and has the same "track" as long as it is seen.

Or you say where the hands are. A box is x, y, width, height in px, tight around the joints of the hand; in a video it
is the same in all frames. boxes.csv has the columns file (relative to the table), x, y, width, height and optionally
hand (right or left, instead of --hand), and one row per hand. Without inputs, all files of the table are used; with
inputs, those that have a row. With --centre, a hand fills the square in the centre of each picture.

The crop is a square around the centre of the box, `box_margin` times its longer side wide. With --intrinsics it is what
a virtual camera sees that looks straight at that centre (R_virtual), free of distortion; otherwise it is cut out of the
picture as it is. A left hand's crop is flipped, and its pose is flipped back (M = diag(-1, 1, 1); rows are joints):

    P' = P M                   left hands
    P_camera = P' R_virtual    with intrinsics: x right, y down, z away from the camera

OUT/predictions.json  pose_mm [21, 3], relative to the wrist, in the camera's frame if its intrinsics are given, else in
                      the virtual camera's ("pose_frame"). Poses are right up to scale, since one camera cannot tell a
                      small near hand from a large far one. joints_2d [21, 2] px: where the model sees the joints in the
                      picture; for models of version 0.2.0, the pose laid over the box by weak perspective. A joint
                      that no label of the model had is null in both. In a video, "frame" counts the frames in their
                      order and "time_s" is when one is shown. "complete" is false if the command was stopped; until
                      its end the entries are in OUT/predictions.partial.jsonl
OUT/predictions.csv   with --format=json,csv: one row per joint, with the columns file, frame, time_s, hand, track,
                      score, joint, x_mm, y_mm, z_mm, u_px, v_px (u, v: its place in the picture)
OUT/overlays/         the pictures with skeletons, under their own names; for a video an MP4

An intrinsics file is {"K": 3x3 px, "distCoef": 5 numbers (optional), "resolution": [width, height]}, or a Panoptic
calibration file together with --camera.
"""

import dataclasses
import pathlib
import sys
import time

from hand_tf.core import command_line, skeleton
from hand_tf.core.errors import InputError
from hand_tf.core.images import MAX_PIXELS
from hand_tf.core.processors import usable_cores
from hand_tf.core.setting_fields import SettingError, check, setting
from hand_tf.serving import boxes, detector_files, estimator, hand_finder, intrinsics, model_files, predictions
from hand_tf.serving.hand_detector import MIN_SCORE, TILES
from hand_tf.serving.hand_tracker import EVERY
from hand_tf.serving.left_out import LeftOut


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """The flags of `predict`; see the help text of each."""

    inputs: tuple[str, ...] = setting("Images, folders of images, and videos.", (), positional="INPUT")
    model: str = setting(
        "Folder of the model (hand-tf export), its .tflite file, or hands, the model that comes with the package.",
        "hands",
    )
    output: str = setting("Folder to write the results to.", "predictions")
    overwrite: bool = setting("Replace the results of an earlier call.", False)
    format: tuple[str, ...] = setting(
        "What to write: predictions.json, always, and predictions.csv.", ("json",), choices=predictions.FORMATS
    )
    overlays: bool = setting("Draw the skeletons on the pictures.", True)

    box: tuple[float, float, float, float] | None = setting(
        "x,y,width,height in px of the hand in every input.", None, section="Hands"
    )
    boxes: str | None = setting("Table of boxes: file,x,y,width,height[,hand].", None, section="Hands")
    centre: bool = setting("A hand fills the square in the centre of each picture.", False, section="Hands")
    hand: str | None = setting(
        "Which hand is in the boxes (the person's own right or left; default: right); without boxes, the only hands to"
        " look for.",
        None,
        choices=skeleton.SIDES,
        section="Hands",
    )
    min_score: float = setting(
        "Leave out found hands of which the detector is less sure.", MIN_SCORE, low=0, high=1, section="Hands"
    )
    tiles: int = setting(
        "How finely to look for small hands: tiles along the longer side of a picture; 1: only the picture as a whole.",
        TILES,
        low=1,
        high=8,
        section="Hands",
    )
    upright: bool = setting(
        "Turn the crops of found hands so that the hand points up, as most hands do that models learn from.",
        True,
        section="Hands",
    )
    detect_every: int = setting("Frames of a video between looks for further hands.", EVERY, low=1, section="Hands")
    box_margin: float | None = setting(
        "Side of the crop over the longer side of the box. Default: the model's own.", None, low=0.1, section="Hands"
    )

    intrinsics: str | None = setting(
        "File with the camera's intrinsics, or a Panoptic calibration file.", None, section="Camera"
    )
    camera: str | None = setting(
        "Name of the camera in a Panoptic calibration file, such as 00_07.", None, section="Camera"
    )

    frame_stride: int = setting("Use every n-th frame of a video.", 1, low=1, section="Reading")
    max_pixels: int = setting(
        "Leave out pictures of more pixels. Each pixel needs three bytes of memory.",
        MAX_PIXELS,
        low=1,
        section="Reading",
    )
    batch_size: int = setting("Crops per step.", 16, low=1, section="Reading")

    def __post_init__(self):
        check(self)
        if bool(self.box) + bool(self.boxes) + self.centre > 1:
            raise SettingError("--box, --boxes and --centre: pass one of them")
        if self.box and min(self.box[2:]) <= 0:
            raise SettingError(
                f"--box={','.join(f'{value:g}' for value in self.box)}: expected width and height above 0"
            )
        if self.camera and not self.intrinsics:
            raise SettingError(f"--camera={self.camera}: pass the calibration file, too, as --intrinsics")
        if not self.inputs and not self.boxes:
            raise SettingError("nothing to do: name images, folders of images or videos, or pass --boxes")


def main(settings: PredictSettings) -> None:
    """Predicts the poses and writes them."""
    output, left_out = pathlib.Path(settings.output), LeftOut()
    predictions.check_output(output, settings.overwrite)
    # All that can be wrong is looked at before TensorFlow, which takes seconds to load.
    description = model_files.read_description(settings.model)
    camera = intrinsics.read_camera(settings.intrinsics, settings.camera) if settings.intrinsics else None
    hands, find = _hands(settings, left_out)
    margin = settings.box_margin or description["box_margin"]
    head = {
        "model": settings.model,
        "units": "mm, relative to the wrist",
        "scale": description["scale"],
        "pose_frame": "camera" if camera else "virtual camera",
        "boxes": _where_boxes_come_from(settings),
        "box_margin": margin,
    }
    pictures = predictions.predict_files(
        estimator.load_exported(settings.model),
        hands,
        left_out,
        find=find,
        camera=camera,
        margin=margin,
        frame_stride=settings.frame_stride,
        batch_size=settings.batch_size,
        max_pixels=settings.max_pixels,
        overlays=output / predictions.OVERLAYS if settings.overlays else None,
    )
    found, start = Found(), time.monotonic()
    with predictions.writing(output, head, settings.overwrite, settings.format) as write:
        for entries in pictures:
            write(entries)
            found.add(entries)
        if not found.hands and not (find and found.pictures):
            raise InputError(f"nothing could be predicted; {left_out.problems[0]}")
    _report(settings, head, found, left_out, time.monotonic() - start)


@dataclasses.dataclass
class Found:
    """How many hands in how many pictures of which files have a pose."""

    hands: int = 0
    pictures: int = 0
    files: set[str] = dataclasses.field(default_factory=set)

    def add(self, entries: list[dict]) -> None:
        """Counts the entries of one picture."""
        self.hands += len(entries)
        self.pictures += 1
        self.files |= {entry["file"] for entry in entries}


def _hands(settings, left_out):
    """The hands to look at, by file, and what finds them where they are not given."""
    side = settings.hand or "right"
    if settings.boxes:
        return predictions.hands_of_table(settings.boxes, settings.inputs, side, left_out), None
    if settings.box or settings.centre:
        return predictions.same_hand_everywhere(settings.inputs, boxes.HandBox(settings.box, side)), None
    hands = predictions.hands_to_be_found(settings.inputs)
    detector = detector_files.load_detector(settings.min_score, settings.tiles, threads=usable_cores())
    return hands, hand_finder.HandFinder(detector, settings.detect_every, settings.hand, settings.upright)


def _where_boxes_come_from(settings):
    if settings.box or settings.boxes:
        return predictions.GIVEN
    return predictions.CENTRE_SQUARE if settings.centre else predictions.FOUND


def _counted(count, word):
    """A count in words: "1 hand", "2 hands"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _report(settings, head, found, left_out, seconds):
    for problem in left_out.problems:
        print(f"warning: {problem}", file=sys.stderr)
    hands = _counted(found.hands, "hand")
    if left_out.hands:
        hands = f"{found.hands} of {_counted(found.hands + left_out.hands, 'hand')}"
    seen, warnings = _counted(found.pictures, "picture"), _counted(len(left_out.problems), "warning")
    if found.files and found.pictures > len(found.files):
        seen += f" of {_counted(len(found.files), 'file')}"
    print(f"{settings.output}/{predictions.PREDICTIONS}: {hands} in {seen}, {warnings}")
    print(f"poses: mm relative to the wrist, right up to scale, in the {head['pose_frame']}'s frame")
    print(f"boxes: {head['boxes']}")
    print(f"speed: {found.pictures / max(seconds, 1e-3):.1f} pictures per second, reading and drawing included")
    if settings.overlays:
        print(f"{settings.output}/{predictions.OVERLAYS}: the pictures and videos with skeletons")


if __name__ == "__main__":
    command_line.execute(main)
