"""The person to whom the hand belongs: torso, head and legs, the upper arms, and the other arm when nobody measures it.

Person frame (mm): origin between the hips, +x to the person's right, +y down, +z forward. Module `stance` finds the
place X = R x + P of a trunk that carries the measured arms, and legs that reach the floor from there.
"""

import dataclasses
import math

import numpy as np

from tfrecords_tools.dome.person import figure, hand, limbs, people, stance
from tfrecords_tools.dome.person.figure import Mesh
from tfrecords_tools.dome.random_keys import Salt

_NECK = np.array([0.0, -585.0, 0.0])
# Of the mesh of the hand that nobody measures.
_IDLE_SPACING = 2.6

# Spheres that fill the trunk and the head: centre and radius at median size; those off the middle have a twin.
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


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """A body at rest (person frame), its arms, and the constants of its slow motion.

    `sole` is how far below the hips the feet stand at rest, mm. `carried` [v, 20] are the weights on thighs, shins,
    feet, trunk and head times the homogeneous vertices, `carried_normals` [v, 15] those times the normals: posing is
    one product each. `tube` is a unit upper arm: position along its axis [v], that of its ends in mm [v], cross section
    [v, 2] mm, unit normals [v, 3]. `surface` maps the measured sides to the triangles and colours of a posed mesh.
    """

    traits: people.Traits
    scale: float
    body: Mesh
    sole: float
    carried: np.ndarray
    carried_normals: np.ndarray
    tube: tuple
    hand: hand.Subject
    spheres: tuple
    waves: np.ndarray
    surface: dict


def make_person(seed, index):
    """The person number `index`, a pure function of `(seed, index)`; takes some tenths of a second."""
    traits = people.traits(seed, index)
    rng = np.random.default_rng([seed, Salt.BODY, index])
    # Choice: bodies vary less than hands do.
    scale = float(1 + 0.7 * (traits.length / people.MEDIAN_LENGTH - 1))
    # Clothes and arms take their colours from the hand's mesh, whose patterns blur into them at this distance.
    idle = hand.make_subject(seed, index, spacing=_IDLE_SPACING)
    above = idle.vertices[:, 1] - traits.sleeve.edge
    covered, skin = above < -20, idle.colours[(above > 10) & (idle.vertices[:, 2] < 0)].mean(0)
    shirt = idle.colours[covered].mean(0) if covered.any() else traits.sleeve.colour
    body, weights = figure.make_body(traits, scale, shirt, skin, rng)
    tube, tube_normals, *arm = figure.make_tube(traits, scale, shirt, skin)
    centres, radii = (np.array(column, np.float64) for column in zip(*figure.twins(_SPHERES), strict=True))
    spheres = (centres * figure.build(traits, scale), radii * scale * max(1.0, traits.thickness))
    waves = np.stack([rng.uniform(0.03, 0.1, 24), rng.uniform(0, 1, 24)], 1)
    surface = _surfaces([(body.triangles, body.colours), arm, arm], idle)
    homogeneous = np.concatenate([body.vertices, np.ones((len(weights), 1))], 1)
    carried = [(weights[:, :, None] * v[:, None]).reshape(len(v), -1) for v in (homogeneous, body.normals)]
    sole = float(body.vertices[:, 1].max())
    return Person(traits, scale, body, sole, *carried, (*tube, tube_normals), idle, spheres, waves, surface)


def _surfaces(parts, idle):
    """{measured sides: (triangles, colours)} of trunk, right and left upper arm, and the idle hand if one is left."""
    surfaces = {}
    for sides in (("left", "right"), ("right",), ("left",)):
        pieces = list(parts)
        if len(sides) == 1:  # a right hand is measured: the idle one is left, mirrored, so its triangles turn over
            pieces.append((idle.triangles[:, ::-1] if sides[0] == "right" else idle.triangles, idle.colours))
        starts = np.cumsum([0] + [len(colours) for _, colours in pieces[:-1]])
        triangles = np.concatenate([faces + first for (faces, _), first in zip(pieces, starts, strict=True)])
        surfaces[sides] = (triangles.astype(np.int32), np.concatenate([colours for _, colours in pieces]))
    return surfaces


def _waves(person, time):
    """Slow sines [24] of `time` s, each with its own rate and phase."""
    return np.sin(2 * np.pi * (person.waves[:, 0] * time + person.waves[:, 1]))


def _head_turn(R, P, person, arms):
    """Rotation [3, 3] of the head against the trunk: it looks towards the measured hands, some way."""
    target = np.mean([wrist for _, wrist in arms.values()], axis=0)
    look = (target - P) @ R - person.scale * _NECK
    look = look / np.linalg.norm(look)
    turn, nod = 0.6 * look[0], 0.24 * look[1]
    c, s, d, q = math.cos(turn), math.sin(turn), math.cos(nod), math.sin(nod)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array([[1, 0, 0], [0, d, q], [0, -q, d]])


def _pose_body(person, R, P, legs, turn):
    """Vertices and normals of `legs` (as by `stance.legs`), trunk and head (turned by `turn` [3, 3] about the neck)."""
    neck = person.scale * _NECK
    turns, shifts, scale = legs
    bones = np.stack([*turns, R, R @ turn]).transpose(0, 2, 1)
    places = np.concatenate([bones, np.stack([*shifts, P, P + R @ (neck - turn @ neck)])[:, None]], 1)
    places[:3, 1] *= scale[:, None]
    normals = person.carried_normals @ bones.reshape(-1, 3)
    normals /= np.sqrt(np.einsum("vi,vi->v", normals, normals))[:, None]
    return person.carried @ places.reshape(-1, 3), normals


def _pose_tube(person, elbow, shoulder, R):
    """Vertices and normals of the upper arm from `elbow` to `shoulder` [3]."""
    fraction, end, flat, normals = person.tube
    axis = shoulder - elbow
    length = np.sqrt(axis @ axis)
    axis = axis / length
    upright = R * [1, -1, -1]  # right, up, back
    # The smallest turn that takes the trunk's up to the arm's axis; it is singular only for an arm straight up.
    x, y, z = limbs.cross(upright[None, :, 1], axis[None])[0]
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = (np.eye(3) + K + K @ K / (1 + upright[:, 1] @ axis)) @ upright
    local = np.stack([flat[:, 0], fraction * length + end, flat[:, 1]], 1)
    return local @ turn.T + elbow, normals @ turn.T


def pose(person, time, heading, arms, floor=None):
    """The person's `Mesh` at `time` s, facing `heading` degrees, with `arms` {side: (elbow [3], wrist [3])} given.

    Forearms and hands of the given arms are drawn by others; the side that is missing gets a whole arm of its own. The
    feet stand where y is `floor` (world, mm) if legs can reach it, or hang straight from the hips without one.
    """
    arms = {side: tuple(np.asarray(point, np.float64) for point in arms[side]) for side in limbs.SIGNS if side in arms}
    waves = _waves(person, time)
    R, P = stance.place(person, heading, arms, waves, floor)
    legs = stance.legs(person, stance.frame(heading), P, floor)
    pieces, idle = [_pose_body(person, R, P, legs, _head_turn(R, P, person, arms))], []
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
