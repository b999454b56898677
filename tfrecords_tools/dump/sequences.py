"""Sequence folders: which there are, and everything about one but its pixels."""

import dataclasses
import hashlib
import itertools
import pathlib

import numpy as np

from hand_tf.core import geometry
from tfrecords_tools.dump import boxes, frames, panoptic


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """What was read of one sequence folder. `occupied` and `boxes` say by frame where hands are."""

    name: str
    cameras: list[geometry.Camera]
    sources: dict[str, pathlib.Path]
    fps: float
    instants: list[panoptic.HandInstant]
    occupied: dict[int, list[tuple[np.ndarray, np.ndarray]]]
    boxes: dict[int, dict[str, list[np.ndarray]]]


def find(inputs):
    """Sequence folders in `inputs`, by name. Raises FileNotFoundError for none, ValueError for equal names."""
    found = []
    for folder in map(pathlib.Path, inputs):
        candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
        # The dome, like everything here, writes under a name that ends in .partial until it is done.
        finished = [path.resolve() for path in candidates if path.is_dir() and path.suffix != ".partial"]
        holds = [path for path in finished if any(path.glob("calibration_*.json"))]
        if not holds:
            raise FileNotFoundError(f"{folder}: no folder with a calibration_<sequence>.json in it or one level below")
        found += holds
    found = sorted(dict.fromkeys(found), key=lambda path: path.name)
    for one, other in itertools.pairwise(found):
        if one.name == other.name:
            raise ValueError(f"{other}: a sequence of the same name is already there: {one}")
    return found


def _select_cameras(directory, names, skipped):
    cameras = panoptic.read_cameras(directory)
    unknown = set(names) - {camera.name for camera in cameras}
    if unknown:
        raise ValueError(f"--cameras: {directory.name} has no hd camera {', '.join(sorted(unknown))}")
    cameras = [camera for camera in cameras if not names or camera.name in names]
    sources = frames.find_sources(directory, cameras, skipped)
    cameras = [camera for camera in cameras if camera.name in sources]
    if len(cameras) < 2:
        raise FileNotFoundError(
            f"{directory}: pictures of {len(cameras)} cameras (hdVideos or hdImgs), at least 2 needed"
        )
    return cameras, sources


def read(directory, options, skipped):
    """Reads one sequence folder: a `Sequence`. Raises FileNotFoundError or ValueError if it cannot be used."""
    panoptic.check_name(directory.name, directory)
    cameras, sources = _select_cameras(directory, options.cameras, skipped)
    subject_of = panoptic.read_subjects(directory)
    limits = options.min_score, options.max_error
    instants, occupied = panoptic.read_hands(directory, *limits, subject_of, skipped)
    more, boxed = boxes.read_instants(directory, cameras, subject_of, instants, skipped)
    wanted = ("left", "right") if options.hands == "both" else (options.hands,)
    selected = [i for i in instants + more if i.side in wanted and i.frame % options.frame_stride == 0]
    if not selected:
        reasons = "; ".join(line.strip() for line in skipped.lines()) or "hdHand3d and boxes.csv name none"
        raise ValueError(f"{directory}: no usable hand ({reasons})")
    rates = {frames.frames_per_second(source) or options.fps for source in sources.values()}
    if max(rates) > 1.01 * min(rates):
        raise ValueError(f"{directory}: cameras differ in frames per second: {sorted(rates)}")
    return Sequence(directory.name, cameras, sources, min(rates), selected, occupied, boxed)


def digest(sequence):
    """A hash of all that records depend on besides the pixels."""
    content = hashlib.sha256()
    for camera in sequence.cameras:
        content.update(f"{camera.name} {camera.width} {camera.height} {sequence.sources[camera.name].name}".encode())
        content.update(b"".join(array.tobytes() for array in (camera.K, camera.dist, camera.R, camera.t)))
    for instant in sequence.instants:
        content.update(f"{instant.name} {instant.subject} {instant.cameras} {instant.radius!r}".encode())
        content.update(instant.joints.tobytes() + instant.accepted.tobytes() + instant.centre.tobytes())
    return content.hexdigest()
