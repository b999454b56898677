"""Writes a capture in the layout of CMU Panoptic Studio.

    <output>/subjects.csv                                       written last: which frames show whom
    <output>/dome_pose1/calibration_dome_pose1.json             S0..S4;  dome_pose2: S5..S8;  dome_pose3: S9, S10; ...
                        hdImgs/00_07/00_07_00000100.jpg         or hdVideos/hd_00_07.mp4, whose frame n is annotation n
                        hdHand3d/handRecon3D_hd00000100.json    joints in the world, centimetres
                        dome.json                               the settings with which the folder was written
                        truth/...                               with `ground_truth`, for tests: masks and empty scenes

The output is the same, byte for byte, whatever the number of workers and however often the run was stopped. A sequence
is written to `NAME.partial` and renamed when it is complete. If the settings are the same, the next run keeps what a
stopped one has finished: whole sequences, and in `NAME.partial` whole jobs, which are listed in its folder `work`.
"""

import csv
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Sequence

import cv2
import numpy as np
import tqdm

from hand_tf.core import atomic, folder_lock, reading, skeleton
from hand_tf.core.errors import InputError
from tfrecords_tools.dome import capture
from tfrecords_tools.dome.studio import render, rig, scenes
from tfrecords_tools.records import workers

CHUNK = 16  # instants per job


@dataclasses.dataclass(frozen=True)
class DumpSettings:
    """How pictures are written.

    Attributes:
        format: "images" (JPEG) or "videos" (mp4).
        jpeg_quality: of images; 0 for that of each camera's sensor.
        ground_truth: also write masks of the hands and the empty scenes (images only).
    """

    format: str = "images"
    jpeg_quality: int = 0
    ground_truth: bool = False


# --- the files of a sequence ----------------------------------------------------------------------------------------


def _hand_entry(joints, cameras):
    """One hand with joints [21, 3] mm as Panoptic's toolbox writes it: a flat list of centimetres."""
    return {
        "landmarks": [round(float(value), 5) for value in (joints / 10).ravel()],
        "averageScore": [0.9] * skeleton.NUM_JOINTS,
        "averageReproError": [0.5] * skeleton.NUM_JOINTS,
        "validity": [1] * skeleton.NUM_JOINTS,
        "visibility": [np.flatnonzero(row).tolist() for row in capture.shown_by(joints, cameras).T],
    }


def _write_hands(sequence, settings, folder, frames):
    """Writes the hand files of `frames`; returns 0, the number of images among them."""
    for frame in frames:
        number, step = sequence.place(frame)
        person = {"id": number}
        for side in sequence.sides:
            joints = capture.joints_of(sequence, number, side)[step]
            person[f"{side}_hand"] = _hand_entry(joints, capture.studio(sequence).cameras)
        path = folder / "hdHand3d" / f"handRecon3D_hd{frame:08d}.json"
        atomic.write_text(path, json.dumps({"version": 0.5, "people": [person]}))
    return 0


def _write_scene(sequence, settings, folder, node):
    """Writes the empty scene of camera number `node`, which the other jobs draw people into; returns 0."""
    capture.write_scene(sequence, node, folder / "work" / "scenes")
    if settings.ground_truth:
        view = _view(sequence, folder, node)
        _write_picture(folder / "truth" / "scenes" / f"{view.camera.name}.png", view.scene, [])
    return 0


def _view(sequence, folder, node):
    return capture.load_view(sequence, node, folder / "work" / "scenes")


def _write_picture(path, image, flags):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[..., ::-1], flags):
        raise OSError(f"{path}: could not be written")


def hand_mask(view: scenes.View, instant: capture.Instant) -> np.ndarray:
    """How much of each pixel shows a hand that nothing hides, [h, w] uint8; 255 for all of it."""
    colours = np.zeros_like(instant.mesh.vertices)
    colours[: instant.hand_vertices] = 1
    window = (0, 0, view.camera.width, view.camera.height)
    mask = np.zeros((view.camera.height, view.camera.width), np.uint8)
    drawn = render.layer(instant.mesh._replace(colours=colours), view.camera, view.depth, window)
    if drawn is not None:
        (x, y), picture, _ = drawn
        mask[y : y + len(picture), x : x + picture.shape[1]] = cv2.convertScaleAbs(picture[..., 0], alpha=255)
    return mask


def _write_images(sequence, settings, folder, frames):
    """Writes JPEG files of `frames` from every camera; returns their number."""
    cameras = capture.studio(sequence).cameras
    for frame in frames:
        instant = capture.instant(sequence, frame)
        for node, camera in enumerate(cameras):
            view = _view(sequence, folder, node)
            image = render.draw(view, instant.mesh, [sequence.seed, sequence.index, node, frame])
            quality = settings.jpeg_quality or view.sensor.jpeg_quality
            name = f"{camera.name}/{camera.name}_{frame:08d}"
            _write_picture(folder / "hdImgs" / f"{name}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if settings.ground_truth:
                mask = hand_mask(view, instant)
                _write_picture(folder / "truth" / "masks" / f"{name}.png", np.repeat(mask[..., None], 3, 2), [])
    return len(frames) * len(cameras)


def _write_video(sequence, settings, folder, node):
    """Writes the whole video of camera number `node`, empty frames first; returns the number of frames."""
    view, count = _view(sequence, folder, node), sequence.frame_numbers.stop
    path = folder / "hdVideos" / f"hd_{view.camera.name}.mp4"
    size = (sequence.width, sequence.height)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), sequence.fps, size)
    if not writer.isOpened():
        raise OSError(f"{path}: OpenCV cannot write mp4 video here")
    for frame in range(count):
        mesh = capture.instant(sequence, frame).mesh if frame >= capture.FIRST_FRAME else None
        image = render.draw(view, mesh, [sequence.seed, sequence.index, node, frame])
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    _check_video(path, count)
    return count


def _check_video(path, count):
    """Raises OSError if `path` does not hold `count` frames: OpenCV reports no error when the disk is full."""
    video = cv2.VideoCapture(str(path))
    found = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    if found != count:
        raise OSError(f"{path}: {found} of {count} frames were written; is the disk full?")


def _calibration_entry(camera, kind):
    panel, node = (int(part) for part in camera.name.split("_"))
    return {
        "name": camera.name,
        "type": kind,
        "resolution": [camera.width, camera.height],
        "panel": panel,
        "node": node,
        "K": camera.K.tolist(),
        "distCoef": camera.dist.tolist(),
        "R": camera.R.tolist(),
        "t": (camera.t[:, None] / 10).tolist(),
    }


def _write_calibration(sequence, folder):
    """Writes the HD cameras after two VGA cameras. Panoptic has hundreds of those, so readers must select by type."""
    _, decoys = rig.make_cameras("ring8", sequence.seed, 1000 + sequence.index, (640, 480), 900.0, 2)
    decoys = [dataclasses.replace(camera, name=f"01_{k + 1:02d}") for k, camera in enumerate(decoys)]
    entries = [_calibration_entry(camera, "vga") for camera in decoys]
    entries += [_calibration_entry(camera, "hd") for camera in capture.studio(sequence).cameras]
    calibration = {"calibDataSource": f"{sequence.name}_calib", "cameras": entries}
    atomic.write_json(folder / f"calibration_{sequence.name}.json", calibration)


# --- jobs -----------------------------------------------------------------------------------------------------------


def _once(sequence, settings, folder, name, job):
    """Runs one job unless a stopped run has finished it; returns the number of images written."""
    done = folder / "work" / name
    if done.is_file():
        return 0
    function, part = job
    images = function(sequence, settings, folder, part)
    done.touch()
    return images


def _identity(sequence, settings):
    """All that decides the files of a sequence: the content of its dome.json."""
    return capture.settings_of(sequence) | dataclasses.asdict(settings)


def _is_complete(sequence, settings, folder):
    """Whether `folder` holds this sequence. Raises ValueError if it holds another one."""
    if not folder.exists():
        return False
    path = folder / "dome.json"
    if not path.is_file():
        raise InputError(f"{folder}: exists but has no dome.json; choose another --output or remove it")
    found = reading.read_json_object(path)
    for field, value in _identity(sequence, settings).items():
        if found.get(field) != value:
            message = f"{path}: {field} is {found.get(field)}, but {value} is asked for"
            raise InputError(f"{message}; choose another --output or remove the folder")
    return True


def _prepare(sequence, settings, folder):
    """Sets up `folder`, or keeps it if a stopped run began it with the same settings; returns two lists of jobs."""
    begun, identity = folder / "work" / "settings.json", _identity(sequence, settings)
    if not begun.is_file() or reading.read_json(begun) != identity:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "hdHand3d").mkdir(parents=True)
        (folder / "work").mkdir()
        _write_calibration(sequence, folder)
        atomic.write_text(begun, json.dumps(identity))
    nodes, numbers = range(len(capture.studio(sequence).cameras)), sequence.frame_numbers
    chunks = [numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK)]
    empty = {f"scene_{node}": (_write_scene, node) for node in nodes}
    drawn = {f"hands_{chunk[0]}": (_write_hands, chunk) for chunk in chunks}
    if settings.format == "videos":
        (folder / "hdVideos").mkdir(exist_ok=True)
        drawn |= {f"video_{node}": (_write_video, node) for node in nodes}
    else:
        drawn |= {f"images_{chunk[0]}": (_write_images, chunk) for chunk in chunks}
    # All empty scenes come first, because the other jobs draw into them.
    return [[(_once, sequence, settings, folder, *item) for item in jobs.items()] for jobs in (empty, drawn)]


def _write_sequence(sequence, settings, output, run, progress):
    """Writes one sequence below `output` by jobs that `run` executes; returns the number of images written."""
    folder, images = output / f"{sequence.name}.partial", 0
    stages = _prepare(sequence, settings, folder)
    total = sum(len(jobs) for jobs in stages)
    with tqdm.tqdm(desc=sequence.name, total=total, unit="job", disable=None if progress else True) as bar:
        for jobs in stages:
            for count in run(jobs):
                images += count
                bar.update(1)
    shutil.rmtree(folder / "work")
    atomic.write_json(folder / "dome.json", _identity(sequence, settings))
    os.replace(folder, output / sequence.name)
    return images


def _write_subjects(output):
    """Writes the table of all people in the complete sequences of `output`, whether of this run or an earlier one."""
    rows = []
    for path in output.glob("*/dome.json"):
        made = reading.read_json_object(path, ["name", "subjects", "frames"])
        for order, subject in enumerate(made["subjects"]):
            first = capture.FIRST_FRAME + order * made["frames"]
            rows.append((subject, made["name"], first, first + made["frames"] - 1))
    with atomic.replacing(output / "subjects.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sequence", "first_frame", "last_frame", "person_id", "subject"])
        for subject, name, first, last in sorted(rows):
            writer.writerow([name, first, last, subject, f"S{subject}"])


def write(
    output: str | os.PathLike,
    sequences: Sequence[capture.CaptureSequence],
    settings: DumpSettings | None = None,
    processes: int = 1,
    progress: bool = False,
) -> int:
    """Writes `sequences` below the folder `output`, on `processes` processes; complete sequences are kept.

    Returns the number of images written: 0 if all sequences were complete.

    Raises ValueError if a sequence exists with other settings, or for videos of an odd size; OSError for a full disk.
    """
    output, settings = pathlib.Path(output), settings or DumpSettings()
    if settings.format == "videos" and any(each.width % 2 or each.height % 2 for each in sequences):
        raise InputError("--image_size: videos need an even width and height")
    todo = [sequence for sequence in sequences if not _is_complete(sequence, settings, output / sequence.name)]
    with folder_lock.holding(output):
        with workers.pool(processes if todo else 1) as run:
            images = sum(_write_sequence(sequence, settings, output, run, progress) for sequence in todo)
        _write_subjects(output)
    return images
