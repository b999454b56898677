"""The person to whom the hand belongs: torso, head and legs, the upper arms, and the other arm when nobody measures it.

Person frame (mm): origin between the hips, +x to the person's right, +y down, +z forward. At heading h, in degrees,

    H(h) = [right, down, forward],   forward = (cos h, 0, sin h),   right = forward X up = (sin h, 0, -cos h)
    X = R x + P,   R = H(h + yaw) Rx(pitch) Rz(roll)

The person follows the measured arms, not the other way round: P and the three angles are the regularised least-squares
solution that puts the shoulders an upper arm's length above and behind the given elbows, stands upright, faces h, and
keeps spheres that fill the trunk and the head (centre c, radius r) clear of the arms' axes:

    min  sum_i (|S_i - e_i| - L)^2 / s^2  +  priors  +  sum_kj softplus(margin_j + r_k - |p_k - segment_j|)^2

Gauss-Newton steps of bounded length from a closed-form start, up to convergence, make the placement a continuous
function of the instant alone: no state, no filter over frames.
"""

import dataclasses

import numpy as np

from tfrecords_tools.dome import figure, hand, limbs, people
from tfrecords_tools.dome.figure import Mesh

_SHOULDER = np.array([172.0, -462.0, -8.0])
_NECK = np.array([0.0, -585.0, 0.0])
_STRIDE = 100.0  # mm; longer steps are shortened smoothly
_STEPS = 14
_CONVERGED = 0.03  # mm; far below what continuity in time would show
# Of the mesh of the hand that nobody measures.
_IDLE_SPACING = 2.6
# mm: softness of the clearance, and standard deviations of clearance, upper arm's length and its direction.
_SOFT, _TRUNK_SIGMA, _LENGTH_SIGMA, _OFFSET_SIGMA = 12.0, 9.0, 16.0, 150.0

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

    `carried` [v, 12] are the weights on legs, trunk and head times the homogeneous vertices, `carried_normals` [v, 9]
    those times the normals: posing is one product each. `tube` is a unit upper arm: position along its axis [v], that
    of its ends in mm [v], cross section [v, 2] mm, unit normals [v, 3]. `surface` maps the measured sides to the
    triangles and colours of a posed mesh.
    """

    traits: people.Traits
    scale: float
    body: Mesh
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
    rng = np.random.default_rng([seed, 606, index])
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
    waves = np.stack([rng.uniform(0.03, 0.12, 24), rng.uniform(0, 1, 24)], 1)
    surface = _surfaces([(body.triangles, body.colours), arm, arm], idle)
    homogeneous = np.concatenate([body.vertices, np.ones((len(weights), 1))], 1)
    carried = [(weights[:, :, None] * v[:, None]).reshape(len(v), -1) for v in (homogeneous, body.normals)]
    return Person(traits, scale, body, *carried, (*tube, tube_normals), idle, spheres, waves, surface)


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


def frame(heading):
    """H(h) [3, 3]: columns right, down, forward in the world for a heading in degrees."""
    c, s = np.cos(np.deg2rad(heading)), np.sin(np.deg2rad(heading))
    return np.array([[s, 0, c], [0, 1, 0], [-c, 0, s]])


def _attitude(H, angles):
    """R [3, 3] for (yaw, pitch, roll) in radians, and the world axes [3, 3] (columns) that they turn about."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    # Yaw adds to the heading, which turns about up; positive pitch leans back, positive roll to the right.
    turned = H @ np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    pitched = turned @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    axes = np.stack([-H[:, 1], turned[:, 0], pitched[:, 2]], 1)
    return pitched @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]), axes


def _rest_pose(person, H, arms, waves):
    """Where the shoulders would like to be, from the elbow, [n, 3] mm (world), and their places in the body [n, 3]."""
    signs = np.array([limbs.SIDES[side] for side in arms])
    forearms = np.array([wrist - elbow for elbow, wrist in arms.values()]) @ H
    level = forearms[:, 1] / np.linalg.norm(forearms, axis=1)
    # Choice: the upper arm rises forwards as the forearm points up (-down), and hangs when it points down.
    raised, aside = np.deg2rad(36 - 26 * level + 10 * waves[15]), np.deg2rad(-10 + 16 * waves[16])
    back = np.sin(raised) * np.cos(aside)
    offset = np.stack([-signs * np.sin(aside) * np.ones_like(back), -np.cos(raised), -back], 1)
    places = person.scale * _SHOULDER * np.stack([signs, signs**2, signs**2], 1)
    return limbs.UPPER_ARM * person.scale * offset @ H.T, places


def _place(person, heading, arms, waves):
    """R [3, 3] and P [3] of the trunk that carries the arms {side: (elbow, wrist)}; see the module's equations."""
    H = frame(heading)
    elbows = np.array([elbow for elbow, _ in arms.values()], np.float64)
    offset, places = _rest_pose(person, H, arms, waves)
    start, axis, reach = limbs.obstacles(arms, limbs.TRUNK_CLEARANCE)
    centres, radii = person.spheres
    margin = radii[:, None] + reach
    rest = np.deg2rad([8.0, 3.0, 2.0]) * waves[:3]
    state = np.concatenate([(elbows + offset - places @ _attitude(H, rest)[0].T).mean(0), rest])
    prior = np.concatenate([np.zeros(3), 1 / np.deg2rad([30.0, 14.0, 8.0])])
    for _ in range(_STEPS):
        R, axes = _attitude(H, state[3:])
        arm, trunk = places @ R.T, centres @ R.T
        upper = arm + state[:3] - elbows
        length = np.sqrt((upper * upper).sum(1))
        gap, far = limbs.gaps(trunk + state[:3], start, axis)
        short = (margin - far) / _SOFT
        push = np.logaddexp(0, short)
        pull = (1 / (1 + np.exp(-short)) / -_TRUNK_SIGMA)[..., None] * gap / far[..., None]
        value = np.concatenate(
            [
                (length - limbs.UPPER_ARM * person.scale) / _LENGTH_SIGMA,
                (upper - offset).ravel() / _OFFSET_SIGMA,
                push.ravel() * (_SOFT / _TRUNK_SIGMA),
            ]
        )
        normal = np.concatenate(
            [
                upper / (length[:, None] * _LENGTH_SIGMA),
                np.tile(np.eye(3) / _OFFSET_SIGMA, (len(arm), 1)),
                pull.reshape(-1, 3),
            ]
        )
        lever = np.concatenate([arm, np.repeat(arm, 3, 0), np.repeat(trunk, len(start), 0)])
        J = np.concatenate([normal, limbs.cross(lever, normal) @ axes], 1)
        stray = np.concatenate([np.zeros(3), state[3:] - rest])
        gradient = value @ J + prior**2 * stray
        step = np.linalg.solve(J.T @ J + np.diag(prior**2), gradient)
        far = np.sqrt((step * step * [1, 1, 1, 9e4, 9e4, 9e4]).sum())  # mm, at 300 mm from the hips
        state = state - step / (1 + far / _STRIDE)
        if far < _CONVERGED:
            break
    return _attitude(H, state[3:])[0], state[:3]


def _head_turn(R, P, person, arms):
    """Rotation [3, 3] of the head against the trunk: it looks towards the measured hands, some way."""
    target = np.mean([wrist for _, wrist in arms.values()], axis=0)
    look = (target - P) @ R - person.scale * _NECK
    look = look / np.linalg.norm(look)
    (c, d), (s, q) = np.cos(0.6 * look[:2]), np.sin(0.6 * look[:2] * [1, 0.4])
    d = np.sqrt(1 - q * q)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array([[1, 0, 0], [0, d, q], [0, -q, d]])


def _pose_body(person, R, P, upright, turn):
    """Vertices and normals of trunk, legs (turned by `upright` [3, 3]) and head (turned by `turn` about the neck)."""
    neck = person.scale * _NECK
    bones = np.stack([upright, R, R @ turn]).transpose(0, 2, 1)
    shifts = np.stack([P, P, P + R @ (neck - turn @ neck)])[:, None]
    vertices = person.carried @ np.concatenate([bones, shifts], 1).reshape(12, 3)
    normals = person.carried_normals @ bones.reshape(9, 3)
    return vertices, normals / np.sqrt((normals * normals).sum(1, keepdims=True))


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


def pose(person, time, heading, arms):
    """The person's `Mesh` at `time` s, facing `heading` degrees, with `arms` {side: (elbow [3], wrist [3])} given.

    Forearms and hands of the given arms are drawn by others; the side that is missing gets a whole arm of its own.
    """
    arms = {side: tuple(np.asarray(point, np.float64) for point in arms[side]) for side in limbs.SIDES if side in arms}
    waves = _waves(person, time)
    R, P = _place(person, heading, arms, waves)
    turn = _head_turn(R, P, person, arms)
    pieces = [_pose_body(person, R, P, frame(heading), turn)]
    idle = []
    for side, sign in limbs.SIDES.items():
        shoulder = P + R @ (person.scale * _SHOULDER * [sign, 1, 1])
        if side in arms:
            elbow = arms[side][0]
        else:
            elbow, wrist = limbs.idle_arm(person, side, R, P, shoulder, arms, waves)
            idle.append(limbs.pose_idle_hand(person, side, elbow, wrist, shoulder, waves))
        pieces.append(_pose_tube(person, elbow, shoulder, R))
    vertices, normals = (np.concatenate(column) for column in zip(*pieces, *idle, strict=True))
    return Mesh(vertices, normals, *person.surface[tuple(sorted(arms))])
