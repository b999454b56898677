"""Writes synthetic multi-view captures of hands in CMU Panoptic Studio's layout.

    python -m tfrecords_tools.dome --output=data/dome --frames=400

    <output>/subjects.csv                                       written last: which frames show whom
    <output>/dome_pose1/calibration_dome_pose1.json             S0..S4;  dome_pose2: S5..S8;  dome_pose3: S9..
                        hdImgs/00_07/00_07_00000100.jpg         or hdVideos/hd_00_07.mp4, frame n = annotation n
                        hdHand3d/handRecon3D_hd00000100.json    joints in the world, centimetres
                        dome.json                               the settings that made the folder

Everything is a pure function of the settings: neither the number of workers nor an interruption changes a byte. A
sequence is written as `NAME.partial` and renamed when complete; a complete one with the same settings is kept.
"""

import collections
import csv
import dataclasses
import functools
import json
import multiprocessing
import os
import pathlib
import shutil
import sys
import time

import cv2
import numpy as np
import tqdm
from absl import flags

from hand_tf import command, geometry, skeleton
from tfrecords_tools import dome_hand, dome_motion, dome_scene

FLAGS = flags.FlagValues()
_define = {"flag_values": FLAGS}
flags.DEFINE_string("output", None, "Folder that receives the sequences and subjects.csv.", required=True, **_define)
flags.DEFINE_integer("subjects", 11, "People: S0, S1, ...", lower_bound=1, **_define)
flags.DEFINE_integer("frames", 400, "Instants per subject.", lower_bound=1, **_define)
flags.DEFINE_float("fps", 29.97, "Instants per second of motion.", lower_bound=0.1, **_define)
flags.DEFINE_integer("num_cameras", 8, "Cameras of the dome.", lower_bound=2, upper_bound=99, **_define)
flags.DEFINE_integer("image_size", 256, "Width and height of the pictures, px.", lower_bound=32, **_define)
flags.DEFINE_enum("hands", "right", ["right", "both"], "The right hand, or a left one beside it too.", **_define)
flags.DEFINE_enum("format", "images", ["images", "videos"], "JPEG files, or one mp4 per camera.", **_define)
flags.DEFINE_integer("jpeg_quality", 95, "JPEG quality.", lower_bound=1, upper_bound=100, **_define)
flags.DEFINE_integer("seed", 0, "Decides people, motion, cameras, scenes and noise.", lower_bound=0, **_define)
flags.DEFINE_integer("workers", os.cpu_count(), "Processes; does not change the output.", lower_bound=1, **_define)

# Like the paper's three Panoptic sequences: S0..S4 and S5..S8 to train on, the rest to test on.
SEQUENCES = (("dome_pose1", 0, 5), ("dome_pose2", 5, 9), ("dome_pose3", 9, None))
FIRST_FRAME = 100  # annotations start late, as in Panoptic; a video shows the empty scene before
CHUNK = 16  # instants per job


@dataclasses.dataclass(frozen=True)
class Sequence:
    """All that decides a sequence's bytes. `frames` instants per subject; subjects follow one another."""

    name: str
    index: int
    subjects: tuple
    frames: int
    fps: float
    num_cameras: int
    image_size: int
    hands: str
    format: str
    jpeg_quality: int
    seed: int

    @property
    def frame_numbers(self):
        return range(FIRST_FRAME, FIRST_FRAME + self.frames * len(self.subjects))


Hand = collections.namedtuple("Hand", "side vertices normals triangles skin joints")


@functools.lru_cache(maxsize=16)
def _subject(seed, index):
    return dome_hand.make_subject(seed, index)


@functools.lru_cache(maxsize=2)
def _rig(sequence):
    return dome_scene.make_rig(sequence.seed, sequence.index, sequence.num_cameras, sequence.image_size, sequence.hands)


@functools.lru_cache(maxsize=4)
def _motion(sequence, subject, side):
    return dome_motion.motion(sequence.seed, subject, side, np.arange(sequence.frames) / sequence.fps)


def hands_at(sequence, frame):
    """The `Hand`s (meshes and joints in the world, mm) of frame number `frame`."""
    order, step = divmod(frame - FIRST_FRAME, sequence.frames)
    number = sequence.subjects[order]
    subject, centre, hands = _subject(sequence.seed, number), _rig(sequence).centre, []
    sides = skeleton.SIDES if sequence.hands == "both" else ("right",)
    for side in sides:
        moves = _motion(sequence, number, side)
        mesh = dome_hand.pose_mesh(subject, moves.angles[step], moves.R[step], moves.t[step])
        vertices, normals, joints = mesh
        triangles, place = subject.triangles, centre
        if len(sides) == 2:
            place = centre + np.array([dome_scene.SEPARATION / 2 * (1 if side == "right" else -1), 0, 0])
        if side == "left":  # a mirrored right hand; mirroring turns triangles inside out
            vertices, normals, joints = (part @ skeleton.MIRROR for part in mesh)
            triangles = triangles[:, ::-1]
        hands.append(Hand(side, vertices + place, normals, triangles, subject.colours, joints + place))
    return hands


def draw(hands, view, light, key=None):
    """The picture [h, w, 3] uint8 RGB that `view` takes of `hands`, with sensor noise if `key` (integers) is given."""
    image = view.background
    if hands:
        offsets = np.cumsum([0] + [len(hand.vertices) for hand in hands[:-1]])
        triangles = np.concatenate([hand.triangles + o for hand, o in zip(hands, offsets, strict=True)])
        lit = np.concatenate([dome_scene.shade(hand.normals, hand.skin, light) for hand in hands])
        vertices = np.concatenate([hand.vertices for hand in hands])
        image, _ = dome_scene.render(image, view.camera, vertices, triangles.astype(np.int32), lit * view.gain)
    return image if key is None else dome_scene.add_noise(image, view, key)


def _hand_entry(joints, cameras):
    """One hand as the toolbox writes it. Joints [21, 3] mm; the file wants centimetres, flattened."""
    seen = np.stack([geometry.inside(geometry.project(joints, camera), camera) for camera in cameras], 1)
    return {
        "landmarks": [round(float(value), 5) for value in (joints / 10).ravel()],
        "averageScore": [0.9] * skeleton.NUM_JOINTS,
        "averageReproError": [0.5] * skeleton.NUM_JOINTS,
        "validity": [1] * skeleton.NUM_JOINTS,
        "visibility": [np.flatnonzero(row).tolist() for row in seen],
    }


def _write_hands(sequence, folder, frames):
    """Hand files of `frames`; returns 0, the number of images among them."""
    cameras = [view.camera for view in _rig(sequence).views]
    for frame in frames:
        person = {"id": sequence.subjects[(frame - FIRST_FRAME) // sequence.frames]}
        for hand in hands_at(sequence, frame):
            person[f"{hand.side}_hand"] = _hand_entry(hand.joints, cameras)
        path = folder / "hdHand3d" / f"handRecon3D_hd{frame:08d}.json"
        path.write_text(json.dumps({"version": 0.5, "people": [person]}))
    return 0


def _write_images(sequence, folder, frames):
    """JPEGs of `frames` from every camera; returns their number."""
    rig = _rig(sequence)
    for frame in frames:
        hands = hands_at(sequence, frame)
        for node, view in enumerate(rig.views):
            image = draw(hands, view, rig.light, [sequence.seed, sequence.index, node, frame])
            name = view.camera.name
            path = folder / "hdImgs" / name / f"{name}_{frame:08d}.jpg"
            if not cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, sequence.jpeg_quality]):
                raise OSError(f"{path}: could not be written")
    return len(frames) * len(rig.views)


def _write_video(sequence, folder, node):
    """The whole video of camera number `node`, empty frames first; returns the number of frames."""
    rig, size = _rig(sequence), (sequence.image_size, sequence.image_size)
    view, last = rig.views[node], sequence.frame_numbers[-1]
    path = folder / "hdVideos" / f"hd_{view.camera.name}.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), sequence.fps, size)
    if not writer.isOpened():
        raise OSError(f"{path}: OpenCV cannot write mp4v video here")
    for frame in range(last + 1):
        hands = hands_at(sequence, frame) if frame >= FIRST_FRAME else []
        image = draw(hands, view, rig.light, [sequence.seed, sequence.index, node, frame])
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return last + 1


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
    rig = _rig(sequence)
    rng = np.random.default_rng([sequence.seed, 404, sequence.index])
    decoys = dome_scene.make_cameras(rng, rig.centre, 2, 480, 900.0)
    decoys = [dataclasses.replace(camera, name=f"01_{k + 1:02d}", width=640) for k, camera in enumerate(decoys)]
    entries = [_calibration_entry(camera, "vga") for camera in decoys]
    entries += [_calibration_entry(view.camera, "hd") for view in rig.views]
    calibration = {"calibDataSource": f"{sequence.name}_calib", "cameras": entries}
    (folder / f"calibration_{sequence.name}.json").write_text(json.dumps(calibration, indent=1))


def plan(*, subjects, **settings):
    """The `Sequence`s of a capture of `subjects` people; further `settings` are those of `Sequence`."""
    sequences = []
    for index, (name, first, stop) in enumerate(SEQUENCES):
        people = tuple(range(first, subjects if stop is None else min(stop, subjects)))
        if people:
            sequences.append(Sequence(name, index, people, **settings))
    return sequences


def _is_complete(sequence, folder):
    """Whether `folder` holds this very sequence. Raises ValueError if it holds another one."""
    if not folder.exists():
        return False
    path = folder / "dome.json"
    if not path.is_file():
        raise ValueError(f"{folder}: exists but has no dome.json; choose another --output or remove it")
    found, wanted = json.loads(path.read_text()), json.loads(json.dumps(dataclasses.asdict(sequence)))
    for field, value in wanted.items():
        if found.get(field) != value:
            message = f"{path}: {field} is {found.get(field)}, but {value} is asked for"
            raise ValueError(f"{message}; choose another --output or remove the folder")
    return True


def _prepare(sequence, folder):
    """An empty tree at `folder` with the calibration; returns the jobs (function, sequence, folder, part)."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "hdHand3d").mkdir(parents=True)
    _write_calibration(sequence, folder)
    numbers = sequence.frame_numbers
    chunks = [numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK)]
    jobs = [(_write_hands, sequence, folder, chunk) for chunk in chunks]
    if sequence.format == "videos":
        (folder / "hdVideos").mkdir()
        return jobs + [(_write_video, sequence, folder, node) for node in range(sequence.num_cameras)]
    for view in _rig(sequence).views:
        (folder / "hdImgs" / view.camera.name).mkdir(parents=True)
    return jobs + [(_write_images, sequence, folder, chunk) for chunk in chunks]


def _run(job):
    cv2.setNumThreads(1)  # the processes share the cores already
    function, *arguments = job
    return function(*arguments)


def _write_subjects(sequences, output):
    partial = output / "subjects.csv.partial"
    with open(partial, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "first_frame", "last_frame", "person_id", "subject"])
        for sequence in sequences:
            for order, subject in enumerate(sequence.subjects):
                first = FIRST_FRAME + order * sequence.frames
                writer.writerow([sequence.name, first, first + sequence.frames - 1, subject, f"S{subject}"])
    os.replace(partial, output / "subjects.csv")


def write(output, sequences, workers=1, progress=False):
    """Writes `sequences` below the folder `output`; returns the number of images written (0 if all were complete).

    Raises ValueError if a sequence exists with other settings.
    """
    output, images = pathlib.Path(output), 0
    todo = [sequence for sequence in sequences if not _is_complete(sequence, output / sequence.name)]
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(workers) if workers > 1 and todo else None
    try:
        for sequence in todo:
            folder = output / f"{sequence.name}.partial"
            jobs = _prepare(sequence, folder)
            done = map(_run, jobs) if pool is None else pool.imap_unordered(_run, jobs)
            for count in tqdm.tqdm(done, sequence.name, len(jobs), unit="job", disable=None if progress else True):
                images += count
            (folder / "dome.json").write_text(json.dumps(dataclasses.asdict(sequence), indent=1))
            os.replace(folder, output / sequence.name)
    finally:
        if pool is not None:
            pool.terminate()
    output.mkdir(parents=True, exist_ok=True)
    _write_subjects(sequences, output)
    return images


def main(arguments):
    """The command."""
    if arguments:
        raise ValueError(f"unexpected argument {arguments[0]!r}: the folder is given by --output")
    start, fields = time.time(), {field.name for field in dataclasses.fields(Sequence)} - {"name", "index", "subjects"}
    sequences = plan(subjects=FLAGS.subjects, **{name: FLAGS[name].value for name in fields})
    images = write(FLAGS.output, sequences, FLAGS.workers, progress=True)
    seconds = time.time() - start
    size = sum(path.stat().st_size for path in pathlib.Path(FLAGS.output).rglob("*") if path.is_file())
    print(f"{images} images in {seconds:.1f} s ({images / seconds:.0f} images/s); {FLAGS.output}: {size / 1e6:.0f} MB")
    print(f"next: python -m tfrecords_tools.build --input={FLAGS.output} --output=RECORDS --fps={FLAGS.fps:g}")


if __name__ == "__main__":
    sys.exit(command.run(main, FLAGS))
