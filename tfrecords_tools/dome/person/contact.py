"""How deeply the parts of a hand penetrate each other, and how to correct poses in which they do.

The flesh is approximated by tapered capsules along the phalanges and in the palm. Two segments p = a + s u and
q = b + t v (s, t in 0..1) with r = a - b are closest where

    s = clip(((u.v)(v.r) - (u.r)(v.v)) / ((u.u)(v.v) - (u.v)^2)),   t = clip(((u.v) s + v.r) / v.v),
    s = clip(((u.v) t - u.r) / u.u),     penetration = radius_a(s) + radius_b(t) - |p - q|

The radii are taken at the closest points of the axes. Beside a tapered finger the true maximum lies a little towards
its thick end and can be up to 1 mm deeper.

`settle` changes the joint angles x as little as possible until every penetration P is within the bound. With the excess
e = max(0, P - bound) and J = de/dx from finite differences, it takes a few damped least-squares steps
x <- x - (J'J + damping)^-1 J'e.
"""

import numpy as np

from hand_tf.core import skeleton
from tfrecords_tools.dome.person import hand, people

# Choice: finger pads and the ball of the thumb yield about 3 mm; deeper, one finger seems to be inside the other.
BOUND = 3.0
_TOUCH = 1.0  # mm; how deep pads that are meant to touch (a pinch) press into each other
_DAMPING = 0.02  # mm^2/deg^2
_STEPS = 7
_BLOCK = 64
_FINGERS = np.array(list(skeleton.FINGERS.values()))
# For each capsule, its finger and phalanx: 15 phalanges, then the palm (5) below each of the four fingers.
_FINGER = np.append(np.repeat(np.arange(5), 3), [5] * 4)
_PHALANX = np.append(np.tile(np.arange(3), 5), range(4))
# The palm's capsules: their ends at the wrist as fractions of the middle finger's metacarpal, and their radii in mm.
_CARPALS = np.array([[0.13, 0.1, 0], [0.05, 0.1, 0], [-0.04, 0.1, 0], [-0.13, 0.1, 0.01]])
_PALM_RADII = np.array([[13.0, 10.5], [13.0, 10.5], [13.0, 10.0], [13.0, 9.5]])


def _may_meet(i, j):
    """Whether the pair of capsules i < j is to be tested.

    Not tested are capsules of one finger, which the joint limits keep apart, and those that always touch: the first
    phalanges of neighbouring fingers (but for the thumb), and the palm with the first phalanges or with itself.
    """
    (f, k), (g, m) = (_FINGER[i], _PHALANX[i]), (_FINGER[j], _PHALANX[j])
    if g == 5:
        return f < 5 and k > 0
    side_by_side = f > 0 and g - f == 1 and k == m == 0
    return f != g and not side_by_side


PAIRS = np.array([(i, j) for i in range(19) for j in range(i + 1, 19) if _may_meet(i, j)]).T
# Rows of PAIRS that hold the last phalanges of the thumb and of finger 1..4.
_PADS = np.array([np.flatnonzero((PAIRS[0] == 2) & (PAIRS[1] == 3 * f + 2))[0] for f in range(1, 5)])
# Directions in which `settle` moves: the four angles of the thumb; flexion, abduction and PIP of each finger, where DIP
# follows PIP.
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
    # As in the mesh, the last capsule ends before the tip joint, which lies inside the skin.
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


def nearest(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the segments a + s u and b + t v are closest: s and t [...] in 0..1; `u`, `v`, `r` = a - b are [3, ...]."""
    uu, vv, uv, ur, vr = _dot(u, u), _dot(v, v), _dot(u, v), _dot(u, r), _dot(v, r)
    s = np.clip((uv * vr - ur * vv) / np.maximum(uu * vv - uv * uv, 1e-3), 0, 1)
    t = np.clip((uv * s + vr) / vv, 0, 1)
    return np.clip((uv * t - ur) / uu, 0, 1), t


def _pair_penetrations(starts, axes, radii):
    """Penetration depth [pairs, n] mm of capsules with `starts` and `axes` [3, 19, n] mm and `radii` [19, 2] mm."""
    i, j = PAIRS
    u, v, r = axes[:, i], axes[:, j], starts[:, i] - starts[:, j]
    s, t = nearest(u, v, r)
    gap = r + s * u - t * v
    start, slope = radii[:, :1], np.diff(radii)
    return start[i] + start[j] + slope[i] * s + slope[j] * t - np.sqrt(_dot(gap, gap))


def penetrations(traits: people.Traits, angles: np.ndarray) -> np.ndarray:
    """Penetration depth [pairs, n] mm of each of PAIRS in the poses `angles` [n, 22] degrees; negative for a gap."""
    starts, axes, radii = _capsules(traits, angles)
    # Blocks that fit into a core's cache are a third faster.
    blocks = np.array_split(np.arange(len(angles)), -(-len(angles) // _BLOCK))
    return np.concatenate([_pair_penetrations(starts[..., b], axes[..., b], radii) for b in blocks], 1)


def penetration(traits: people.Traits, angles: np.ndarray) -> np.ndarray:
    """Largest penetration depth [...] mm of the poses `angles` [..., 22] degrees; negative where nothing touches."""
    angles = np.asarray(angles, np.float64)
    return penetrations(traits, angles.reshape(-1, hand.NUM_ANGLES)).max(0).reshape(angles.shape[:-1])


def path_penetration(traits: people.Traits, paths: np.ndarray) -> np.ndarray:
    """Largest penetration depth [...] mm along `paths` [..., samples, 22] degrees, between the samples as well.

    Fingertips can brush past each other between two samples. While they do, the depth is a concave function of time,
    so the lines through the two samples before and the two samples after the interval meet above it. With depths p and
    q at the ends of the interval and slopes a and b towards its middle, they meet at

        (p b + q a + a b) / (a + b)
    """
    paths = np.asarray(paths, np.float64)
    depth = penetrations(traits, paths.reshape(-1, hand.NUM_ANGLES)).reshape(-1, *paths.shape[:-1])
    p, q, rise = depth[..., 1:-2], depth[..., 2:-1], np.diff(depth)
    a, b = np.maximum(rise[..., :-2], 0), np.maximum(-rise[..., 2:], 0)
    between = (p * b + q * a + a * b) / np.maximum(a + b, 1e-6)
    between[(a == 0) | (b == 0)] = -np.inf
    return np.maximum(depth.max((0, -1)), between.max((0, -1)))


def _excess(traits, angles, bound, touch):
    """Residuals [pairs, n] mm: depth beyond the bound; for pads of `touch` [n], the distance from the wanted depth."""
    depth = penetrations(traits, angles)
    excess = np.maximum(depth - bound, 0)
    touching = np.flatnonzero(touch > 0)
    rows = _PADS[touch[touching] - 1]
    excess[rows, touching] = depth[rows, touching] - _TOUCH
    return excess


def settle(traits: people.Traits, angles: np.ndarray, bound: float, touch: np.ndarray) -> np.ndarray:
    """Poses [n, 22] near `angles` [n, 22] degrees that penetrate at most `bound` mm, if a few small steps lead there.

    `touch` [n] int: the finger (1 index .. 4 little) whose tip meets the tip of the thumb, 0 for none.
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
