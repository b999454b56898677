"""Arms in space: the region that a measured hand sweeps, and the arm that nobody measures.

An arm of upper length a and forearm b, whose wrist is at distance d <= a + b from the shoulder along the unit vector r,
bends towards the hint h:

    elbow = shoulder + u r + sqrt(a^2 - u^2) h',   u = (d^2 + a^2 - b^2) / (2 d),   h' = h - (h . r) r, normalised

The idle wrist wanders between hanging, raised and beside the measured hand, and is pushed out of whatever the forearm
or the hand would touch: a fixed number of relaxation steps, so that it is a continuous function of the instant.
"""

import numpy as np

from tfrecords_tools.dome import hand

SIDES = {"right": 1.0, "left": -1.0}
# Upper arm (shoulder to elbow joint), mm, of a person of median size, and how far the region reaches
# that measured hands sweep: a capsule about the 100 mm beyond the wrist.
UPPER_ARM, HAND_REACH, HAND_RADIUS = 290.0, 100.0, 110.0
# Choice: free air, mm, between that region and the trunk, and between it and the other arm.
TRUNK_CLEARANCE, IDLE_CLEARANCE = 130.0, 120.0
# Points along the idle forearm and hand, in forearm lengths from the elbow, and what they must stay clear by, mm.
_ALONG = np.array([0.3, 0.65, 1.0, 1.25, 1.5, 1.75])
_GIRTH = np.array([50.0, 50.0, 60.0, 80.0, 78.0, 45.0])
_PUSHES = 6
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
    along = np.clip((offset * axis).sum(-1) / (axis * axis).sum(-1), 0, 1)
    gap = offset - along[..., None] * axis
    return gap, np.sqrt((gap * gap).sum(-1)) + 1e-9


def obstacles(arms, clearance):
    """Forearms and swept hands of the measured arms as segments: start [j, 3], axis [j, 3], radius [j] mm."""
    elbows, wrists = np.array(list(arms.values()), np.float64).transpose(1, 0, 2)
    forearm = wrists - elbows
    beyond = forearm * (HAND_REACH / np.linalg.norm(forearm, axis=1, keepdims=True))
    radius = np.repeat([55.0, HAND_RADIUS + clearance], len(elbows))
    return np.concatenate([elbows, wrists]), np.concatenate([forearm, beyond]), radius


def _ease(wave, rest):
    """Smooth share in 0..1 for a `wave` in -1..1 that stays at 0 while the wave is below `rest`."""
    s = np.clip((wave - rest) / (0.75 - rest), 0, 1)
    return s * s * (3 - 2 * s)


def _bend(shoulder, wrist, lengths, hint):
    """Elbow [3] and wrist [3] of an arm of `lengths` (upper, fore) mm that bends towards `hint`; a far wrist is cut."""
    upper, fore = lengths
    reach = wrist - shoulder
    far = np.sqrt(reach @ reach)
    reach = reach / far
    far = np.clip(far, 0.5 * (upper + fore), 0.97 * (upper + fore))
    along = (far**2 + upper**2 - fore**2) / (2 * far)
    aside = hint - (hint @ reach) * reach
    aside = aside * np.sqrt((upper**2 - along**2) / (aside @ aside))
    return shoulder + along * reach + aside, shoulder + far * reach


def _wish(person, sign, shoulder, R, waves, target):
    """Where the idle wrist would go, [3] mm: hanging and swinging, raised in front, or beside the measured hand."""
    sway = np.array([30, 25, 60]) * waves[9:12]
    hanging = np.array([sign * 70, 480, 60]) + sway
    raised = np.array([-sign * 60, 90, 380]) + 2 * sway
    local = person.scale * (hanging + _ease(waves[4], 0.2) * (raised - hanging))
    wish = shoulder + R @ local
    aside = np.array([sign * 0.9, 0.7 * waves[6], 0.8 * waves[7]])
    beside = target + R @ aside * (320.0 / np.sqrt(aside @ aside))
    return wish + _ease(waves[5], 0.1) * (beside - wish)


def idle_arm(person, side, R, P, shoulder, arms, waves):
    """Elbow [3] and wrist [3] of the arm that nobody measures; it gives way to the measured one, trunk and head."""
    sign = SIDES[side]
    lengths = (UPPER_ARM * person.scale, hand.forearm_length(person.traits))
    start, axis, radius = obstacles(arms, IDLE_CLEARANCE + 20)  # the pushes below are soft
    target = (start + axis)[len(arms) :].mean(0)
    wrist = _wish(person, sign, shoulder, R, waves, target)
    hint = R @ np.array([sign * 0.55, 0.75, -0.45])
    centres, radii = person.spheres
    short = np.broadcast_to([0, 1e-3, 0], centres.shape)
    start, axis = np.concatenate([start, centres @ R.T + P]), np.concatenate([axis, short])
    radius = np.concatenate([radius, radii])
    for _ in range(_PUSHES):
        elbow, wrist = _bend(shoulder, wrist, lengths, hint)
        points = elbow + _ALONG[:, None] * (wrist - elbow)
        gap, far = gaps(points, start, axis)
        push = 8.0 * np.logaddexp(0, (radius + _GIRTH[:, None] - far) / 8.0)
        # Only the parts beyond the elbow can give way, the more the farther out they are.
        push = push * np.minimum(_ALONG, 1)[:, None]
        count = 0.5 + (push.max(1) / (push.max(1) + 4.0)).sum()  # of the points in the way, in a continuous manner
        wrist = wrist + 1.2 * ((push / far)[..., None] * gap).sum((0, 1)) / count
    return _bend(shoulder, wrist, lengths, hint)


def pose_idle_hand(person, side, elbow, wrist, shoulder, waves):
    """Vertices and normals of the idle forearm and hand; the forearm neutral, so the thumb points to the shoulder."""
    sign = SIDES[side]
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
    angles = relaxed + _ease(waves[12], 0.0) * (opened - relaxed)
    angles = angles + _ease(waves[13], 0.2) * (closed - angles)
    vertices, normals, _ = hand.pose_mesh(person.hand, angles, np.eye(3), np.zeros(3))
    return vertices @ turn.T + wrist, normals @ turn.T
