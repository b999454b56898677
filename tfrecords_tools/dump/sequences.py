"""Sequence folders: where they are, and all their metadata."""

import dataclasses
import hashlib
import itertools
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from hand_tf.core import geometry, skeleton, video
from hand_tf.core.errors import InputError
from tfrecords_tools.dump import boxes, frames, panoptic
from tfrecords_tools.dump.skipped import Skipped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """What is taken from a dump.

    Attributes:
        hands: `both`, `left` or `right`, anatomical sides.
        fps: frames per second of image folders; videos state their own.
        min_score: joints are accepted from this averageScore on.
        max_error: joints are accepted up to this averageReproError, px.
        frame_stride: only frames whose number is a multiple of it.
        cameras: names of the cameras; empty for all.
        crops_from: `joints`, or `boxes`: crops and background come from boxes.csv alone, also where there are joints.
    """

    hands: str = "both"
    fps: float = 29.97
    min_score: float = 0.5
    max_error: float = 20.0
    frame_stride: int = 1
    cameras: tuple[str, ...] = ()
    crops_from: str = "joints"


@dataclasses.dataclass(frozen=True, eq=False)
class DumpSequence:
    """What was read of one sequence folder.

    Attributes:
        sources: {camera name: its image folder or video}.
        clocks: {camera name: `video.Clock`} of the videos.
        instants: the hands to make records of.
        occupied: {frame: (joints [21, 3] mm, accepted [21]) of all hands}, for the background.
        boxes: {frame: {camera name: boxes (x, y, width, height) px}}, for the background.
    """

    name: str
    cameras: list[geometry.Camera]
    sources: dict[str, pathlib.Path]
    clocks: dict[str, video.Clock]
    fps: float
    instants: list[panoptic.HandInstant]
    occupied: dict[int, list[tuple[np.ndarray, np.ndarray]]]
    boxes: dict[int, dict[str, list[np.ndarray]]]


def find(inputs: Iterable[str | pathlib.Path]) -> list[pathlib.Path]:
    """The sequence folders among `inputs` and one level below them, by name.

    Raises FileNotFoundError if an input holds none, ValueError if two have the same name.
    """
    found = []
    for folder in map(pathlib.Path, inputs):
        candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
        # Unfinished sequences of the dome end in .partial. A link keeps the name that the user gave it.
        finished = [_named(path) for path in candidates if path.is_dir() and path.suffix != ".partial"]
        sequence_dirs = [path for path in finished if any(path.glob("calibration_*.json"))]
        if not sequence_dirs:
            raise FileNotFoundError(f"{folder}: no folder with a calibration_<sequence>.json in it or one level below")
        found += sequence_dirs
    found = sorted({path.resolve(): path for path in reversed(found)}.values(), key=lambda path: path.name)
    for one, other in itertools.pairwise(found):
        if one.name == other.name:
            raise InputError(f"{other}: a sequence of the same name is already there: {one}")
    return found


def _named(path):
    """The path with a last part that is a name: `.` and `..` are not."""
    return pathlib.Path(os.path.abspath(path))


def _select_cameras(sequence_dir, names, skipped):
    """The cameras called `names` (all if empty) that have pictures, and {camera name: path of its pictures}."""
    cameras = panoptic.read_cameras(sequence_dir)
    unknown = set(names) - {camera.name for camera in cameras}
    if unknown:
        raise InputError(f"--cameras: {sequence_dir.name} has no hd camera {', '.join(sorted(unknown))}")
    cameras = [camera for camera in cameras if not names or camera.name in names]
    sources = frames.find_sources(sequence_dir, cameras, skipped)
    cameras = [camera for camera in cameras if camera.name in sources]
    if len(cameras) < 2:
        raise FileNotFoundError(
            f"{sequence_dir}: pictures of {len(cameras)} cameras, at least 2 needed: expected files such as"
            f" hdVideos/hd_00_00.mp4 or hdImgs/00_00/00_00_00000000.jpg"
        )
    return cameras, sources


def read(sequence_dir: pathlib.Path, selection: Selection, skipped: Skipped) -> DumpSequence:
    """Reads one sequence folder; what is left out is counted in `skipped`.

    Raises FileNotFoundError or ValueError if the folder cannot be used.
    """
    panoptic.check_name(sequence_dir.name, sequence_dir)
    cameras, sources = _select_cameras(sequence_dir, selection.cameras, skipped)
    subject_of = panoptic.read_subjects(sequence_dir)
    labelled, occupied = panoptic.read_hands(
        sequence_dir, selection.min_score, selection.max_error, subject_of, skipped
    )
    if selection.crops_from == "boxes":
        placed, boxes_of = boxes.read_instants(sequence_dir, cameras, subject_of, [], skipped)
        hands, occupied = boxes.keep_labels(placed, labelled, skipped), {}
    else:
        unlabelled, boxes_of = boxes.read_instants(sequence_dir, cameras, subject_of, labelled, skipped)
        hands = labelled + unlabelled
    panoptic.check_distances(hands, cameras, panoptic.calibration_path(sequence_dir))
    sides = skeleton.SIDES if selection.hands == "both" else (selection.hands,)
    instants = [instant for instant in hands if instant.side in sides and instant.frame % selection.frame_stride == 0]
    if not instants:
        reasons = "; ".join(line.strip() for line in skipped.lines()) or "hdHand3d and boxes.csv name none"
        raise InputError(f"{sequence_dir}: no usable hand ({reasons})")
    clocks = frames.read_clocks(sequence_dir, sources)
    rates = [clock.frames_per_second for clock in clocks.values()]
    rates += [selection.fps] * (len(clocks) < len(sources))
    if max(rates) > 1.01 * min(rates):
        raise InputError(
            f"{sequence_dir}: cameras differ in frames per second: {min(rates):g} and {max(rates):g}; --fps is that of"
            " image folders"
        )
    return DumpSequence(sequence_dir.name, cameras, sources, clocks, min(rates), instants, occupied, boxes_of)


def fingerprint(sequence: DumpSequence) -> str:
    """A hash of the pictures that records are made of, from samples of each file, see `frames.fingerprint`."""
    content, wanted = hashlib.sha256(), sorted({instant.frame for instant in sequence.instants})
    for camera in sequence.cameras:
        content.update(frames.fingerprint(sequence.sources[camera.name], camera, wanted))
    return content.hexdigest()


def digest(sequence: DumpSequence) -> str:
    """A hash of everything that records depend on besides the pixels."""
    content = hashlib.sha256()
    for camera in sequence.cameras:
        content.update(f"{camera.name} {camera.width} {camera.height} {sequence.sources[camera.name].name}".encode())
        content.update(b"".join(array.tobytes() for array in (camera.K, camera.dist, camera.R, camera.t)))
    for instant in sequence.instants:
        content.update(f"{instant.name} {instant.subject} {instant.cameras} {instant.radius!r}".encode())
        content.update(instant.joints.tobytes() + instant.accepted.tobytes() + instant.centre.tobytes())
    return content.hexdigest()
