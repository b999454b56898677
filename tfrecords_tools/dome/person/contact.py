"""How deep a hand presses into itself: tapered capsules along the phalanges and in the palm, and poses that avoid it.

Two segments p = a + s u and q = b + t v (s, t in 0..1), r = a - b, are nearest where

    s = clip(((u.v)(v.r) - (u.r)(v.v)) / ((u.u)(v.v) - (u.v)^2)),   t = clip(((u.v) s + v.r) / v.v),
    s = clip(((u.v) t - u.r) / u.u),     penetration = radius_a(s) + radius_b(t) - |p - q|

The radii are those at the nearest points of the axes; beside a tapering finger the deepest press, somewhat towards its
thick end, can be up to 1 mm more.

`settle` changes joint angles x as little as it can until every penetration P is within the bound: with J = dP/dx by
differences and the excess e = max(0, P - bound), damped least squares takes x <- x - (J'J + damping)^-1 J'e.
"""

import numpy as np

from hand_tf.core import skeleton
from tfrecords_tools.dome.person import hand

# Choice: finger pads and the thumb's ball give about 3 mm before a press looks like one finger inside another.
BOUND = 3.0
# How deep a pad that is meant to touch (a pinch) presses, mm, and how soft the settling's least squares is, mm^2/deg^2.
_TOUCH, _DAMPING = 1.0, 0.02
_STEPS = 7
_BLOCK = 64
_FINGERS = np.array(list(skeleton.FINGERS.values()))
_FINGER = np.append(np.repeat(np.arange(5), 3), [5] * 4)  # of capsules: 15 phalanges, then the palm under four fingers
_PHALANX = np.append(np.tile(np.arange(3), 5), range(4))
# The wrist ends of the palm's capsules (x, y, z), as shares of the middle finger's metacarpal; their radii in mm.
_CARPALS = np.array([[0.13, 0.1, 0], [0.05, 0.1, 0], [-0.04, 0.1, 0], [-0.13, 0.1, 0.01]])
_PALM_RADII = np.array([[13.0, 10.5], [13.0, 10.5], [13.0, 10.0], [13.0, 9.5]])


def _may_meet(i, j):
    """Whether capsules i < j can press into each other: fingers lie side by side, and their roots are in the palm.

    The joints' limits keep a finger out of itself.
    """
    (f, k), (g, m) = (_FINGER[i], _PHALANX[i]), (_FINGER[j], _PHALANX[j])
    if g == 5:
        return f < 5 and k > 0
    side_by_side = f > 0 and g - f == 1 and k == m == 0
    return f != g and not side_by_side


PAIRS = np.array([(i, j) for i in range(19) for j in range(i + 1, 19) if _may_meet(i, j)]).T
# Which row of PAIRS holds the thumb's last phalanx and that of finger 1..4.
_PADS = np.array([np.flatnonzero((PAIRS[0] == 2) & (PAIRS[1] == 3 * f + 2))[0] for f in range(1, 5)])
# Settling moves these: the thumb's four angles; of a finger flexion, abduction, and PIP, which takes DIP along.
_MOVES = np.zeros((16, hand.NUM_ANGLES))
_MOVES[np.arange(4), np.arange(4)] = 1
for _finger in range(1, 5):
    _MOVES[3 * _finger + 1 + np.arange(3), 4 * _finger + np.arange(3)] = 1
    _MOVES[3 * _finger + 3, 4 * _finger + 3] = 2 / 3


def _capsules(traits, angles):
    """Starts and axes [3, 19, n] mm in the hand frame, and radii [19, 2] mm of the capsules of n poses."""
    joints, _ = hand.forward(traits.bases, traits.lengths, angles)
    chains = joints[:, _FINGERS]
    starts, axes = chains[:, :, :3], np.diff(chains, axis=2)
    # As in the mesh, the last capsule ends before the joint at the tip, which lies inside the skin.
    axes[:, :, 2] *= (1 - 0.5 * traits.radii[:, 3] / traits.lengths[:, 2])[:, None]
    carpals = _CARPALS * np.linalg.norm(traits.bases[2])
    palm = np.broadcast_to(np.stack([carpals, traits.bases[1:] - carpals]), (len(angles), 2, 4, 3))
    starts = np.concatenate([starts.reshape(-1, 15, 3), palm[:, 0]], 1)
    axes = np.concatenate([axes.reshape(-1, 15, 3), palm[:, 1]], 1)
    phalanges = np.stack([traits.radii[:, :3], traits.radii[:, 1:]], -1).reshape(15, 2)
    starts, axes = (np.ascontiguousarray(part.transpose(2, 1, 0), np.float32) for part in (starts, axes))
    return starts, axes, np.concatenate([phalanges, _PALM_RADII * traits.thickness]).astype(np.float32)


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def nearest(u, v, r):
    """Where two segments a + s u and b + t v come closest: s and t [...] in 0..1, with r = a - b; all [3, ...]."""
    uu, vv, uv, ur, vr = _dot(u, u), _dot(v, v), _dot(u, v), _dot(u, r), _dot(v, r)
    s = np.clip((uv * vr - ur * vv) / np.maximum(uu * vv - uv * uv, 1e-3), 0, 1)
    t = np.clip((uv * s + vr) / vv, 0, 1)
    return np.clip((uv * t - ur) / uu, 0, 1), t


def _presses(starts, axes, radii):
    """Penetration [pairs, n] mm of capsules with `starts` and `axes` [3, 19, n] mm and `radii` [19, 2] mm."""
    i, j = PAIRS
    u, v, r = axes[:, i], axes[:, j], starts[:, i] - starts[:, j]
    s, t = nearest(u, v, r)
    gap = r + s * u - t * v
    start, slope = radii[:, :1], np.diff(radii)
    return start[i] + start[j] + slope[i] * s + slope[j] * t - np.sqrt(_dot(gap, gap))


def penetrations(traits, angles):
    """How deep each pair of PAIRS presses into each other in poses `angles` [n, 22] degrees: [pairs, n] mm."""
    starts, axes, radii = _capsules(traits, angles)
    # In blocks that fit a core's cache, which is a third faster.
    blocks = np.array_split(np.arange(len(angles)), -(-len(angles) // _BLOCK))
    return np.concatenate([_presses(starts[..., b], axes[..., b], radii) for b in blocks], 1)


def penetration(traits, angles):
    """The deepest press [...] mm of poses `angles` [..., 22] degrees of a hand; negative where nothing touches."""
    angles = np.asarray(angles, np.float64)
    return penetrations(traits, angles.reshape(-1, hand.NUM_ANGLES)).max(0).reshape(angles.shape[:-1])


def path_penetration(traits, paths):
    """The deepest press [...] mm along `paths` [..., samples, 22] degrees, between the samples too.

    Fingertips can brush past each other within an interval. As they pass, a press over time is concave, so the lines
    through the two samples on either side of the interval cross above it: at slopes a and b towards it from p and q,

        (p b + q a + a b) / (a + b)
    """
    paths = np.asarray(paths, np.float64)
    press = penetrations(traits, paths.reshape(-1, hand.NUM_ANGLES)).reshape(-1, *paths.shape[:-1])
    p, q, rise = press[..., 1:-2], press[..., 2:-1], np.diff(press)
    a, b = np.maximum(rise[..., :-2], 0), np.maximum(-rise[..., 2:], 0)
    between = (p * b + q * a + a * b) / np.maximum(a + b, 1e-6)
    between[(a == 0) | (b == 0)] = -np.inf
    return np.maximum(press.max((0, -1)), between.max((0, -1)))


def _excess(traits, angles, bound, touch):
    """Residuals [pairs, n] mm: what exceeds the bound, and how far the pads of finger `touch` [n] are from touching."""
    press = penetrations(traits, angles)
    excess = np.maximum(press - bound, 0)
    pads = np.flatnonzero(touch > 0)
    rows = _PADS[touch[pads] - 1]
    excess[rows, pads] = press[rows, pads] - _TOUCH
    return excess


def settle(traits, angles, bound, touch):
    """Poses near `angles` [n, 22] whose presses are within `bound` mm, if a few small steps lead there.

    `touch` [n] int: the finger (1 index .. 4 little) whose tip the thumb's tip shall meet, 0 for none.
    """
    count, moves = len(angles), len(_MOVES)
    for _ in range(_STEPS):
        probes = np.concatenate([angles[None], angles + _MOVES[:, None]])
        excess = _excess(traits, probes.reshape(-1, hand.NUM_ANGLES), bound, np.tile(touch, moves + 1))
        excess = excess.reshape(-1, moves + 1, count).transpose(2, 0, 1)
        here, slope = excess[:, :, 0], excess[:, :, 1:] - excess[:, :, :1]
        normal = slope.transpose(0, 2, 1) @ slope + _DAMPING * np.eye(moves)
        step = np.linalg.solve(normal, slope.transpose(0, 2, 1) @ here[..., None])[..., 0]
        angles = np.clip(angles - np.clip(step, -10, 10) @ _MOVES, *hand.LIMITS.T)
    return angles
