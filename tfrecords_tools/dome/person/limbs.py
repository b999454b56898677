"""Arms in space: the region that a measured hand sweeps, and the arm that nobody measures.

An arm of upper length a and forearm b, whose wrist is at distance d <= a + b from the shoulder along the unit vector r,
bends towards the hint h(r):

    elbow = shoulder + u r + sqrt(a^2 - u^2) h',   u = (d^2 + a^2 - b^2) / (2 d),   h' = h - (h . r) r, normalised

The idle wrist wanders between hanging, raised and beside the measured hand. It gives way to the measured arm in one
direction w only, outwards and down, however it came near: all of the idle forearm and hand stays beyond a plane,

    w . x >= max over the measured forearm and hand of (w . p + radius + clearance)

Going round the nearest side instead would save some way, but jump when another side becomes the nearest. The same few
steps push it out of trunk and head, so that it is a continuous function of the instant alone.
"""

import math

import numpy as np

from tfrecords_tools.dome.person import flesh, hand

SIGNS = {"right": 1.0, "left": -1.0}  # of x in the person frame
SHOULDER = np.array([172.0, -462.0, -8.0])  # the right one of a person of median size, person frame, mm
# Upper arm (shoulder to elbow joint), mm, of a person of median size, and how far the region reaches
# that measured hands sweep: a capsule about the 100 mm beyond the wrist.
UPPER_ARM, HAND_REACH, HAND_RADIUS = 290.0, 100.0, 110.0
# Choice: free air, mm, between that region and the trunk, and between it and the other arm.
TRUNK_CLEARANCE, IDLE_CLEARANCE = 135.0, 55.0
# Points along the idle forearm and hand, in forearm lengths from the elbow, and what they must stay clear by, mm.
_ALONG = np.array([0.3, 0.65, 1.0, 1.25, 1.5, 1.75])
_GIRTH = np.array([50.0, 50.0, 60.0, 80.0, 78.0, 45.0])
_PUSHES, _SOFT = 5, 20.0  # _SOFT in mm
# Slow shapes of the hand that nobody measures (the wrist stays straight): relaxed, open, a loose fist.
_IDLE_SHAPES = np.array(
    [
        (10, -4, 16, 16, 18, 0, 24, 15, 24, 0, 30, 19, 28, 0, 34, 22, 30, 0, 34, 22, 0, 0),
        (-6, 6, 0, 0, 4, 8, 6, 4, 4, 0, 6, 4, 4, 6, 6, 4, 4, 10, 6, 4, 0, 0),
        (16, -10, 28, 28, 66, 0, 80, 48, 68, 0, 82, 50, 68, 0, 82, 50, 66, 0, 80, 48, 0, 0),
    ],
    np.float64,
)


def cross(a, b):
    """a X b for [n, 3]; np.cross takes longer than all the rest on arrays this small."""
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], 1)


def gaps(points, start, axis):
    """Vectors [n, j, 3] from the segments (start, start + axis) [j, 3] to `points` [n, 3], and their lengths."""
    offset = points[:, None] - start
    along = np.einsum("njd,jd->nj", offset, axis / (axis * axis).sum(-1, keepdims=True))
    along = np.minimum(np.maximum(along, 0), 1)  # np.clip takes longer
    gap = offset - along[..., None] * axis
    return gap, np.sqrt(np.einsum("njd,njd->nj", gap, gap)) + 1e-9


def obstacles(arms, clearance):
    """Forearms and swept hands of the measured arms as segments: start [j, 3], axis [j, 3], radius [j] mm."""
    elbows, wrists = np.array(list(arms.values()), np.float64).transpose(1, 0, 2)
    forearm = wrists - elbows
    beyond = forearm * (HAND_REACH / np.linalg.norm(forearm, axis=1, keepdims=True))
    radius = np.repeat([55.0, HAND_RADIUS + clearance], len(elbows))
    return np.concatenate([elbows, wrists]), np.concatenate([forearm, beyond]), radius


def _bend(shoulder, wrist, lengths, sign):
    """Elbow [3] and wrist [3] (person frame) of an arm of `lengths` (upper, fore) mm; a far or near wrist is moved."""
    upper, fore = lengths
    reach = wrist - shoulder
    far = math.sqrt(reach @ reach)
    reach = reach / far
    far = min(max(far, 0.5 * (upper + fore)), 0.97 * (upper + fore))
    along = (far**2 + upper**2 - fore**2) / (2 * far)
    # Choice: elbows go back when the arm hangs, down when it is held forwards, forwards when it is up, and outwards.
    # The hint vanishes or points along the arm only where no arm goes, so that elbows do not change sides in a leap.
    hint = np.array([0.6 * sign, reach[2] + 0.3, -reach[1]])
    aside = hint - (hint @ reach) * reach
    aside = aside * math.sqrt((upper**2 - along**2) / (aside @ aside))
    return shoulder + along * reach + aside, shoulder + far * reach


def _wish(person, sign, shoulder, waves, target):
    """Where the idle wrist would go, [3] mm: hanging and swinging, raised in front, or beside the measured hand."""
    sway = np.array([30, 25, 60]) * waves[9:12]
    hanging = np.array([sign * 90, 480, 60]) + sway
    raised = np.array([-sign * 60, 90, 380]) + 2 * sway
    wish = shoulder + person.scale * (hanging + flesh.ease(waves[4], 0.2, 0.9) * (raised - hanging))
    aside = np.array([sign * 0.9, 0.7 * waves[6], 0.8 * waves[7]])
    beside = target + aside * (270.0 / math.sqrt(aside @ aside))
    share = flesh.ease(waves[5], 0.0, 0.8)
    return wish + share * (beside - wish) + [0, 0, 500 * share * (1 - share)]  # in an arc round the flank


def idle_arm(person, side, R, P, arms, waves):
    """Elbow [3] and wrist [3] (world, mm) of the arm that nobody measures; it gives way to the measured one and trunk.

    `R` [3, 3] and `P` [3] mm are the trunk's place, `arms` {side: (elbow [3], wrist [3])} the measured ones.
    """
    sign = SIGNS[side]
    lengths = (UPPER_ARM * person.scale, hand.forearm_length(person.traits))
    start, axis, radius = obstacles({k: (np.stack(arm) - P) @ R for k, arm in arms.items()}, IDLE_CLEARANCE)
    shoulder = person.scale * SHOULDER * [sign, 1, 1]
    wrist = _wish(person, sign, shoulder, waves, (start + axis)[len(arms) :].mean(0))
    outwards = np.array([0.8 * sign, 0.6, 0.0])
    border = np.maximum(start @ outwards, (start + axis) @ outwards) + radius
    border, (centres, radii) = border.max(), person.spheres
    for _ in range(_PUSHES):
        elbow, wrist = _bend(shoulder, wrist, lengths, sign)
        points = elbow + _ALONG[:, None] * (wrist - elbow)
        back = np.logaddexp(0, (border + _GIRTH - points @ outwards) / _SOFT) * _SOFT
        gap = points[:, None] - centres
        far = np.sqrt(np.einsum("pkd,pkd->pk", gap, gap))
        push = np.logaddexp(0, (radii + _GIRTH[:, None] - far) / _SOFT) * _SOFT
        # Only the parts beyond the elbow can give way, the more the farther out they are.
        push = push * np.minimum(_ALONG, 1)[:, None]
        wrist = wrist + back.max() * outwards + 0.5 * ((push / far)[..., None] * gap).sum((0, 1))
    elbow, wrist = _bend(shoulder, wrist, lengths, sign)
    return R @ elbow + P, R @ wrist + P


def pose_idle_hand(person, side, elbow, wrist, shoulder, waves):
    """Vertices and normals of the idle forearm and hand; the forearm neutral, so the thumb points to the shoulder."""
    sign = SIGNS[side]
    f = wrist - elbow
    f = f / np.sqrt(f @ f)
    thumb = shoulder - elbow
    thumb = thumb - (thumb @ f) * f
    thumb = thumb / np.sqrt(thumb @ thumb)
    # The palm faces the other side; a left hand is a right hand's mirror image, which this frame of its own makes it.
    palm = sign * cross(thumb[None], f[None])[0]
    roll = np.deg2rad(20 + 40 * waves[14])  # positive turns the palm down
    c, s = np.cos(roll), np.sin(roll)
    turn = np.stack([c * thumb + s * palm, f, c * palm - s * thumb], 1)
    relaxed, opened, closed = _IDLE_SHAPES
    angles = relaxed + flesh.ease(waves[12], 0.0, 0.75) * (opened - relaxed)
    angles = angles + flesh.ease(waves[13], 0.2, 0.75) * (closed - angles)
    vertices, normals, _ = hand.pose_mesh(person.hand, angles, np.eye(3), np.zeros(3))
    return vertices @ turn.T + wrist, normals @ turn.T
