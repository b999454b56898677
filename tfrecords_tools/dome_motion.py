"""Smooth hand motion: natural shapes, an arm that turns and wanders, as a pure function of (seed, subject, side, time).

A track holds values at knots and blends between them, then rests:

    s = clip((time - start) / duration, 0, 1),   blend = s^2 (3 - 2 s),   value = a + blend (b - a)

Two tracks run side by side, with their own knots: the 22 joint angles, and the arm's three angles (heading a,
elevation e, roll r). World Y points down, the fingers along `f`; at roll 0 the thumb is as high as it can be:

    f = (cos e cos a, -sin e, cos e sin a),   x_0 = up - (up . f) f, normalised
    x = turn(f, r) x_0,   R = [x, f, x X f]
"""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from tfrecords_tools import dome_hand

# Elevation of the fingers and roll about the forearm in degrees: an arm's range, not a tumble.
ELEVATION, ROLL = (-15.0, 82.0), (-105.0, 105.0)
# mm about the dome's centre, per axis: wide enough that a median over time finds the scene behind the hand.
WANDER = 100.0
# The hand turns about a point this far from the wrist towards the fingers, so that the wrist swings and the hand stays.
PIVOT = 55.0
_STRAIGHT, _CURLED, _HALF = (4, 0, 5, 4), (82, -6, 98, 62), (35, -2, 42, 28)
_THUMB_OUT, _THUMB_IN, _THUMB_ACROSS = (-8, 8, 0, 0), (15, -12, 25, 20), (23, -12, 41, 51)
# Natural shapes: thumb (flexion, abduction, MCP, IP), then four fingers (flexion, abduction, PIP, DIP), index first.
SHAPES = {
    "open": (_THUMB_OUT, _STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT),
    "together": ((6, -14, 5, 4), (2, -7, 3, 2), (2, 0, 3, 2), (2, -5, 3, 2), (2, -9, 3, 2)),
    "spread": ((-15, 12, -5, -5), (-4, 15, 2, 0), (-4, 0, 2, 0), (-4, 12, 2, 0), (-4, 16, 2, 0)),
    "relaxed": ((10, -4, 16, 16), (18, 0, 24, 15), (24, 0, 30, 19), (28, 0, 34, 22), (30, 0, 34, 22)),
    "fist": (_THUMB_ACROSS, _CURLED, _CURLED, _CURLED, _CURLED),
    "thumbs_up": ((-15, -18, -5, -8), _CURLED, _CURLED, _CURLED, _CURLED),
    "point": (_THUMB_ACROSS, _STRAIGHT, _CURLED, _CURLED, _CURLED),
    "two": (_THUMB_ACROSS, (3, 9, 4, 2), (3, -6, 4, 2), _CURLED, _CURLED),
    "three": (_THUMB_ACROSS, (3, 9, 4, 2), (3, 0, 4, 2), (3, 6, 5, 3), _CURLED),
    "four": ((18, -24, 50, 55), _STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT),
    "gun": (_THUMB_OUT, _STRAIGHT, _CURLED, _CURLED, _CURLED),
    "pinch": ((24, 6, 14, 24), (50, 0, 48, 32), (42, 0, 44, 28), (40, 0, 48, 32), (38, 0, 46, 30)),
    "ok": ((24, 6, 14, 24), (50, 0, 48, 32), (14, 2, 14, 8), (8, 5, 10, 6), (4, 9, 8, 5)),
    "hook": (_THUMB_IN, (8, 0, 88, 58), (8, 0, 90, 60), (8, 0, 90, 60), (8, 0, 86, 56)),
    "grasp": ((12, 14, 10, 22), _HALF, _HALF, _HALF, _HALF),
    "table": (_THUMB_IN, (75, 0, 8, 4), (77, 0, 8, 4), (77, 0, 8, 4), (75, 0, 8, 4)),
    "call_me": ((-15, 5, -5, -5), _CURLED, _CURLED, _CURLED, (4, 14, 5, 3)),
    "horns": (_THUMB_ACROSS, _STRAIGHT, _CURLED, _CURLED, (4, 6, 5, 3)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """Poses at n instants: `angles` [n, 22] degrees, hand to world `R` [n, 3, 3], wrist `t` [n, 3] mm."""

    angles: np.ndarray
    R: np.ndarray
    t: np.ndarray


def _track(rng, times, draw, durations, hold):
    """Values [n, d] at `times` [n] s of a track whose knots `draw(rng, previous)` makes one after the other."""
    starts, lengths, knots = [0.0], [1.0], [draw(rng, None)]
    knots.append(draw(rng, knots[-1]))
    while starts[-1] <= times.max():
        starts.append(starts[-1] + lengths[-1] + rng.uniform(0, hold))
        lengths.append(rng.uniform(*durations))
        knots.append(draw(rng, knots[-1]))
    starts, lengths, knots = np.array(starts), np.array(lengths), np.array(knots)
    index = np.searchsorted(starts, times, side="right") - 1
    s = np.clip((times - starts[index]) / lengths[index], 0, 1)[:, None]
    blend = s * s * (3 - 2 * s)
    return knots[index] + blend * (knots[index + 1] - knots[index])


def _random_fingers(rng):
    """Independent fingers within the limits; PIP follows MCP loosely, as tendons make it."""
    low, high = dome_hand.LIMITS[:20].T
    grid = (low + rng.beta(1.2, 1.2, 20) * (high - low)).reshape(5, 4)
    grid[1:, 0] = np.clip(grid[1:, 0], -10, 80)
    grid[1:, 2] = rng.beta(1.0, 1.6, 4) * 100
    return grid


def _draw_shape(rng, previous):
    """One knot of joint angles [22]: a named shape or random fingers, perturbed, with coupled end joints, in limits."""
    wild = rng.random() < 0.3
    grid = _random_fingers(rng) if wild else np.array(SHAPES[rng.choice(list(SHAPES))], np.float64)
    grid = grid + rng.normal(0, [5.0, 3.0, 6.0, 4.0], (5, 4))
    if rng.random() < 0.3:  # one finger goes its own way
        finger = rng.integers(1, 5)
        grid[finger] = grid[finger] + rng.uniform(-0.5, 0.5) * np.array([60, 0, 80, 50])
    grid[1:, 3] = 2 / 3 * np.clip(grid[1:, 2], 0, None) + rng.normal(0, 3, 4)
    # Bent fingers cannot be spread: their side ligaments are tight.
    grid[1:, 1] *= np.clip(1 - grid[1:, 0] / 90, 0.15, 1)
    angles = np.concatenate([grid.ravel(), rng.normal(0, [14, 7])])
    return np.clip(angles, *dome_hand.LIMITS.T)


def _draw_arm(rng, previous):
    """One knot (heading, elevation, roll) in degrees; the heading walks, so over time it is uniform."""
    heading = rng.uniform(0, 360) if previous is None else previous[0] + rng.normal(0, 75)
    elevation = np.clip(rng.normal(42, 26), *ELEVATION)
    return np.array([heading, elevation, rng.uniform(*ROLL)])


def arm_rotation(arm):
    """Hand to world rotations [n, 3, 3] for arm angles (heading, elevation, roll) [n, 3] in degrees."""
    heading, elevation, roll = np.deg2rad(arm).T
    level = np.cos(elevation)
    f = np.stack([level * np.cos(heading), -np.sin(elevation), level * np.sin(heading)], 1)
    x = np.array([0.0, -1.0, 0.0]) + f[:, 1:2] * f
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x = Rotation.from_rotvec(roll[:, None] * f).apply(x)
    return np.stack([x, f, np.cross(x, f)], 2)


def _wander(rng, times):
    """A smooth path [n, 3] mm: three slow sines an axis, bounded by WANDER."""
    share = rng.dirichlet(np.ones(3) * 4, 3)
    rate = rng.uniform(0.05, 0.35, (3, 3))
    phase = rng.uniform(0, 2 * np.pi, (3, 3))
    return WANDER * np.sum(share * np.sin(2 * np.pi * rate * times[:, None, None] + phase), -1)


def motion(seed, subject, side, times):
    """The `Motion` of one hand of subject number `subject` at `times` [n] s, about the origin, as a right hand.

    A left hand ("left") has a motion of its own; whoever places it mirrors the posed mesh.
    """
    times = np.asarray(times, np.float64)
    rngs = [np.random.default_rng([seed, 202, subject, side == "left", part]) for part in range(3)]
    angles = _track(rngs[0], times, _draw_shape, (0.4, 1.0), 0.35)
    R = arm_rotation(_track(rngs[1], times, _draw_arm, (0.7, 1.6), 0.4))
    return Motion(angles, R, _wander(rngs[2], times) - PIVOT * R[:, :, 1])
