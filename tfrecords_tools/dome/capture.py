"""A capture: its sequences, and where everything is at every instant.

A sequence has a rig, a room, a light, and subjects who follow one another for `frames` instants each:

    frame number = FIRST_FRAME + order * frames + step,   time = step / fps

Everything is a pure function of the `CaptureSequence`, so any process may compute any part of it in any order.
"""

import collections
import dataclasses
import functools
import itertools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hand_tf.core import atomic, geometry, skeleton
from hand_tf.core.errors import InputError
from tfrecords_tools.dome import held, variety
from tfrecords_tools.dome.person import body, contact, hand, motion, people
from tfrecords_tools.dome.random_keys import RandomKey
from tfrecords_tools.dome.studio import render, rig, room, scenes

# As in the paper's three Panoptic sequences: S0..S4 and S5..S8 for training, S9 and S10 for testing; then more.
SEQUENCES = (("dome_pose1", 0, 5), ("dome_pose2", 5, 9), ("dome_pose3", 9, 11))
_MORE = 8  # subjects of each further sequence
FIRST_FRAME = 100  # as in Panoptic, annotations start late; until then a video shows the empty scene
SEPARATION = 250.0  # mm between the positions of the two hands, at least
CLEARANCE = 150.0  # mm between the centre lines of the two forearms and hands, at least
# Half the size in mm that a picture shows at the rig's centre. The hands fill most of it.
REACH = {"right": 245.0, "both": 370.0}


@dataclasses.dataclass(frozen=True)
class CaptureSequence:
    """All settings that decide what a sequence shows.

    Attributes:
        name, index: of the sequence.
        subjects: numbers of its people.
        frames: instants per subject.
        fps: instants per second.
        rig: one of `rig.RIGS`; not used with a calibration.
        calibration: path of a calibration file, or "". The path is not compared: a file is identified by its hash.
        calibration_sha256: of that file.
        num_cameras: 0 for all cameras of the rig.
        width, height: of the pictures, px.
        reach: half of what the shorter side of a picture shows at the centre, mm; 0 for the value in REACH.
        hands: "right" or "both".
        distractor: whether the rest of the person is shown.
        clutter: number of objects in the room.
        seed: of all random numbers.
        varied: what is shown beyond a studio.
    """

    name: str
    index: int
    subjects: tuple[int, ...]
    frames: int = 400
    fps: float = 29.97
    rig: str = "ring8"
    calibration: str = dataclasses.field(default="", compare=False)
    calibration_sha256: str = ""
    num_cameras: int = 0
    width: int = 256
    height: int = 256
    reach: float = 0.0
    hands: str = "right"
    distractor: bool = True
    clutter: int = 8
    seed: int = 0
    varied: variety.Variety = variety.STUDIO

    @property
    def frame_numbers(self) -> range:
        """The frame numbers of all instants."""
        return range(FIRST_FRAME, FIRST_FRAME + self.frames * len(self.subjects))

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides of the measured hands."""
        return skeleton.SIDES if self.hands == "both" else ("right",)

    def place(self, frame: int) -> tuple[int, int]:
        """The subject number, and the step within that subject's motion, of a frame number."""
        order, step = divmod(frame - FIRST_FRAME, self.frames)
        return self.subjects[order], step


# centre [3] mm; list of geometry.Camera; list of rig.Sensor
Studio = collections.namedtuple("Studio", "centre cameras sensors")
# One hand at one instant, in the world: vertices [v, 3] mm, unit normals [v, 3], triangles [m, 3], colours [v, 3] (not
# lit), joints [21, 3] mm, elbow [3] mm
PosedHand = collections.namedtuple("PosedHand", "side vertices normals triangles colours joints elbow")
# One instant: the lit mesh of everything that moves; the hands; the number of vertices of hands, which come first
Instant = collections.namedtuple("Instant", "mesh hands hand_vertices")


def settings_of(sequence: CaptureSequence) -> dict[str, Any]:
    """All that decides a sequence, as plain JSON values."""
    values = dataclasses.asdict(sequence)
    values = {field.name: values[field.name] for field in dataclasses.fields(sequence) if field.compare}
    return json.loads(json.dumps(values))


def plan(*, subjects: int, **settings: Any) -> list[CaptureSequence]:
    """The sequences of a capture of `subjects` people; `settings` are further fields of `CaptureSequence`.

    Raises FileNotFoundError if there is no such calibration file.
    """
    if settings.get("calibration"):
        path = pathlib.Path(settings["calibration"]).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"{settings['calibration']}: no such calibration file")
        settings |= {"calibration": str(path), "calibration_sha256": atomic.sha256(path)}
    ranges = list(SEQUENCES)
    while ranges[-1][2] < subjects:
        ranges.append((f"dome_more{len(ranges) - 2}", ranges[-1][2], ranges[-1][2] + _MORE))
    sequences = []
    for index, (name, first, stop) in enumerate(ranges):
        members = tuple(range(first, min(stop, subjects)))
        if members:
            sequences.append(CaptureSequence(name, index, members, **settings))
    return sequences


@functools.lru_cache(maxsize=8)
def studio(sequence: CaptureSequence) -> Studio:
    """Cameras and sensors of a sequence. This takes little time, unlike the pictures that they take.

    Raises ValueError if a calibration file cannot be used, or has changed since the capture was planned.
    """
    if sequence.calibration and atomic.sha256(sequence.calibration) != sequence.calibration_sha256:
        raise InputError(f"{sequence.calibration}: changed while it was in use")
    centre, cameras = rig.make_cameras(
        sequence.rig,
        sequence.seed,
        sequence.index,
        (sequence.width, sequence.height),
        sequence.reach or REACH[sequence.hands],
        sequence.num_cameras,
        sequence.calibration or None,
        sequence.varied,
    )
    sensors = rig.make_sensors(sequence.seed, sequence.index, len(cameras), sequence.varied.sensors)
    return Studio(centre, cameras, sensors)


@functools.lru_cache(maxsize=2)
def _room(sequence):
    centre, cameras, _ = studio(sequence)
    return room.make_room(sequence.seed, sequence.index, centre, sequence.clutter, cameras)


@functools.lru_cache(maxsize=8)
def light(sequence: CaptureSequence, number: int) -> render.Light:
    """The light on subject `number` of a sequence. A studio's key light comes from the first lamp of the room."""
    studio_light = render.make_light(_room(sequence).lamps[0, :3])
    if sequence.varied.light == "studio":
        return studio_light
    rng = np.random.default_rng([sequence.seed, RandomKey.LIGHT, sequence.index, number])
    return render.vary_light(studio_light, rng)


def make_view(sequence: CaptureSequence, node: int) -> scenes.View:
    """The view of camera number `node`. This takes seconds for large pictures."""
    _, cameras, sensors = studio(sequence)
    key = [sequence.seed, RandomKey.VIEW_NOISE, sequence.index, node]
    return scenes.make(_room(sequence), cameras[node], sensors[node], key)


def write_scene(sequence: CaptureSequence, node: int, folder: str | os.PathLike) -> None:
    """Makes the view of camera number `node` and saves it in `folder` for all processes that draw pictures."""
    scenes.save(make_view(sequence, node), folder)


@functools.lru_cache(maxsize=128)
def load_view(sequence: CaptureSequence, node: int, folder: str | os.PathLike) -> scenes.View:
    """The view that `write_scene` saved in `folder`."""
    _, cameras, sensors = studio(sequence)
    return scenes.load(folder, cameras[node], sensors[node])


def shown_by(joints: np.ndarray, cameras: Sequence[geometry.Camera]) -> np.ndarray:
    """Which of `joints` [21, 3] mm lie in the frame of which camera, [cameras, 21] bool."""
    return np.stack([geometry.inside(geometry.project(joints, camera), camera) for camera in cameras])


@functools.lru_cache(maxsize=16)
def person_of(seed: int, index: int) -> body.Person:
    """`body.make_person`, cached."""
    return body.make_person(seed, index)


def _about_origin(points, moves, side):
    """`points` [frames, k, 3] of the hand frame, moved by the motion `moves` about the origin, mirrored if left."""
    points = np.einsum("nij,nkj->nki", moves.R, points) + moves.t[:, None]
    return points @ skeleton.MIRROR if side == "left" else points


def _centre_line(sequence, number, side, moves):
    """Elbow, wrist and tip of the middle finger [frames, 3, 3] mm of a hand that moves about the origin."""
    traits = people.traits(sequence.seed, number)
    local, bones = hand.forward(traits.bases, traits.lengths, moves.angles)
    elbow = -hand.forearm_length(traits) * bones[:, hand.FOREARM, :, 1]
    line = np.stack([elbow, local[:, skeleton.ROOT], local[:, skeleton.FINGERS["middle"][-1]]], 1)
    return _about_origin(line, moves, side)


def _keep_apart(lines, right):
    """How far [frames] mm the right hand moves to the person's right, and the left hand to the left, to keep apart.

    `lines` are the centre lines [frames, 3, 3] mm of the left and the right hand, `right` [frames, 3] is the unit
    vector to the person's right. Each frame is computed by itself; the result is continuous because distances are.
    """
    apart = np.full(len(right), SEPARATION / 2)
    for _ in range(6):
        gaps = []
        for i, j in itertools.product(range(2), range(2)):
            u, v = np.diff(lines[0], axis=1)[:, i].T, np.diff(lines[1], axis=1)[:, j].T
            r = (lines[0][:, i] - lines[1][:, j] - 2 * apart[:, None] * right).T
            s, t = contact.nearest(u, v, r)
            gaps.append(np.linalg.norm(r + s * u - t * v, axis=0))
        apart = apart + np.maximum(CLEARANCE - np.min(gaps, 0), 0) / 2
    return apart


@functools.lru_cache(maxsize=4)  # few, because each holds the whole motion of a subject
def motions(sequence: CaptureSequence, number: int) -> dict[str, tuple[motion.Motion, np.ndarray]]:
    """The motion of each hand of subject `number`, and where it takes place: {side: (motion, place [frames, 3] mm)}.

    The motion is that of a right hand about the origin. A left hand is mirrored (`skeleton.MIRROR`), then placed.
    """
    times = np.arange(sequence.frames) / sequence.fps
    moves = {side: motion.motion(sequence.seed, number, side, times, sequence.varied.arms) for side in sequence.sides}
    places = dict.fromkeys(sequence.sides, np.tile(studio(sequence).centre, (sequence.frames, 1)))
    if len(moves) == 2:
        heading = np.deg2rad(moves["right"].heading)
        right = np.stack([np.sin(heading), np.zeros_like(heading), -np.cos(heading)], 1)
        lines = [_centre_line(sequence, number, side, moves[side]) for side in ("left", "right")]
        shift = _keep_apart(lines, right)[:, None] * right
        places = {side: places[side] + (shift if side == "right" else -shift) for side in places}
    return {side: (moves[side], places[side]) for side in sequence.sides}


@functools.lru_cache(maxsize=4)
def joints_of(sequence: CaptureSequence, number: int, side: str) -> np.ndarray:
    """Joints [frames, 21, 3] mm of one hand of subject `number`, in the world."""
    traits = people.traits(sequence.seed, number)
    moves, place = motions(sequence, number)[side]
    local, _ = hand.forward(traits.bases, traits.lengths, moves.angles)
    return _about_origin(local, moves, side) + place[:, None]


def rounded(joints: np.ndarray) -> np.ndarray:
    """`joints` [..., 3] mm with the precision of a hand file: centimetres with five decimals."""
    return np.round(np.asarray(joints) / 10, 5) * 10


def _hand_at(sequence, number, side, step):
    subject = hand.make_subject(sequence.seed, number)
    moves, place = motions(sequence, number)[side]
    pose = moves.angles[step], moves.R[step], moves.t[step]
    vertices, normals, _ = hand.pose_mesh(subject, *pose)
    elbow, triangles = hand.elbow(subject.traits, *pose), subject.triangles
    if side == "left":  # mirroring turns triangles inside out, so their vertices are reversed
        vertices, normals, elbow = (part @ skeleton.MIRROR for part in (vertices, normals, elbow))
        triangles = triangles[:, ::-1]
    joints = joints_of(sequence, number, side)[step]
    return PosedHand(side, vertices + place[step], normals, triangles, subject.colours, joints, elbow + place[step])


def hands_at(sequence: CaptureSequence, frame: int) -> list[PosedHand]:
    """The measured hands at frame number `frame`."""
    number, step = sequence.place(frame)
    return [_hand_at(sequence, number, side, step) for side in sequence.sides]


def person_at(sequence: CaptureSequence, frame: int, hands: Sequence[PosedHand]) -> body.Mesh:
    """The unlit mesh of the rest of the person to whom `hands` belong, at frame number `frame`."""
    number, step = sequence.place(frame)
    heading = motions(sequence, number)["right"][0].heading[step]
    arms = {each.side: (each.elbow, each.joints[skeleton.ROOT]) for each in hands}
    floor = studio(sequence).centre[1] + room.FLOOR
    return body.pose(person_of(sequence.seed, number), step / sequence.fps, heading, arms, floor)


def _object_at(sequence, number, step):
    """The unlit mesh of the object at the right hand of subject `number`, or None."""
    varied = sequence.varied
    if not varied.held_objects:
        return None
    hold = int(step / sequence.fps / held.HOLD)
    rng = np.random.default_rng([sequence.seed, RandomKey.HELD, number, hold])
    if rng.random() >= varied.held_objects:
        return None
    moves, place = motions(sequence, number)["right"]
    mesh = held.draw(rng, people.traits(sequence.seed, number))
    R = moves.R[step]
    vertices = mesh.vertices @ R.T + moves.t[step] + place[step]
    return mesh._replace(vertices=vertices, normals=mesh.normals @ R.T)


def vertices_of(shown: Instant, side: str) -> slice:
    """The vertices of the hand of this `side` in the mesh of an instant."""
    start = 0
    for each in shown.hands:
        if each.side == side:
            return slice(start, start + len(each.vertices))
        start += len(each.vertices)
    raise ValueError(f"no {side} hand")


def instant(sequence: CaptureSequence, frame: int) -> Instant:
    """Everything that moves at frame number `frame`, lit, with shadows on the hands."""
    hands, (number, step) = hands_at(sequence, frame), sequence.place(frame)
    parts = [(each.vertices, each.normals, each.triangles, each.colours) for each in hands]
    count = sum(len(each.vertices) for each in hands)
    if sequence.distractor:
        parts.append(person_at(sequence, frame, hands))
    thing = _object_at(sequence, number, step)
    if thing is not None:
        parts.append(thing)
    offsets = np.cumsum([0] + [len(part[0]) for part in parts[:-1]])
    triangles = np.concatenate([part[2] + offset for part, offset in zip(parts, offsets, strict=True)])
    triangles = np.ascontiguousarray(triangles, np.int32)
    vertices, normals, colours = (np.concatenate([part[i] for part in parts]) for i in (0, 1, 3))
    lit = render.shadows(vertices, normals, triangles, light(sequence, number), slice(0, count))
    lit_colours = render.shade(normals, colours, light(sequence, number), lit)
    return Instant(render.Mesh(vertices, triangles, lit_colours), hands, count)
