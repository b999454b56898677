"""Arms in space: the region that a measured hand sweeps, and the pose of the idle arm.

An arm with an upper arm of length a and a forearm of length b, whose wrist is at distance d <= a + b from the shoulder
along the unit vector r, bends towards the hint h(r):

    elbow = shoulder + u r + sqrt(a^2 - u^2) h',   u = (d^2 + a^2 - b^2) / (2 d),   h' = h - (h . r) r, normalised

The idle wrist wanders between three places: hanging, raised, and beside the measured hand. Wherever it comes near the
measured arm, it gives way in the same direction w, outwards and down. The whole idle forearm and hand stay beyond a
plane:

    w . x >= max over the measured forearm and hand of (w . p + radius + clearance)

Avoiding the measured arm on the nearest side would be shorter, but the idle arm would jump whenever another side became
the nearest. The same few steps push it out of trunk and head. The pose is a continuous function of the instant alone.
"""

import math

import numpy as np

from tfrecords_tools.dome.person import figure, flesh, hand

SIGNS = {"right": 1.0, "left": -1.0}  # of x in the person frame
SHOULDER = np.array([172.0, -462.0, -8.0])  # right shoulder of a person of median size, person frame, mm
UPPER_ARM = 290.0  # mm from shoulder to elbow of a person of median size
# The region that a measured hand sweeps: a capsule around the first 100 mm beyond the wrist, mm.
HAND_REACH, HAND_RADIUS = 100.0, 110.0
# Choice: free space, mm, between that region and the trunk, and between it and the idle arm.
TRUNK_CLEARANCE, IDLE_CLEARANCE = 135.0, 55.0
# Points along the idle forearm and hand, in forearm lengths from the elbow, and the radii that must stay clear, mm.
_ALONG = np.array([0.3, 0.65, 1.0, 1.25, 1.5, 1.75])
_GIRTH = np.array([50.0, 50.0, 60.0, 80.0, 78.0, 45.0])
_PUSHES, _SOFT = 5, 20.0  # steps; softness in mm
# Shapes between which the idle hand changes slowly, its wrist straight: relaxed, open, a loose fist.
_IDLE_SHAPES = np.array(
    [
        (10, -4, 16, 16, 18, 0, 24, 15, 24, 0, 30, 19, 28, 0, 34, 22, 30, 0, 34, 22, 0, 0),
        (-6, 6, 0, 0, 4, 8, 6, 4, 4, 0, 6, 4, 4, 6, 6, 4, 4, 10, 6, 4, 0, 0),
        (16, -10, 28, 28, 66, 0, 80, 48, 68, 0, 82, 50, 68, 0, 82, 50, 66, 0, 80, 48, 0, 0),
    ],
    np.float64,
)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a X b for [n, 3]. On arrays this small, np.cross would take longer than everything else."""
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], 1)


def gaps(points: np.ndarray, start: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [n, j, 3] from the segments (start, start + axis) [j, 3] to `points` [n, 3], and their lengths [n, j]."""
    offset = points[:, None] - start
    along = np.einsum("njd,jd->nj", offset, axis / (axis * axis).sum(-1, keepdims=True))
    along = np.minimum(np.maximum(along, 0), 1)  # faster than np.clip
    gap = offset - along[..., None] * axis
    return gap, np.sqrt(np.einsum("njd,njd->nj", gap, gap)) + 1e-9


def obstacles(arms: dict[str, np.ndarray], clearance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forearms and swept regions of the measured `arms` {side: elbow and wrist [2, 3] mm} as thick segments.

    Returns their start [j, 3], axis [j, 3] and radius [j], mm. `clearance` (mm) widens the swept regions.
    """
    elbows, wrists = np.array(list(arms.values()), np.float64).transpose(1, 0, 2)
    forearm = wrists - elbows
    beyond = forearm * (HAND_REACH / np.linalg.norm(forearm, axis=1, keepdims=True))
    radius = np.repeat([55.0, HAND_RADIUS + clearance], len(elbows))
    return np.concatenate([elbows, wrists]), np.concatenate([forearm, beyond]), radius


def _bend(shoulder, wrist, lengths, sign):
    """Elbow [3] and wrist [3] (person frame) of an arm with `lengths` (upper arm, forearm) mm.

    A wrist that is too far from the shoulder, or too near, is moved to where the arm can reach it.
    """
    upper, fore = lengths
    reach = wrist - shoulder
    far = math.sqrt(reach @ reach)
    reach = reach / far
    far = min(max(far, 0.5 * (upper + fore)), 0.97 * (upper + fore))
    along = (far**2 + upper**2 - fore**2) / (2 * far)
    # Choice: the elbow points back when the arm hangs, down when it is held forwards, forwards when it is raised, and
    # always a little outwards. The hint vanishes or is parallel to the arm only where no arm can be, so that the elbow
    # never jumps.
    hint = np.array([0.6 * sign, reach[2] + 0.3, -reach[1]])
    aside = hint - (hint @ reach) * reach
    aside = aside * math.sqrt((upper**2 - along**2) / (aside @ aside))
    return shoulder + along * reach + aside, shoulder + far * reach


def _wish(person, sign, shoulder, waves, target):
    """Where the idle wrist would be without obstacles, [3] mm: hanging and swinging, raised, or beside `target` [3].

    `target` is where the measured hand is; all are in the person frame.
    """
    sway = np.array([30, 25, 60]) * waves[9:12]
    hanging = np.array([sign * 90, 480, 60]) + sway
    raised = np.array([-sign * 60, 90, 380]) + 2 * sway
    wish = shoulder + person.scale * (hanging + flesh.ease(waves[4], 0.2, 0.9) * (raised - hanging))
    aside = np.array([sign * 0.9, 0.7 * waves[6], 0.8 * waves[7]])
    beside = target + aside * (270.0 / math.sqrt(aside @ aside))
    share = flesh.ease(waves[5], 0.0, 0.8)
    return wish + share * (beside - wish) + [0, 0, 500 * share * (1 - share)]  # in an arc around the flank


def idle_arm(
    person: figure.Person,
    side: str,
    R: np.ndarray,
    P: np.ndarray,
    arms: dict[str, tuple[np.ndarray, np.ndarray]],
    waves: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Elbow [3] and wrist [3] (world, mm) of the idle arm, which avoids the measured arm and the trunk.

    `R` [3, 3] and `P` [3] mm are the pose of the trunk, `arms` {side: (elbow [3], wrist [3])} mm the measured arms, and
    `waves` [24] in -1..1 the person's slow motion.
    """
    sign = SIGNS[side]
    lengths = (UPPER_ARM * person.scale, hand.forearm_length(person.traits))
    start, axis, radius = obstacles({k: (np.stack(arm) - P) @ R for k, arm in arms.items()}, IDLE_CLEARANCE)
    shoulder = person.scale * SHOULDER * [sign, 1, 1]
    wrist = _wish(person, sign, shoulder, waves, (start + axis)[len(arms) :].mean(0))
    outwards = np.array([0.8 * sign, 0.6, 0.0])
    border = (np.maximum(start @ outwards, (start + axis) @ outwards) + radius).max()
    centres, radii = person.spheres
    for _ in range(_PUSHES):
        elbow, wrist = _bend(shoulder, wrist, lengths, sign)
        points = elbow + _ALONG[:, None] * (wrist - elbow)
        back = np.logaddexp(0, (border + _GIRTH - points @ outwards) / _SOFT) * _SOFT
        gap = points[:, None] - centres
        far = np.sqrt(np.einsum("pkd,pkd->pk", gap, gap))
        push = np.logaddexp(0, (radii + _GIRTH[:, None] - far) / _SOFT) * _SOFT
        # Only what lies beyond the elbow can give way, in proportion to its distance from the elbow.
        push = push * np.minimum(_ALONG, 1)[:, None]
        wrist = wrist + back.max() * outwards + 0.5 * ((push / far)[..., None] * gap).sum((0, 1))
    elbow, wrist = _bend(shoulder, wrist, lengths, sign)
    return R @ elbow + P, R @ wrist + P


def pose_idle_hand(
    person: figure.Person, side: str, elbow: np.ndarray, wrist: np.ndarray, shoulder: np.ndarray, waves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [v, 3] mm and normals [v, 3] of the idle forearm and hand, in the world.

    With the forearm in its neutral position, the thumb points to the shoulder.
    """
    sign = SIGNS[side]
    f = wrist - elbow
    f = f / np.sqrt(f @ f)
    thumb = shoulder - elbow
    thumb = thumb - (thumb @ f) * f
    thumb = thumb / np.sqrt(thumb @ thumb)
    # The palm faces inwards. For a left hand this frame is left-handed, which mirrors the mesh of the right hand.
    palm = sign * cross(thumb[None], f[None])[0]
    roll = np.deg2rad(20 + 40 * waves[14])  # a positive roll rotates the palm down
    c, s = np.cos(roll), np.sin(roll)
    frame = np.stack([c * thumb + s * palm, f, c * palm - s * thumb], 1)
    relaxed, opened, closed = _IDLE_SHAPES
    angles = relaxed + flesh.ease(waves[12], 0.0, 0.75) * (opened - relaxed)
    angles = angles + flesh.ease(waves[13], 0.2, 0.75) * (closed - angles)
    vertices, normals, _ = hand.pose_mesh(person.hand, angles, np.eye(3), np.zeros(3))
    return vertices @ frame.T + wrist, normals @ frame.T
