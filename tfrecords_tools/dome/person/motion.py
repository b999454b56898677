"""Motion of hand and arm: natural hand shapes, an arm held in front of a person who turns on the spot.

A motion is a pure function of (seed, subject, side, time). Everything moves from knot to knot along the minimum-jerk
profile of human reaching (Flash and Hogan 1985), and then rests. With u the elapsed fraction of the movement's time:

    m(s) = 10 s^3 - 15 s^4 + 6 s^5,   value = a + m(clip((u - lag) / (1 - LAG), 0, 1)) (b - a)

Each finger has its own lag, because fingers do not move in lockstep: a fist opens thumb first. Neither the knots (hand
shapes) nor the paths between them penetrate deeper than `contact.BOUND`. Such a path always exists: every knot is
reached from a neutral hand, so reversing that movement leads back to the neutral hand and from there to the next knot.

World Y points down. A person with heading h faces forward = (cos h, 0, sin h); an arm with a = h + azimuth points to
the person's left for a positive azimuth. With elevation e, the forearm points along f; its thumb side x is rotated
about f by the roll r (negative: pronation):

    f = (cos e cos a, -sin e, cos e sin a),   x_0 = df/de,   x = rotation(f, r) x_0
    R_forearm = [x, f, x X f],   R_hand = R_forearm B_forearm^-1    B: the forearm's rotation in the hand frame

Left hands are posed as right hands and mirrored, X -> M X, M = diag(-1, 1, 1), which takes the azimuth a to 180 - a:
the right arm of a person with heading 180 - h becomes the left arm of a person with heading h.
"""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from tfrecords_tools.dome.person import contact, hand, people
from tfrecords_tools.dome.person.shapes import draw_shape, settled_shape
from tfrecords_tools.dome.random_keys import RandomKey

# Degrees: azimuth against the person's heading (positive: to the person's left), elevation and roll of the forearm.
# Choice: a right arm held out in front of the chest. The roll includes what the shoulder adds to that of the forearm.
AZIMUTH, ELEVATION, ROLL = (-45.0, 45.0), (-8.0, 84.0), (-100.0, 90.0)
_ARM_LIMITS = np.array([AZIMUTH, ELEVATION, ROLL])
# Choice: an arm in any direction that a person who stands behind the hand can hold it in.
_ANY_AZIMUTH, _ANY_ELEVATION, _ANY_ROLL = 75.0, (-80.0, 84.0), 140.0
_ARM_MEAN, _ARM_SPREAD = np.array([-8.0, 48.0, -15.0]), np.array([22.0, 20.0, 55.0])
# mm about the dome's centre, per axis: wide enough that a median over time shows the scene behind the hand.
WANDER = 100.0
# mm from the wrist towards the fingers: the hand rotates about this point, so that the wrist swings and the hand stays.
PIVOT = 55.0
# Choice: peak speeds in degrees/s. Fast voluntary finger movements reach 500 to 1000, forearms 300.
FINGER_SPEED, ARM_SPEED = 450.0, 200.0
_PEAK = 1.875  # maximum of m'(s)
_LAG = 0.4  # the largest lag of a finger, as a fraction of the movement
_SAMPLES, _MARGIN = 64, 0.4  # instants at which a path is tested; mm by which the bound is tightened for that
_CHUNK = 16  # knots drawn at a time
NEUTRAL = np.array([-4, 6, 6, 6, *(14, 0, 18, 12) * 4, 0, 0], np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """The poses of one hand at n instants, and the heading of the person.

    `angles` [n, 22] degrees; `R` [n, 3, 3] from the hand frame to the world; wrist `t` [n, 3] mm; `heading` [n]
    degrees, not wrapped at 360.
    """

    angles: np.ndarray
    R: np.ndarray
    t: np.ndarray
    heading: np.ndarray


def minimum_jerk(s: np.ndarray) -> np.ndarray:
    """m(s): from 0 to 1 with zero velocity and acceleration at both ends; constant outside."""
    s = np.clip(s, 0, 1)
    return s * s * s * (10 - s * (15 - 6 * s))


def _blend(a, b, lag, u):
    """Angles [..., 22] at the fraction `u` [...] of the movement from `a` to `b` [..., 22] with lags [..., 5]."""
    s = minimum_jerk((u[..., None] - lag) / (1 - _LAG))
    s = np.concatenate([np.repeat(s, 4, -1), np.ones((*s.shape[:-1], 2))], -1)
    return a + s * (b - a)


def _draw_lags(rng, count):
    """Lags [count, 4, 5] of four kinds, in random order: nearly together, thumb first, thumb last, random."""
    lags = np.full((count, 4, 5), 0.5 * _LAG) + rng.uniform(-0.2, 0.2, (count, 4, 5)) * _LAG
    lags[:, 1, 0], lags[:, 1, 1:] = 0, lags[:, 1, 1:] + 0.3 * _LAG
    lags[:, 2, 0], lags[:, 2, 1:] = _LAG, lags[:, 2, 1:] - 0.3 * _LAG
    lags[:, 3] = rng.uniform(0, _LAG, (count, 5))
    order = rng.permuted(np.tile(np.arange(4), (count, 1)), axis=1)
    return np.take_along_axis(lags, order[..., None], 1)


def _clear_lag(traits, a, b, lags):
    """The first of `lags` [n, w, 5] with which the movement from `a` [n, 22] to `b` [n, 22] stays within the bound.

    Returns these lags [n, 5], and whether there is one [n] bool.
    """
    u = np.linspace(0, 1, _SAMPLES)
    chosen, clear = lags[:, 0].copy(), np.zeros(len(a), bool)
    for lag in lags.transpose(1, 0, 2):
        left = np.flatnonzero(~clear)
        if left.size:
            path = _blend(a[left, None], b[left, None], lag[left, None], u[None])
            passes = contact.path_penetration(traits, path) <= contact.BOUND - _MARGIN
            chosen[left[passes]], clear[left[passes]] = lag[left[passes]], True
    return chosen, clear


def _knots(traits, neutral, rng):
    """Up to _CHUNK shapes [k, 22] within the bound, and the lags [k, 5] with which `neutral` moves to them."""
    wanted, touch = zip(*(draw_shape(rng) for _ in range(_CHUNK)), strict=True)
    knots = settled_shape(traits, np.array(wanted), np.array(touch), contact.BOUND - _MARGIN)
    lag, reached = _clear_lag(traits, np.broadcast_to(neutral, knots.shape), knots, _draw_lags(rng, len(knots)))
    return knots[reached], lag[reached]


def _movements(traits, neutral, last, rng):
    """The movements (a [22], b [22], lag [5], rest after it in s) of one chunk, and the last knot with its lag.

    They start at `last`, the last knot of the previous chunk with its lag.
    """
    knots, lags = _knots(traits, neutral, rng)
    if not len(knots):  # no shape can be reached: the hand rests
        return [(last[0], *last, 1.0)], last
    before, lag_before = (np.concatenate([end[None], rest])[:-1] for end, rest in zip(last, (knots, lags), strict=True))
    direct, clear = _clear_lag(traits, before, knots, _draw_lags(rng, len(knots)))
    rests = rng.uniform(0, 0.2, len(knots))
    movements = []
    for k in range(len(knots)):
        if clear[k]:
            movements.append((before[k], knots[k], direct[k], rests[k]))
        else:
            movements.append((before[k], neutral, _LAG - lag_before[k], 0.0))
            movements.append((neutral, knots[k], lags[k], rests[k]))
    return movements, (knots[-1], lags[-1])


def _fingers(traits, key, times):
    """Joint angles [n, 22] at `times` [n] s, with both angles of the wrist zero."""
    neutral = settled_shape(traits, NEUTRAL[None], np.zeros(1, int), contact.BOUND - _MARGIN)[0]
    last, movements, starts, lengths = (neutral, np.full(5, 0.5 * _LAG)), [], [], []
    clock, chunk = 0.0, 0
    while clock <= times.max():
        rng = np.random.default_rng([*key, chunk])
        new, last = _movements(traits, neutral, last, rng)
        for a, b, _, rest in new:
            least = _PEAK * np.abs(b - a).max() / FINGER_SPEED / (1 - _LAG)
            starts.append(clock)
            lengths.append(max(least, rng.uniform(0.45, 1.0)))
            clock += lengths[-1] + rest
        movements += new
        chunk += 1
    a, b, lag = (np.array(part) for part in list(zip(*movements, strict=True))[:3])
    current = np.searchsorted(starts, times, side="right") - 1
    u = (times - np.array(starts)[current]) / np.array(lengths)[current]
    return _blend(a[current], b[current], lag[current], u)


def _track(rng, times, draw, durations, hold):
    """Values [n, d] at `times` [n] s of a movement through knots that `draw(rng, previous)` gives one by one.

    Each movement takes a time within `durations` s, or longer if ARM_SPEED requires it, and is followed by a rest of up
    to `hold` s.
    """
    starts, lengths, knots = [], [], [draw(rng, None)]
    clock = -rng.uniform(0, durations[1])
    while clock <= times.max():
        knots.append(draw(rng, knots[-1]))
        least = _PEAK * np.abs(knots[-1] - knots[-2]).max() / ARM_SPEED
        starts.append(clock)
        lengths.append(max(rng.uniform(*durations), least))
        clock += lengths[-1] + rng.uniform(0, hold)
    starts, lengths, knots = np.array(starts), np.array(lengths), np.array(knots)
    index = np.searchsorted(starts, times, side="right") - 1
    s = minimum_jerk((times - starts[index]) / lengths[index])[:, None]
    return knots[index] + s * (knots[index + 1] - knots[index])


def _draw_arm(rng, previous):
    """One knot (azimuth, elevation, roll) in degrees, sometimes near the previous one."""
    return _sometimes_near(rng, previous, np.clip(rng.normal(_ARM_MEAN, _ARM_SPREAD), *_ARM_LIMITS.T))


def _sometimes_near(rng, previous, knot):
    """Two in five of the knots stay near the previous one."""
    near = previous is not None and rng.random() < 0.4
    return previous + 0.3 * (knot - previous) if near else knot


def _draw_any_arm(rng, previous):
    """As `_draw_arm`, but in any direction: elevations are uniform in solid angle."""
    low, high = np.sin(np.deg2rad(_ANY_ELEVATION))
    elevation = np.rad2deg(np.arcsin(rng.uniform(low, high)))
    knot = np.array([rng.uniform(-1, 1) * _ANY_AZIMUTH, elevation, rng.uniform(-1, 1) * _ANY_ROLL])
    return _sometimes_near(rng, previous, knot)


# How an arm is drawn, and its limits [3, 2] degrees, for each of `variety.ARMS`.
_ARM = {
    "raised": (_draw_arm, _ARM_LIMITS),
    "any": (_draw_any_arm, np.array([(-_ANY_AZIMUTH, _ANY_AZIMUTH), _ANY_ELEVATION, (-_ANY_ROLL, _ANY_ROLL)])),
}


def _draw_wrist(rng, previous):
    """One knot (flexion, deviation) of the wrist in degrees; the wrist of a hand in use is slightly extended."""
    return np.clip(rng.normal([-6, 2], [15, 7]), *hand.LIMITS[20:].T)


def _sway(rng, times, rates, channels):
    """A smooth path [n, channels] within -1..1: three sines per channel with frequencies in the range `rates`, Hz."""
    share = rng.dirichlet(np.ones(3) * 4, channels)
    rate = rng.uniform(*rates, (channels, 3))
    phase = rng.uniform(0, 2 * np.pi, (channels, 3))
    return np.sum(share * np.sin(2 * np.pi * rate * times[:, None, None] + phase), -1)


def heading(seed: int, subject: int, times: np.ndarray) -> np.ndarray:
    """The person's heading [n] in degrees at `times` [n] s: a slow turn on the spot, about once per minute."""
    rng = np.random.default_rng([seed, RandomKey.TURN, subject])
    # Choice: the golden angle spreads even a few subjects evenly around the circle; the seed rotates all of them.
    start = 137.508 * subject + np.random.default_rng([seed, RandomKey.FACING]).uniform(0, 360)
    rate = rng.choice([-1, 1]) * rng.uniform(4.8, 8.0)
    return start + rate * times + 35 * _sway(rng, times, (0.03, 0.11), 1)[:, 0]


def arm_rotation(arm: np.ndarray) -> np.ndarray:
    """R_forearm [n, 3, 3], from the forearm to the world, for `arm` [n, 3]: a, e and r in degrees (see the module)."""
    a, e, roll = np.deg2rad(arm).T
    f = np.stack([np.cos(e) * np.cos(a), -np.sin(e), np.cos(e) * np.sin(a)], 1)
    x = np.stack([-np.sin(e) * np.cos(a), -np.cos(e), -np.sin(e) * np.sin(a)], 1)
    x = Rotation.from_rotvec(roll[:, None] * f).apply(x)
    return np.stack([x, f, np.cross(x, f)], 2)


def motion(seed: int, subject: int, side: str, times: np.ndarray, arms: str = "raised") -> Motion:
    """The `Motion` of the `side` hand ("left" or "right") of subject number `subject` at `times` [n] s >= 0.

    `arms` is one of `variety.ARMS`.

    It moves about the origin and is always given as a right hand. For a left hand the caller poses the mesh with `R`
    and `t` and then mirrors the world at the origin (`skeleton.MIRROR`); the left forearm then points where the person
    faces. `heading` is that of the person: not mirrored, and the same for both sides.
    """
    times, left = np.asarray(times, np.float64), side == "left"
    traits = people.traits(seed, subject)
    rngs = [np.random.default_rng([seed, RandomKey.ARM, subject, left, part]) for part in range(4)]
    angles = _fingers(traits, [seed, RandomKey.FINGERS, subject, left], times)
    angles[:, 20:] = _track(rngs[0], times, _draw_wrist, (0.5, 1.4), 0.8)
    draw, limits = _ARM[arms]
    arm = _track(rngs[1], times, draw, (0.8, 1.8), 0.7)
    arm = np.clip(arm + [2, 2, 4] * _sway(rngs[2], times, (0.05, 0.3), 3), *limits.T)
    faces = heading(seed, subject, times)
    arm[:, 0] += 180 - faces if left else faces
    _, bones = hand.forward(traits.bases, traits.lengths, angles)
    R = arm_rotation(arm) @ bones[:, hand.FOREARM, :, :3].transpose(0, 2, 1)
    return Motion(angles, R, WANDER * _sway(rngs[3], times, (0.05, 0.35), 3) - PIVOT * R[:, :, 1], faces)
