"""Predicts poses in images and videos with an exported model. No run and no records are needed.

    hand-tf fetch detector                                            once: the networks that find hands
    hand-tf predict --output=OUT photo.jpg clip.mp4
    hand-tf predict --model=MODEL --box=310,120,180,200 --output=OUT photo.jpg
    hand-tf predict --model=MODEL --boxes=boxes.csv --output=OUT [FOLDER]
    hand-tf predict --model=MODEL --intrinsics=camera.json --output=OUT clip.mp4
    hand-tf predict --model=MODEL --webcam=0 --output=OUT             until Ctrl-C, or for some --seconds

Inputs are images, folders of images, and videos, or a webcam. MODEL is the folder that `hand-tf export` wrote, or the
.tflite file in it, for which no TensorFlow is loaded. Without --model it is "hands", which comes with the package.

Hands are found by MediaPipe's palm detector and hand landmark model, in the whole picture and in --tiles of it, for
small hands. Their crops are turned so that the hand points up, and poses are turned back. In a video a hand is followed
from frame to frame, and has the same "track" as long as it is seen.

Or you say where the hands are. A box is x, y, width, height in px, tight around the joints of the hand; in a video it
is the same in all frames, and its "track" is its number among the boxes of the video, from 0. boxes.csv has the columns
file (relative to the table), x, y, width, height and optionally hand (right or left, instead of --hand), and one row
per hand. Without inputs, all files of the table are used; with inputs, those that have a row. With --centre, a hand
fills the square in the centre of each picture.

The crop is a square around the centre of the box, `box_margin` times its longer side wide. With --intrinsics it is what
a virtual camera sees that looks straight at that centre (R_virtual), free of distortion; otherwise it is cut out of the
picture as it is. A left hand's crop is flipped, and its pose is flipped back (M = diag(-1, 1, 1); rows are joints):

    P' = P M                   left hands
    P_camera = P' R_virtual    with intrinsics: x right, y down, z away from the camera

OUT/predictions.json  pose_mm [21, 3], relative to the wrist, in the camera's frame if its intrinsics are given, else in
                      the virtual camera's ("pose_frame"). Poses are right up to scale, since one camera cannot tell a
                      small near hand from a large far one. joints_2d [21, 2] px: where the model sees the joints in the
                      picture; for models of version 0.2.0, the pose laid over the box by weak perspective. A joint
                      that no label of the model had is null in both. joint_error_mm [21]: how far off the model expects
                      each joint to be, after the best scale; large, too, where there is no hand; null for models that
                      have not learned it (train --regime=confidence). In a video, "frame" counts the frames in their
                      order, from 0, and "time_s" is when one is shown. "files" has what was looked at in each file:
                      "frames_read", the number of frames, and "without_hand", the stretches [first, last] of frames
                      without a prediction, both included. With --frame_stride=n, "frame_stride", these are the frames
                      0, n, 2n, ..., and a stretch speaks only of those. A picture counts as frame 0. "complete" is
                      false if the command was stopped. Until its end the entries are in OUT/predictions.partial.jsonl,
                      in which the "hand" of a frame without one is null
OUT/predictions.csv, OUT/predictions.parquet
                      with --format=csv, parquet: one row per joint, with the columns file, frame, time_s, hand, track,
                      score, joint, x_mm, y_mm, z_mm, u_px, v_px (u, v: its place in the picture), error_mm
OUT/trc/VIDEO/right_0.trc, OUT/c3d/VIDEO/right_0.c3d
                      with --format=trc, c3d: the trajectory of each hand of a video, under its side and its "track",
                      from the first frame in which it was seen to the last, for OpenSim and programs for biomechanics.
                      There is a marker per joint, in mm. Like pose_mm, markers are relative to the wrist and right up
                      to scale, and y points down: the wrist stays at 0, and how the hand moves through the room is not
                      in them. What was not seen is an empty cell in TRC, and has the residual -1 in C3D. Frames are
                      those that were looked at, counted from 1. TRC has their times; C3D knows only the mean rate, and
                      has a further file (_part2) for each 65535 frames of the video
OUT/overlays/         the pictures with skeletons, under their own names; for a video or a webcam an MP4

--smooth passes the poses and joints_2d of each track of a video through a one-euro filter (Casiez, Roussel and Vogel,
CHI 2012), in the results and in the overlays. It goes by the times of the frames, and starts anew after half a second
without the hand; pictures stay as they are.

The webcam is read with OpenCV. Each frame is predicted at once, and what the camera takes in the meantime is passed
over. "time_s" is when a frame was taken, since the first one. In the results the recording has the name webcam_0, with
the number of the webcam. Ctrl-C ends it, and its results are complete then.

An intrinsics file is {"K": 3x3 px, "distCoef": 5 numbers (optional), "resolution": [width, height]}, or a Panoptic
calibration file together with --camera.
"""

import contextlib
import dataclasses
import pathlib
import sys
import time

from hand_tf.core import command_line, signals, skeleton
from hand_tf.core.errors import InputError
from hand_tf.core.images import MAX_PIXELS
from hand_tf.core.processors import usable_cores
from hand_tf.core.setting_fields import SettingError, check, setting
from hand_tf.serving import (
    boxes,
    detector_files,
    estimator,
    hand_finder,
    intrinsics,
    model_files,
    one_euro,
    pictures,
    prediction_files,
    predictions,
    webcam,
)
from hand_tf.serving.hand_detector import MIN_SCORE, TILES
from hand_tf.serving.hand_tracker import EVERY
from hand_tf.serving.left_out import LeftOut
from hand_tf.serving.overlays import Overlays
from hand_tf.serving.prediction_files import OVERLAYS, PREDICTIONS


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
        "What to write: predictions.json, always; tables of joints (csv, parquet); trajectories of the hands in videos"
        " (trc, c3d). parquet and c3d need the extra [formats].",
        ("json",),
        choices=prediction_files.FORMATS,
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

    webcam: int | None = setting(
        "Number of a webcam to read instead of files; the first one is 0.", None, low=0, section="Webcam"
    )
    seconds: float | None = setting(
        "Stop reading the webcam after this time, s. Default: at Ctrl-C.", None, above=0, section="Webcam"
    )

    smooth: bool = setting("Smooth the hands of videos over time.", False, section="Smoothing")
    smooth_cutoff: float = setting(
        "Cut-off frequency for a hand at rest, Hz. Lower: less jitter, and slow movements lag more.",
        one_euro.MIN_CUTOFF,
        above=0,
        section="Smoothing",
    )
    smooth_beta: float = setting(
        "How much the cut-off rises with speed, Hz per mm/s. Higher: fast movements lag less.",
        one_euro.BETA,
        low=0,
        section="Smoothing",
    )

    frame_stride: int = setting("Use every n-th frame of a video.", 1, low=1, section="Reading")
    max_pixels: int = setting(
        "Leave out pictures of more pixels. Each pixel needs three bytes of memory.",
        MAX_PIXELS,
        low=1,
        section="Reading",
    )
    batch_size: int = setting("Crops per step. Of a webcam, each frame is a step.", 16, low=1, section="Reading")

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
        if (self.smooth_cutoff, self.smooth_beta) != (one_euro.MIN_CUTOFF, one_euro.BETA) and not self.smooth:
            raise SettingError("--smooth_cutoff and --smooth_beta: pass --smooth, too")
        if self.webcam is None:
            if self.seconds is not None:
                raise SettingError(f"--seconds={self.seconds:g}: only for a --webcam")
            if not self.inputs and not self.boxes:
                raise SettingError(
                    "nothing to do: name images, folders of images or videos, or pass --boxes or --webcam"
                )
        elif self.inputs or self.boxes or self.frame_stride > 1:
            raise SettingError(f"--webcam={self.webcam}: without inputs, --boxes and --frame_stride")


def main(settings: PredictSettings) -> None:
    """Predicts the poses and writes them."""
    output, left_out = pathlib.Path(settings.output), LeftOut()
    prediction_files.check_output(output, settings.overwrite)
    # All that can be wrong is looked at before TensorFlow, which takes seconds to load.
    prediction_files.check_formats(settings.format)
    description = model_files.read_description(settings.model)
    camera = intrinsics.read_camera(settings.intrinsics, settings.camera) if settings.intrinsics else None
    hands, find = _hands(settings, left_out)
    _check_trajectories(settings, hands)
    base, margin = predictions.base_of(hands), settings.box_margin or description["box_margin"]
    head = _head(settings, description, camera, margin)
    found = Found()
    with contextlib.ExitStack() as stack:
        capture = stack.enter_context(webcam.opened(settings.webcam)) if settings.webcam is not None else None
        predicted = predictions.predict_pictures(
            estimator.load_exported(settings.model),
            _pictures(settings, hands, left_out, capture, stack),
            left_out,
            find=find,
            camera=camera,
            margin=margin,
            batch_size=1 if capture else settings.batch_size,
            smooth=one_euro.TrackSmoother(settings.smooth_cutoff, settings.smooth_beta) if settings.smooth else None,
            overlays=Overlays(output / OVERLAYS, base, settings.frame_stride) if settings.overlays else None,
        )
        start = time.monotonic()
        with prediction_files.writing(output, head, settings.overwrite, settings.format, base) as write:
            for entries in predicted:
                write(entries)
                found.add(entries)
            if not found.hands and not (find and found.pictures):
                raise InputError(f"nothing could be predicted; {left_out.problems[0]}")
        seconds = time.monotonic() - start
    _report(settings, head, found, left_out, seconds)


@dataclasses.dataclass
class Found:
    """How many hands in how many pictures of which files have a pose."""

    hands: int = 0
    pictures: int = 0
    frames_with_hand: int = 0
    files: set[str] = dataclasses.field(default_factory=set)

    def add(self, entries: list[dict]) -> None:
        """Counts the entries of one picture."""
        entries = [entry for entry in entries if entry["hand"] is not None]
        self.hands += len(entries)
        self.pictures += 1
        self.frames_with_hand += any(entry["frame"] is not None for entry in entries)
        self.files |= {entry["file"] for entry in entries}


def _hands(settings, left_out):
    """The hands to look at, by file, and what finds them where they are not given."""
    side = settings.hand or "right"
    if settings.boxes:
        return predictions.hands_of_table(settings.boxes, settings.inputs, side, left_out), None
    given = [boxes.HandBox(settings.box, side)] if settings.box or settings.centre else []
    files = pictures.list_files(settings.inputs) if settings.webcam is None else [webcam.name_of(settings.webcam)]
    hands = {path: given for path in files}
    if given:
        return hands, None
    detector = detector_files.load_detector(settings.min_score, settings.tiles, threads=usable_cores())
    return hands, hand_finder.HandFinder(detector, settings.detect_every, settings.hand, settings.upright)


def _check_trajectories(settings, files):
    """Raises InputError if trajectories are wanted and there is nothing that has any."""
    wanted = [name for name in prediction_files.TRAJECTORIES if name in settings.format]
    if wanted and settings.webcam is None and not any(map(pictures.is_video, files)):
        raise InputError(
            f"--format={','.join(wanted)}: trajectories of hands in videos, but all inputs are single pictures"
        )


def _pictures(settings, hands, left_out, capture, stack):
    """The pictures of the files; with a `capture`, those of the webcam, until the first Ctrl-C from now on."""
    if not capture:
        yield from pictures.read_pictures(hands, left_out, settings.frame_stride, settings.max_pixels)
        return
    ((file, given),) = hands.items()
    stop = stack.enter_context(signals.asked_to_end())
    print(f"webcam {settings.webcam}: Ctrl-C ends the recording", flush=True)
    yield from webcam.read_pictures(capture, file, given, left_out, stop, settings.seconds)


def _head(settings, description, camera, margin):
    """What is true of all predictions."""
    smoothing = {
        "filter": "one-euro",
        "min_cutoff_hz": settings.smooth_cutoff,
        "beta_hz_per_mm_s": settings.smooth_beta,
    }
    return {
        "model": settings.model,
        "units": "mm, relative to the wrist",
        "scale": description["scale"],
        "pose_frame": "camera" if camera else "virtual camera",
        "boxes": _where_boxes_come_from(settings),
        "box_margin": margin,
        "frame_stride": settings.frame_stride,
        "smoothing": smoothing if settings.smooth else None,
    }


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
    print(f"{settings.output}/{PREDICTIONS}: {hands} in {seen}, {warnings}")
    print(f"poses: mm relative to the wrist, right up to scale, in the {head['pose_frame']}'s frame")
    print(f"boxes: {head['boxes']}")
    print(f"speed: {found.pictures / max(seconds, 1e-3):.1f} pictures per second, reading and drawing included")
    if settings.overlays:
        print(f"{settings.output}/{OVERLAYS}: the pictures and videos with skeletons")
    for name in prediction_files.TRAJECTORIES:
        if name in settings.format:
            what = "the trajectories of hands in videos" if found.frames_with_hand else "no hand was seen in a video"
            print(f"{settings.output}/{name}: {what}")


if __name__ == "__main__":
    command_line.execute(main)
