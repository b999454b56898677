"""A capture: which sequences there are, and what is where at every instant. Draws and writes nothing.

A sequence is a rig, a room, a light, and subjects who follow one another for `frames` instants each:

    frame = FIRST_FRAME + order * frames + step,   time = step / fps

Everything is a pure function of the `Sequence`, whoever asks and in whatever order.
"""

import collections
import dataclasses
import functools
import hashlib
import pathlib

import numpy as np

from hand_tf import geometry, skeleton
from tfrecords_tools.dome import body, hand, motion, people, render, rig, room, views

# Like the paper's three Panoptic sequences: S0..S4 and S5..S8 to train on, S9 and S10 to test on; then more.
SEQUENCES = (("dome_pose1", 0, 5), ("dome_pose2", 5, 9), ("dome_pose3", 9, 11))
_MORE = 8  # subjects of each further sequence
FIRST_FRAME = 100  # annotations start late, as in Panoptic; a video shows the empty scene before
SEPARATION = 250.0  # mm between the two hands' places
# Half the size in mm that a picture shows at the rig's centre, for pictures that are mostly hand.
REACH = {"right": 245.0, "both": 370.0}


@dataclasses.dataclass(frozen=True)
class Sequence:
    """All that decides what a sequence shows. `calibration_sha256` guards against another file of the same name."""

    name: str
    index: int
    subjects: tuple
    frames: int = 400
    fps: float = 29.97
    rig: str = "ring8"
    calibration: str = ""
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


def plan(*, subjects, **settings):
    """The `Sequence`s of a capture of `subjects` people; further `settings` are fields of `Sequence`.

    Raises ValueError or FileNotFoundError for a calibration file that cannot be used.
    """
    if settings.get("calibration"):
        path = pathlib.Path(settings["calibration"])
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such calibration file")
        settings["calibration_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
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
    """The `Studio` of a sequence: cheap, its pictures are not."""
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
    """The `views.View` of camera number `node`: takes seconds for large pictures."""
    cameras, sensors = studio(sequence).cameras, studio(sequence).sensors
    return views.make(_room(sequence), cameras[node], sensors[node], [sequence.seed, 606, sequence.index, node])


def load_view(sequence, node, folder):
    """The same view from the `folder` where `views.save` left it."""
    return views.load(folder, studio(sequence).cameras[node], studio(sequence).sensors[node])


@functools.lru_cache(maxsize=16)
def person_of(seed, index):
    return body.make_person(seed, index)


@functools.lru_cache(maxsize=4)  # a few: each holds a subject's whole motion
def motion_of(sequence, number, side):
    """The motion in the world of a right hand; a left one is mirrored (`skeleton.MIRROR`) and then moved by `place`."""
    moves = motion.motion(sequence.seed, number, side, np.arange(sequence.frames) / sequence.fps)
    place = np.tile(studio(sequence).centre, (sequence.frames, 1))
    if len(sequence.sides) == 2:
        heading = np.deg2rad(moves.heading)
        to_the_right = np.stack([np.sin(heading), np.zeros_like(heading), -np.cos(heading)], 1)
        place += to_the_right * SEPARATION / 2 * (1 if side == "right" else -1)
    return moves, place


@functools.lru_cache(maxsize=4)
def joints_of(sequence, number, side):
    """Joints [frames, 21, 3] mm in the world of one hand of subject `number`."""
    traits = people.traits(sequence.seed, number)
    moves, place = motion_of(sequence, number, side)
    local, _ = hand.forward(traits.bases, traits.lengths, moves.angles)
    joints = np.einsum("nij,nkj->nki", moves.R, local) + moves.t[:, None]
    return (joints @ skeleton.MIRROR if side == "left" else joints) + place[:, None]


def _hand_at(sequence, number, side, step):
    subject = hand.make_subject(sequence.seed, number)
    moves, place = motion_of(sequence, number, side)
    pose = moves.angles[step], moves.R[step], moves.t[step]
    vertices, normals, _ = hand.pose_mesh(subject, *pose)
    elbow, triangles = hand.elbow(subject.traits, *pose), subject.triangles
    if side == "left":  # a mirrored right hand; mirroring turns triangles inside out
        vertices, normals, elbow = (part @ skeleton.MIRROR for part in (vertices, normals, elbow))
        triangles = triangles[:, ::-1]
    joints = joints_of(sequence, number, side)[step]
    move = place[step]
    return Hand(side, vertices + move, normals, triangles, subject.colours, joints, elbow + move)


def hands_at(sequence, frame):
    """The `Hand`s of frame number `frame`."""
    number, step = sequence.place(frame)
    return [_hand_at(sequence, number, side, step) for side in sequence.sides]


def instant(sequence, frame):
    """The `Instant` of frame number `frame`: its mesh is lit, and casts its shadows on the hands."""
    number, step = sequence.place(frame)
    hands = hands_at(sequence, frame)
    parts = [(each.vertices, each.normals, each.triangles, each.colours) for each in hands]
    count = sum(len(each.vertices) for each in hands)
    if sequence.distractor:
        moves, _ = motion_of(sequence, number, "right")
        arms = {each.side: (each.elbow, each.joints[skeleton.ROOT]) for each in hands}
        parts.append(body.pose(person_of(sequence.seed, number), step / sequence.fps, moves.heading[step], arms))
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
