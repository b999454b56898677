"""A capture: which sequences there are, and what is where at every instant.

A sequence is a rig, a room, a light, and subjects who follow one another for `frames` instants each:

    frame = FIRST_FRAME + order * frames + step,   time = step / fps

Everything is a pure function of the `Sequence`, whoever asks and in whatever order.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib

import numpy as np

from hand_tf.core import geometry, skeleton
from tfrecords_tools.dome import random_keys
from tfrecords_tools.dome.person import body, contact, hand, motion, people
from tfrecords_tools.dome.studio import render, rig, room, scenes

# Like the paper's three Panoptic sequences: S0..S4 and S5..S8 to train on, S9 and S10 to test on; then more.
SEQUENCES = (("dome_pose1", 0, 5), ("dome_pose2", 5, 9), ("dome_pose3", 9, 11))
_MORE = 8  # subjects of each further sequence
FIRST_FRAME = 100  # annotations start late, as in Panoptic; a video shows the empty scene before
SEPARATION = 250.0  # mm between the two hands' places, and more where they would meet:
CLEARANCE = 150.0  # mm between the middle lines of forearms and hands
# Half the size in mm that a picture shows at the rig's centre, for pictures that are mostly hand.
REACH = {"right": 245.0, "both": 370.0}


@dataclasses.dataclass(frozen=True)
class Sequence:
    """All that decides what a sequence shows; what a calibration file holds is known by its hash."""

    name: str
    index: int
    subjects: tuple
    frames: int = 400
    fps: float = 29.97
    rig: str = "ring8"
    calibration: str = dataclasses.field(default="", compare=False)  # where the file lies does not matter
    calibration_sha256: str = ""
    num_cameras: int = 0
    width: int = 256
    height: int = 256
    reach: float = 0.0
    hands: str = "right"
    distractor: bool = True
    clutter: int = 8
    seed: int = 0

    @property
    def frame_numbers(self):
        return range(FIRST_FRAME, FIRST_FRAME + self.frames * len(self.subjects))

    @property
    def sides(self):
        return skeleton.SIDES if self.hands == "both" else ("right",)

    def place(self, frame):
        """(subject number, step in its motion) of a frame number."""
        order, step = divmod(frame - FIRST_FRAME, self.frames)
        return self.subjects[order], step


# centre [3] mm, cameras and sensors of a sequence
Studio = collections.namedtuple("Studio", "centre cameras sensors")
# One hand of an instant: mesh and joints in the world, mm; elbow [3]
Hand = collections.namedtuple("Hand", "side vertices normals triangles colours joints elbow")
# An instant: lit mesh of everything that moves, the hands, and how many of the mesh's vertices belong to hands (first)
Instant = collections.namedtuple("Instant", "mesh hands hand_vertices")


def _sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def settings_of(sequence):
    """What decides a sequence, as plain JSON values."""
    fields = (field.name for field in dataclasses.fields(sequence) if field.compare)
    return json.loads(json.dumps({name: getattr(sequence, name) for name in fields}))


def plan(*, subjects, **settings):
    """The `Sequence`s of a capture of `subjects` people; further `settings` are fields of `Sequence`.

    Raises ValueError or FileNotFoundError for a calibration file that cannot be used.
    """
    if settings.get("calibration"):
        path = pathlib.Path(settings["calibration"]).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"{settings['calibration']}: no such calibration file")
        settings |= {"calibration": str(path), "calibration_sha256": _sha256(path)}
    ranges = list(SEQUENCES)
    while ranges[-1][2] < subjects:
        ranges.append((f"dome_more{len(ranges) - 2}", ranges[-1][2], ranges[-1][2] + _MORE))
    sequences = []
    for index, (name, first, stop) in enumerate(ranges):
        members = tuple(range(first, min(stop, subjects)))
        if members:
            sequences.append(Sequence(name, index, members, **settings))
    return sequences


@functools.lru_cache(maxsize=8)
def studio(sequence):
    """The `Studio` of a sequence: cheap, its pictures are not.

    Raises ValueError if the calibration file is not what it was when the capture was planned.
    """
    if sequence.calibration and _sha256(sequence.calibration) != sequence.calibration_sha256:
        raise ValueError(f"{sequence.calibration}: changed while it was in use")
    centre, cameras = rig.make_cameras(
        sequence.rig,
        sequence.seed,
        sequence.index,
        (sequence.width, sequence.height),
        sequence.reach or REACH[sequence.hands],
        sequence.num_cameras,
        sequence.calibration or None,
    )
    sensors = rig.make_sensors(sequence.seed, sequence.index, len(cameras))
    return Studio(centre, cameras, sensors)


@functools.lru_cache(maxsize=2)
def _room(sequence):
    centre, cameras, *_ = studio(sequence)
    return room.make_room(sequence.seed, sequence.index, centre, sequence.clutter, cameras)


@functools.lru_cache(maxsize=8)
def light(sequence):
    """The `render.Light` of a sequence: its key comes from the room's first lamp."""
    return render.make_light(_room(sequence).lamps[0, :3])


def make_view(sequence, node):
    """The `scenes.View` of camera number `node`: takes seconds for large pictures."""
    cameras, sensors = studio(sequence).cameras, studio(sequence).sensors
    return scenes.make(
        _room(sequence),
        cameras[node],
        sensors[node],
        [sequence.seed, random_keys.Salt.VIEW_NOISE, sequence.index, node],
    )


def write_scene(sequence, node, folder):
    """Makes the view of camera number `node` and saves it in `folder`, for all processes that draw into it."""
    scenes.save(make_view(sequence, node), folder)


@functools.lru_cache(maxsize=128)
def load_view(sequence, node, folder):
    """The view that `write_scene` left in `folder`."""
    return scenes.load(folder, studio(sequence).cameras[node], studio(sequence).sensors[node])


@functools.lru_cache(maxsize=16)
def person_of(seed, index):
    return body.make_person(seed, index)


def _turned(points, moves, side):
    """`points` [frames, k, 3] of the hand frame as a hand in motion has them, mirrored if left, before it is placed."""
    points = np.einsum("nij,nkj->nki", moves.R, points) + moves.t[:, None]
    return points @ skeleton.MIRROR if side == "left" else points


def _middle_line(sequence, number, side, moves):
    """Elbow, wrist and middle finger tip [frames, 3, 3] of one hand, mirrored if left, before it is placed."""
    traits = people.traits(sequence.seed, number)
    local, bones = hand.forward(traits.bases, traits.lengths, moves.angles)
    elbow = -hand.forearm_length(traits) * bones[:, hand.FOREARM, :, 1]
    line = np.stack([elbow, local[:, skeleton.ROOT], local[:, skeleton.FINGERS["middle"][-1]]], 1)
    return _turned(line, moves, side)


def _keep_apart(lines, right):
    """How far to the person's right [frames] mm the right hand goes, and the left one to the left, to leave room.

    `lines` are the middle lines [frames, 3, 3] of the left and the right hand, `right` [frames, 3] points to the right.
    Pointwise in time and continuous, since distances are.
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


@functools.lru_cache(maxsize=4)  # a few: each holds a subject's whole motion
def motions(sequence, number):
    """{side: (motion, place [frames, 3] mm)} of subject `number`.

    The motion is a right hand's about the origin; a left one is mirrored (`skeleton.MIRROR`) and then placed.
    """
    times = np.arange(sequence.frames) / sequence.fps
    moves = {side: motion.motion(sequence.seed, number, side, times) for side in sequence.sides}
    places = dict.fromkeys(sequence.sides, np.tile(studio(sequence).centre, (sequence.frames, 1)))
    if len(moves) == 2:
        heading = np.deg2rad(moves["right"].heading)
        right = np.stack([np.sin(heading), np.zeros_like(heading), -np.cos(heading)], 1)
        lines = [_middle_line(sequence, number, side, moves[side]) for side in ("left", "right")]
        shift = _keep_apart(lines, right)[:, None] * right
        places = {side: places[side] + (shift if side == "right" else -shift) for side in places}
    return {side: (moves[side], places[side]) for side in sequence.sides}


@functools.lru_cache(maxsize=4)
def joints_of(sequence, number, side):
    """Joints [frames, 21, 3] mm in the world of one hand of subject `number`."""
    traits = people.traits(sequence.seed, number)
    moves, place = motions(sequence, number)[side]
    local, _ = hand.forward(traits.bases, traits.lengths, moves.angles)
    return _turned(local, moves, side) + place[:, None]


def _hand_at(sequence, number, side, step):
    subject = hand.make_subject(sequence.seed, number)
    moves, place = motions(sequence, number)[side]
    pose = moves.angles[step], moves.R[step], moves.t[step]
    vertices, normals, _ = hand.pose_mesh(subject, *pose)
    elbow, triangles = hand.elbow(subject.traits, *pose), subject.triangles
    if side == "left":  # a mirrored right hand; mirroring turns triangles inside out
        vertices, normals, elbow = (part @ skeleton.MIRROR for part in (vertices, normals, elbow))
        triangles = triangles[:, ::-1]
    joints = joints_of(sequence, number, side)[step]
    return Hand(side, vertices + place[step], normals, triangles, subject.colours, joints, elbow + place[step])


def hands_at(sequence, frame):
    """The `Hand`s of frame number `frame`."""
    number, step = sequence.place(frame)
    return [_hand_at(sequence, number, side, step) for side in sequence.sides]


def person_at(sequence, frame, hands):
    """The rest of the person of frame number `frame`: a `body.Mesh`, not lit."""
    number, step = sequence.place(frame)
    heading = motions(sequence, number)["right"][0].heading[step]
    arms = {each.side: (each.elbow, each.joints[skeleton.ROOT]) for each in hands}
    floor = studio(sequence).centre[1] + room.FLOOR
    return body.pose(person_of(sequence.seed, number), step / sequence.fps, heading, arms, floor)


def instant(sequence, frame):
    """The `Instant` of frame number `frame`: its mesh is lit, with shadows on the hands."""
    hands = hands_at(sequence, frame)
    parts = [(each.vertices, each.normals, each.triangles, each.colours) for each in hands]
    count = sum(len(each.vertices) for each in hands)
    if sequence.distractor:
        parts.append(person_at(sequence, frame, hands))
    offsets = np.cumsum([0] + [len(part[0]) for part in parts[:-1]])
    triangles = np.concatenate([part[2] + offset for part, offset in zip(parts, offsets, strict=True)])
    triangles = np.ascontiguousarray(triangles, np.int32)
    vertices, normals, colours = (np.concatenate([part[i] for part in parts]) for i in (0, 1, 3))
    lit = render.shadows(vertices, normals, triangles, light(sequence), slice(0, count))
    lit_colours = render.shade(normals, colours, light(sequence), lit)
    return Instant(render.Mesh(vertices, triangles, lit_colours), hands, count)


def rounded(joints):
    """Joints [..., 3] mm as a hand file holds them: centimetres with five decimals."""
    return np.round(np.asarray(joints) / 10, 5) * 10


def shown_by(joints, cameras):
    """[cameras, 21] bool: which joints [21, 3] mm lie in the frame of which camera."""
    return np.stack([geometry.inside(geometry.project(joints, camera), camera) for camera in cameras])
