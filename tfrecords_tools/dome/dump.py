"""Writes a capture in CMU Panoptic Studio's layout.

    <output>/subjects.csv                                       written last: which frames show whom
    <output>/dome_pose1/calibration_dome_pose1.json             S0..S4;  dome_pose2: S5..S8;  dome_pose3: S9, S10; ...
                        hdImgs/00_07/00_07_00000100.jpg         or hdVideos/hd_00_07.mp4, frame n = annotation n
                        hdHand3d/handRecon3D_hd00000100.json    joints in the world, centimetres
                        dome.json                               the settings that made the folder
                        truth/...                               with `ground_truth`, for tests: masks and empty scenes

Neither the number of workers nor an interruption changes a byte. A sequence is written as `NAME.partial` and renamed
when complete. What a stopped run finished is kept if the settings are the same: whole sequences, and in `NAME.partial`
whole jobs, of which `work/` keeps a list.
"""

import csv
import dataclasses
import json
import os
import pathlib
import shutil

import cv2
import numpy as np
import tqdm

from hand_tf.core import atomic, skeleton
from tfrecords_tools.dome import capture
from tfrecords_tools.dome.studio import render, rig
from tfrecords_tools.dump import panoptic
from tfrecords_tools.records import workers

CHUNK = 16  # instants per job


@dataclasses.dataclass(frozen=True)
class Options:
    """How pictures are written. `jpeg_quality` 0: each camera's own."""

    format: str = "images"
    jpeg_quality: int = 0
    ground_truth: bool = False


def _hand_entry(joints, cameras):
    """One hand as the toolbox writes it. Joints [21, 3] mm; the file wants centimetres, flattened."""
    return {
        "landmarks": [round(float(value), 5) for value in (joints / 10).ravel()],
        "averageScore": [0.9] * skeleton.NUM_JOINTS,
        "averageReproError": [0.5] * skeleton.NUM_JOINTS,
        "validity": [1] * skeleton.NUM_JOINTS,
        "visibility": [np.flatnonzero(row).tolist() for row in capture.shown_by(joints, cameras).T],
    }


def _write_hands(sequence, options, folder, frames):
    """Hand files of `frames`; returns 0, the number of images among them."""
    for frame in frames:
        number, step = sequence.place(frame)
        person = {"id": number}
        for side in sequence.sides:
            joints = capture.joints_of(sequence, number, side)[step]
            person[f"{side}_hand"] = _hand_entry(joints, capture.studio(sequence).cameras)
        path = folder / "hdHand3d" / f"handRecon3D_hd{frame:08d}.json"
        path.write_text(json.dumps({"version": 0.5, "people": [person]}))
    return 0


def _write_scene(sequence, options, folder, node):
    """The empty scene of camera number `node`, for the jobs that draw people into it; returns 0."""
    capture.write_scene(sequence, node, folder / "work" / "scenes")
    if options.ground_truth:
        view = _view(sequence, folder, node)
        _write_picture(folder / "truth" / "scenes" / f"{view.camera.name}.png", view.scene, [])
    return 0


def _view(sequence, folder, node):
    return capture.load_view(sequence, node, folder / "work" / "scenes")


def _write_picture(path, image, flags):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[..., ::-1], flags):
        raise OSError(f"{path}: could not be written")


def hand_mask(view, instant):
    """[h, w] uint8: how much of each pixel shows a hand (255: all) that nothing hides."""
    colours = np.zeros_like(instant.mesh.vertices)
    colours[: instant.hand_vertices] = 1
    window = (0, 0, view.camera.width, view.camera.height)
    mask = np.zeros((view.camera.height, view.camera.width), np.uint8)
    drawn = render.layer(instant.mesh._replace(colours=colours), view.camera, view.depth, window)
    if drawn is not None:
        (x, y), picture, _ = drawn
        mask[y : y + len(picture), x : x + picture.shape[1]] = cv2.convertScaleAbs(picture[..., 0], alpha=255)
    return mask


def _write_images(sequence, options, folder, frames):
    """JPEGs of `frames` from every camera; returns their number."""
    cameras = capture.studio(sequence).cameras
    for frame in frames:
        instant = capture.instant(sequence, frame)
        for node, camera in enumerate(cameras):
            view = _view(sequence, folder, node)
            image = render.draw(view, instant.mesh, [sequence.seed, sequence.index, node, frame])
            quality = options.jpeg_quality or view.sensor.jpeg_quality
            name = f"{camera.name}/{camera.name}_{frame:08d}"
            _write_picture(folder / "hdImgs" / f"{name}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if options.ground_truth:
                mask = hand_mask(view, instant)
                _write_picture(folder / "truth" / "masks" / f"{name}.png", np.repeat(mask[..., None], 3, 2), [])
    return len(frames) * len(cameras)


def _write_video(sequence, options, folder, node):
    """The whole video of camera number `node`, empty frames first; returns the number of frames."""
    view, last = _view(sequence, folder, node), sequence.frame_numbers[-1]
    path = folder / "hdVideos" / f"hd_{view.camera.name}.mp4"
    size = (sequence.width, sequence.height)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), sequence.fps, size)
    if not writer.isOpened():
        raise OSError(f"{path}: OpenCV cannot write mp4v video here")
    for frame in range(last + 1):
        mesh = capture.instant(sequence, frame).mesh if frame >= capture.FIRST_FRAME else None
        image = render.draw(view, mesh, [sequence.seed, sequence.index, node, frame])
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    _check_video(path, last + 1)
    return last + 1


def _check_video(path, frames):
    """Raises OSError if `path` does not hold `frames` frames: OpenCV says nothing when a disk is full."""
    video = cv2.VideoCapture(str(path))
    found = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    if found != frames:
        raise OSError(f"{path}: {found} of {frames} frames were written; is the disk full?")


def _once(sequence, options, folder, name, job):
    """Runs one job unless a stopped run finished it; returns the number of images."""
    done = folder / "work" / name
    if done.is_file():
        return 0
    function, part = job
    images = function(sequence, options, folder, part)
    done.touch()
    return images


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
    """HD cameras after two VGA ones, which stand in for Panoptic's hundreds: readers must select by type."""
    _, decoys = rig.make_cameras("ring8", sequence.seed, 1000 + sequence.index, (640, 480), 900.0, 2)
    decoys = [dataclasses.replace(camera, name=f"01_{k + 1:02d}") for k, camera in enumerate(decoys)]
    entries = [_calibration_entry(camera, "vga") for camera in decoys]
    entries += [_calibration_entry(camera, "hd") for camera in capture.studio(sequence).cameras]
    calibration = {"calibDataSource": f"{sequence.name}_calib", "cameras": entries}
    (folder / f"calibration_{sequence.name}.json").write_text(json.dumps(calibration, indent=1))


def _settings(sequence, options):
    return capture.settings_of(sequence) | dataclasses.asdict(options)


def _is_complete(sequence, options, folder):
    """Whether `folder` holds this very sequence. Raises ValueError if it holds another one."""
    if not folder.exists():
        return False
    path = folder / "dome.json"
    if not path.is_file():
        raise ValueError(f"{folder}: exists but has no dome.json; choose another --output or remove it")
    found = panoptic.load_json(path)
    for field, value in _settings(sequence, options).items():
        if found.get(field) != value:
            message = f"{path}: {field} is {found.get(field)}, but {value} is asked for"
            raise ValueError(f"{message}; choose another --output or remove the folder")
    return True


def _prepare(sequence, options, folder):
    """The tree at `folder`, empty or as a stopped run with the same settings left it; returns two lists of jobs."""
    begun, settings = folder / "work" / "settings.json", _settings(sequence, options)
    if not begun.is_file() or panoptic.load_json(begun) != settings:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "hdHand3d").mkdir(parents=True)
        (folder / "work").mkdir()
        _write_calibration(sequence, folder)
        atomic.write_text(begun, json.dumps(settings))
    nodes, numbers = range(len(capture.studio(sequence).cameras)), sequence.frame_numbers
    chunks = [numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK)]
    scenes = {f"scene_{node}": (_write_scene, node) for node in nodes}
    rest = {f"hands_{chunk[0]}": (_write_hands, chunk) for chunk in chunks}
    if options.format == "videos":
        (folder / "hdVideos").mkdir(exist_ok=True)
        rest |= {f"video_{node}": (_write_video, node) for node in nodes}
    else:
        rest |= {f"images_{chunk[0]}": (_write_images, chunk) for chunk in chunks}
    # The scenes first: pictures are drawn into them.
    return [[(_once, sequence, options, folder, *item) for item in jobs.items()] for jobs in (scenes, rest)]


def _write_subjects(output):
    """The table of everybody in the complete sequences of `output`, in this run or an earlier one."""
    rows = []
    for path in output.glob("*/dome.json"):
        made = panoptic.load_json(path)
        for order, subject in enumerate(made["subjects"]):
            first = capture.FIRST_FRAME + order * made["frames"]
            rows.append((subject, made["name"], first, first + made["frames"] - 1))
    with atomic.replacing(output / "subjects.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sequence", "first_frame", "last_frame", "person_id", "subject"])
        for subject, name, first, last in sorted(rows):
            writer.writerow([name, first, last, subject, f"S{subject}"])


def write(output, sequences, options=None, processes=1, progress=False):
    """Writes `sequences` below the folder `output`; returns the number of images written (0 if all were complete).

    Raises ValueError if a sequence exists with other settings, or for videos of an odd size; OSError for a full disk.
    """
    output, options, images = pathlib.Path(output), options or Options(), 0
    if options.format == "videos" and any(each.width % 2 or each.height % 2 for each in sequences):
        raise ValueError("--image_size: videos need an even width and height")
    todo = [sequence for sequence in sequences if not _is_complete(sequence, options, output / sequence.name)]
    with workers.pool(processes if todo else 1) as run:
        for sequence in todo:
            folder = output / f"{sequence.name}.partial"
            stages = _prepare(sequence, options, folder)
            bar = {"desc": sequence.name, "total": sum(map(len, stages)), "unit": "job"}
            with tqdm.tqdm(**bar, disable=None if progress else True) as shown:
                for jobs in stages:
                    for count in run(jobs):
                        images += count
                        shown.update(1)
            shutil.rmtree(folder / "work")
            (folder / "dome.json").write_text(json.dumps(_settings(sequence, options), indent=1))
            os.replace(folder, output / sequence.name)
    output.mkdir(parents=True, exist_ok=True)
    _write_subjects(output)
    return images
