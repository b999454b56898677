"""Hand shapes, named and random, as joint angles in degrees (see `hand`).

Fingers are not independent. A moving finger takes its neighbours along (FOLLOW), the end joint follows the middle one,
DIP = 2/3 PIP (Rijpkema and Girard 1991), and bent fingers cannot be spread because their side ligaments are tight.
"""

import numpy as np

from tfrecords_tools.dome.person import contact, hand, people

_STRAIGHT, _CURLED, _HALF = (4, 0, 5, 4), (87, -5, 103, 70), (35, -2, 42, 28)
_BEAK, _CLAW = (58, -4, 34, 22), (-6, 6, 72, 50)
_THUMB_OUT, _THUMB_IN, _THUMB_SIDE = (-8, 8, 0, 0), (15, -12, 25, 20), (2, -14, 4, 4)
# The thumb lies across the middle phalanges of curled fingers: of index and middle (a fist), or of middle and ring.
_THUMB_OVER, _THUMB_ACROSS = (10, 10, 58, 58), (26, 0, 56, 56)
# Named shapes: thumb (flexion, abduction, MCP, IP), then four fingers (flexion, abduction, PIP, DIP), index first.
SHAPES = {
    "open": (_THUMB_OUT, _STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT),
    "together": ((6, -14, 5, 4), (2, -7, 3, 2), (2, 0, 3, 2), (2, -5, 3, 2), (2, -9, 3, 2)),
    "spread": ((-15, 12, -5, -5), (-4, 15, 2, 0), (-4, 0, 2, 0), (-4, 9, 2, 0), (-4, 18, 2, 0)),
    "relaxed": ((10, -4, 16, 16), (18, 0, 24, 15), (24, 0, 30, 19), (28, 0, 34, 22), (30, 0, 34, 22)),
    "fist": (_THUMB_OVER, _CURLED, _CURLED, _CURLED, _CURLED),
    "thumbs_up": ((-15, -18, -5, -8), _CURLED, _CURLED, _CURLED, _CURLED),
    "point": (_THUMB_ACROSS, _STRAIGHT, _CURLED, _CURLED, _CURLED),
    "two": (_THUMB_ACROSS, (3, 9, 4, 2), (3, -6, 4, 2), _CURLED, _CURLED),
    "two_together": (_THUMB_ACROSS, (6, -6, 5, 3), (6, -1, 5, 3), _CURLED, _CURLED),
    "three": ((34, 6, 40, 45), (3, 9, 4, 2), (3, 0, 4, 2), (8, 6, 9, 6), (66, -4, 68, 45)),
    "three_thumb": (_THUMB_OUT, (3, 9, 4, 2), (3, -4, 4, 2), _CURLED, _CURLED),
    "four": ((20, -20, 48, 55), _STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT),
    "gun": (_THUMB_OUT, _STRAIGHT, _CURLED, _CURLED, _CURLED),
    "pinch": ((24, 6, 14, 24), (50, 0, 48, 32), (42, 0, 44, 28), (40, 0, 48, 32), (38, 0, 46, 30)),
    "ok": ((24, 6, 14, 24), (50, 0, 48, 32), (14, 2, 14, 8), (8, 5, 10, 6), (4, 9, 8, 5)),
    "touch_middle": ((28, 6, 18, 26), (12, 4, 14, 9), (54, 0, 50, 33), (24, 2, 24, 16), (14, 6, 14, 9)),
    "touch_ring": ((34, 6, 24, 30), (10, 2, 12, 8), (24, 0, 24, 16), (60, 0, 54, 36), (34, 2, 30, 20)),
    "touch_little": ((40, 6, 30, 34), (8, 2, 10, 6), (14, 0, 14, 9), (34, 0, 30, 20), (64, -4, 52, 35)),
    "key": ((22, -4, 8, 8), (48, 0, 66, 44), (52, 0, 72, 48), (55, 0, 74, 49), (56, 0, 74, 49)),
    "beak": ((26, 8, 10, 16), _BEAK, _BEAK, _BEAK, _BEAK),
    "hook": (_THUMB_IN, (8, 0, 88, 58), (8, 0, 90, 60), (8, 0, 90, 60), (8, 0, 86, 56)),
    "claw": ((-10, 8, 10, 35), _CLAW, _CLAW, _CLAW, _CLAW),
    "grasp": ((12, 14, 10, 22), _HALF, _HALF, _HALF, _HALF),
    "table": (_THUMB_SIDE, (75, 0, 8, 4), (77, 0, 8, 4), (77, 0, 8, 4), (75, 0, 8, 4)),
    "call_me": ((-15, 5, -5, -5), _CURLED, _CURLED, _CURLED, (4, 14, 5, 3)),
    "horns": (_THUMB_ACROSS, _STRAIGHT, _CURLED, _CURLED, (4, 6, 5, 3)),
}
# The finger (1 index .. 4 little) whose tip meets the tip of the thumb.
TOUCH = {"pinch": 1, "ok": 1, "beak": 2, "touch_middle": 2, "touch_ring": 3, "touch_little": 4, "three": 4}
# Choice: row i holds the weights with which intended movements of the four fingers (index first) move finger i, after
# Hager-Ross and Schieber 2000, who measured the index as the most independent finger and the ring finger as the least.
FOLLOW = np.array([[0.82, 0.14, 0.04, 0], [0.16, 0.6, 0.19, 0.05], [0.04, 0.24, 0.5, 0.22], [0, 0.06, 0.28, 0.66]])


def _random_fingers(rng):
    """Angles [5, 4] anywhere within the limits, where fingers follow their neighbours and PIP loosely follows MCP."""
    low, high = hand.LIMITS[:20].T
    grid = (low + rng.beta(1.2, 1.2, 20) * (high - low)).reshape(5, 4)
    bend = FOLLOW @ rng.beta(0.6, 0.7, 4)
    curl = FOLLOW @ rng.beta(0.6, 0.9, 4)
    grid[1:, 0] = -12 + 94 * bend
    grid[1:, 2] = 102 * (0.35 * bend + 0.65 * curl)
    return grid


def _named(rng):
    """A named shape [5, 4], sometimes on its way to another one, and the finger that the thumb touches (or 0)."""
    name, other = rng.choice(list(SHAPES), 2)
    grid = np.array(SHAPES[name], np.float64)
    if rng.random() < 0.2:
        return grid + rng.uniform(0.2, 0.6) * (np.array(SHAPES[other]) - grid), 0
    return grid, TOUCH.get(name, 0)


def draw_shape(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Joint angles [22] within the limits, wrist straight, and the finger whose tip meets that of the thumb (or 0)."""
    grid, touch = (_random_fingers(rng), 0) if rng.random() < 0.25 else _named(rng)
    grid = grid + rng.normal(0, [4.0, 3.0, 4.5, 4.0], (5, 4))
    grid[1:, [0, 2]] += FOLLOW @ rng.normal(0, [6, 8], (4, 2))
    if rng.random() < 0.25:  # one finger moves by itself and takes its neighbours along a little
        finger = rng.integers(4)
        share = FOLLOW[:, finger] / FOLLOW[finger, finger]
        grid[1:, [0, 2]] += share[:, None] * rng.uniform(-1, 1) * np.array([35, 45])
    return np.append(natural(grid), [0, 0]), touch


def natural(grid: np.ndarray) -> np.ndarray:
    """The angles `grid` [5, 4] as [20], with coupled end joints, bent fingers not spread, and clipped to the limits."""
    grid = np.array(grid, np.float64)
    grid[1:, 3] = 0.5 * (grid[1:, 3] + 2 / 3 * grid[1:, 2])
    grid[1:, 1] *= np.clip(1 - grid[1:, 0] / 90, 0.15, 1)
    return np.clip(grid.ravel(), *hand.LIMITS[:20].T)


def settled_shape(traits: people.Traits, angles: np.ndarray, touch: np.ndarray, bound: float) -> np.ndarray:
    """`angles` [n, 22], changed by `contact.settle` where fingers touch or penetrate by more than `bound` mm.

    `touch` [n] int: the finger whose tip meets the tip of the thumb, 0 for none.
    """
    angles = np.array(angles)
    unsettled = (touch > 0) | (contact.penetration(traits, angles) > bound)
    if unsettled.any():
        angles[unsettled] = contact.settle(traits, angles[unsettled], bound - 0.3, touch[unsettled])
    return angles
