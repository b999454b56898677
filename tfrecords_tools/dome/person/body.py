"""The person to whom a hand belongs: trunk, head, legs and upper arms; and the idle arm if only one hand is captured.

A *measured* arm is one whose hand is captured: its elbow and wrist are given, and the person is posed to fit. An *idle*
arm belongs to the hand that is not captured.

Person frame (mm): origin between the hips, +x to the person's right, +y down, +z forward. Module `stance` finds a pose
X = R x + P of the trunk that fits the measured arms, and legs that reach the floor from there.
"""

import math

import numpy as np

from tfrecords_tools.dome.person import figure, hand, limbs, people, stance
from tfrecords_tools.dome.person.figure import Mesh, Person
from tfrecords_tools.dome.random_keys import RandomKey

_NECK = np.array([0.0, -585.0, 0.0])
# Mesh spacing of the idle hand.
_IDLE_SPACING = 2.6

# Spheres that fill trunk and head: centre and radius at median size. Those beside the middle plane have a mirror image.
_SPHERES = (
    ((0, -726, -4), 96),
    ((0, -645, 42), 62),
    ((0, -560, 0), 60),
    ((150, -462, -10), 60),
    ((78, -410, 2), 108),
    ((0, -385, 4), 110),
    ((68, -300, 6), 106),
    ((58, -210, 6), 104),
    ((60, -90, 0), 106),
    ((72, 10, -8), 106),
)


def make_person(seed: int, index: int) -> Person:
    """Person number `index`, a pure function of `(seed, index)`; this takes some tenths of a second."""
    traits = people.traits(seed, index)
    rng = np.random.default_rng([seed, RandomKey.BODY, index])
    # Choice: bodies vary less than hands do.
    scale = float(1 + 0.7 * (traits.length / people.MEDIAN_LENGTH - 1))
    # Clothes and arms have the mean colours of the hand's mesh: at this distance its patterns blur.
    idle = hand.make_subject(seed, index, spacing=_IDLE_SPACING)
    above = idle.vertices[:, 1] - traits.sleeve.edge
    covered, skin = above < -20, idle.colours[(above > 10) & (idle.vertices[:, 2] < 0)].mean(0)
    shirt = idle.colours[covered].mean(0) if covered.any() else traits.sleeve.colour
    body, weights = figure.make_body(traits, scale, shirt, skin, rng)
    tube, tube_normals, *arm = figure.make_tube(traits, scale, shirt, skin)
    centres, radii = (np.array(column, np.float64) for column in zip(*figure.with_mirror_images(_SPHERES), strict=True))
    spheres = (centres * figure.stretch_of(traits, scale), radii * scale * max(1.0, traits.thickness))
    waves = np.stack([rng.uniform(0.03, 0.1, 24), rng.uniform(0, 1, 24)], 1)
    surface = _surfaces([(body.triangles, body.colours), arm, arm], idle)
    homogeneous = np.concatenate([body.vertices, np.ones((len(weights), 1))], 1)
    weighted = [(weights[:, :, None] * v[:, None]).reshape(len(v), -1) for v in (homogeneous, body.normals)]
    sole = float(body.vertices[:, 1].max())
    return Person(traits, scale, body, sole, *weighted, (*tube, tube_normals), idle, spheres, waves, surface)


def _surfaces(parts, idle):
    """{measured sides: (triangles, colours)} of body, right and left upper arm, and the idle hand if there is one."""
    surfaces = {}
    for sides in (("left", "right"), ("right",), ("left",)):
        pieces = list(parts)
        if len(sides) == 1:  # beside a measured right hand the idle one is a mirrored left: its triangles are reversed
            pieces.append((idle.triangles[:, ::-1] if sides[0] == "right" else idle.triangles, idle.colours))
        starts = np.cumsum([0] + [len(colours) for _, colours in pieces[:-1]])
        triangles = np.concatenate([faces + first for (faces, _), first in zip(pieces, starts, strict=True)])
        surfaces[sides] = (triangles.astype(np.int32), np.concatenate([colours for _, colours in pieces]))
    return surfaces


def _waves(person, time):
    """The slow sines [24] at `time` s."""
    return np.sin(2 * np.pi * (person.waves[:, 0] * time + person.waves[:, 1]))


def _head_rotation(R, P, person, arms):
    """Rotation [3, 3] of the head against the trunk: partly towards the measured hands."""
    target = np.mean([wrist for _, wrist in arms.values()], axis=0)
    look = (target - P) @ R - person.scale * _NECK
    look = look / np.linalg.norm(look)
    turn, nod = 0.6 * look[0], 0.24 * look[1]
    c, s, d, q = math.cos(turn), math.sin(turn), math.cos(nod), math.sin(nod)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array([[1, 0, 0], [0, d, q], [0, -q, d]])


def _pose_body(person, R, P, legs, head):
    """Vertices and normals of `legs` (see `stance.legs`), trunk and head (rotated by `head` [3, 3] about the neck)."""
    neck = person.scale * _NECK
    rotations, shifts, scale = legs
    bones = np.stack([*rotations, R, R @ head]).transpose(0, 2, 1)
    maps = np.concatenate([bones, np.stack([*shifts, P, P + R @ (neck - head @ neck)])[:, None]], 1)
    maps[:3, 1] *= scale[:, None]
    normals = person.weighted_normals @ bones.reshape(-1, 3)
    normals /= np.sqrt(np.einsum("vi,vi->v", normals, normals))[:, None]
    return person.weighted_vertices @ maps.reshape(-1, 3), normals


def _pose_tube(person, elbow, shoulder, R):
    """Vertices and normals of the upper arm from `elbow` [3] to `shoulder` [3]."""
    fraction, end, flat, normals = person.tube
    axis = shoulder - elbow
    length = np.sqrt(axis @ axis)
    axis = axis / length
    upright = R * [1, -1, -1]  # right, up, back
    # The smallest rotation that takes the trunk's up to the arm's axis. It is singular only if the shoulder is straight
    # below the elbow.
    x, y, z = limbs.cross(upright[None, :, 1], axis[None])[0]
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = (np.eye(3) + K + K @ K / (1 + upright[:, 1] @ axis)) @ upright
    local = np.stack([flat[:, 0], fraction * length + end, flat[:, 1]], 1)
    return local @ rotation.T + elbow, normals @ rotation.T


def pose(
    person: Person,
    time: float,
    heading: float,
    arms: dict[str, tuple[np.ndarray, np.ndarray]],
    floor: float | None = None,
) -> Mesh:
    """The person's mesh at `time` s, facing `heading` degrees, with the measured `arms` {side: (elbow, wrist)} [3] mm.

    Forearms and hands of the measured arms are not part of the mesh; a side that is missing gets a whole arm. The feet
    stand where y is `floor` (world, mm) if the legs can reach it; without a floor the legs hang straight down.
    """
    arms = {side: tuple(np.asarray(point, np.float64) for point in arms[side]) for side in limbs.SIGNS if side in arms}
    waves = _waves(person, time)
    R, P = stance.place(person, heading, arms, waves, floor)
    legs = stance.legs(person, stance.frame(heading), P, floor)
    pieces, idle = [_pose_body(person, R, P, legs, _head_rotation(R, P, person, arms))], []
    for side, sign in limbs.SIGNS.items():
        shoulder = P + R @ (person.scale * limbs.SHOULDER * [sign, 1, 1])
        if side in arms:
            elbow = arms[side][0]
        else:
            elbow, wrist = limbs.idle_arm(person, side, R, P, arms, waves)
            idle.append(limbs.pose_idle_hand(person, side, elbow, wrist, shoulder, waves))
        pieces.append(_pose_tube(person, elbow, shoulder, R))
    vertices, normals = (np.concatenate(column) for column in zip(*pieces, *idle, strict=True))
    return Mesh(vertices, normals, *person.surface[tuple(sorted(arms))])
