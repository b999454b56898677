"""Hand and arm over time: natural shapes, an arm in front of a person who turns; pure in (seed, subject, side, time).

Everything moves from knot to knot along the minimum-jerk profile of human reaching (Flash and Hogan 1985), then rests:

    m(s) = 10 s^3 - 15 s^4 + 6 s^5,   value = a + m(clip((u - lag) / (1 - LAG), 0, 1)) (b - a),   u = share of the time

Each finger has a lag of its own, for hands do not move in lockstep: a fist opens thumb first. Knots are shapes that do
not press into each other deeper than `contact.BOUND`, and neither do the paths between them: with what leads from a
neutral hand to a knot reversed, every knot can be left by way of the neutral hand, so a path always exists.

World Y points down. A person faces h, forward = (cos h, 0, sin h), and a = h + azimuth turns the arm to the person's
left. The forearm points along f, and its thumb side x turns about it by the roll r (negative: pronation):

    f = (cos e cos a, -sin e, cos e sin a),   x_0 = df/de,   x = turn(f, r) x_0
    R_forearm = [x, f, x X f],   R_hand = R_forearm B_forearm^-1        B: the forearm's turn in the hand frame

Left hands are posed as right hands and mirrored, X -> M X, M = diag(-1, 1, 1), which takes the azimuth a to 180 - a:
a right arm of a person who faces 180 - h becomes the left arm of a person who faces h.
"""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from tfrecords_tools.dome.person import contact, hand, people
from tfrecords_tools.dome.person.shapes import draw_shape, settled_shape
from tfrecords_tools.dome.random_keys import Salt

# Degrees: the forearm against the person's front (positive: to the person's left), its elevation, its roll.
# Choice: a right arm held out in front of the chest; roll includes what the shoulder adds to the forearm's own.
AZIMUTH, ELEVATION, ROLL = (-45.0, 45.0), (-8.0, 84.0), (-100.0, 90.0)
_ARM_LIMITS = np.array([AZIMUTH, ELEVATION, ROLL])
_ARM_MEAN, _ARM_SPREAD = np.array([-8.0, 48.0, -15.0]), np.array([22.0, 20.0, 55.0])
# mm about the dome's centre, per axis: wide enough that a median over time finds the scene behind the hand.
WANDER = 100.0
# The hand turns about a point this far from the wrist towards the fingers, so that the wrist swings and the hand stays.
PIVOT = 55.0
# Choice: peak speeds in degrees/s. Brisk voluntary finger movements reach 500 to 1000, forearms 300.
FINGER_SPEED, ARM_SPEED = 450.0, 200.0
_PEAK = 1.875  # of m'(s)
# Fingers start up to this share of a movement after each other.
_LAG = 0.4
# Paths are tested at so many instants, against a bound that leaves some room.
_SAMPLES, _MARGIN = 64, 0.4
_CHUNK = 16
NEUTRAL = np.array([-4, 6, 6, 6, *(14, 0, 18, 12) * 4, 0, 0], np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """Poses at n instants, and where the person faces.

    `angles` [n, 22] degrees, hand to world `R` [n, 3, 3], wrist `t` [n, 3] mm, `heading` [n] degrees, unwrapped.
    """

    angles: np.ndarray
    R: np.ndarray
    t: np.ndarray
    heading: np.ndarray


def minimum_jerk(s):
    """From 0 to 1 with zero velocity and acceleration at both ends; constant outside."""
    s = np.clip(s, 0, 1)
    return s * s * s * (10 - s * (15 - 6 * s))


def _blend(a, b, lag, u):
    """Angles [..., 22] at the share `u` [...] of the way from `a` to `b` [..., 22] with lags [..., 5] per finger."""
    s = minimum_jerk((u[..., None] - lag) / (1 - _LAG))
    s = np.concatenate([np.repeat(s, 4, -1), np.ones((*s.shape[:-1], 2))], -1)
    return a + s * (b - a)


def _draw_lags(rng, count):
    """Four ways to stagger the fingers [count, 4, 5], in any order: about together, thumb first, thumb last, random."""
    lags = np.full((count, 4, 5), 0.5 * _LAG) + rng.uniform(-0.2, 0.2, (count, 4, 5)) * _LAG
    lags[:, 1, 0], lags[:, 1, 1:] = 0, lags[:, 1, 1:] + 0.3 * _LAG
    lags[:, 2, 0], lags[:, 2, 1:] = _LAG, lags[:, 2, 1:] - 0.3 * _LAG
    lags[:, 3] = rng.uniform(0, _LAG, (count, 5))
    order = rng.permuted(np.tile(np.arange(4), (count, 1)), axis=1)
    return np.take_along_axis(lags, order[..., None], 1)


def _clear_lag(traits, a, b, lags):
    """The first of `lags` [n, w, 5] by which `a` [n, 22] becomes `b` with no deep press: [n, 5], and if any [n]."""
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
    """Up to _CHUNK shapes [k, 22] that press nowhere too deep, and the lags [k, 5] that lead to them from `neutral`."""
    wanted, touch = zip(*(draw_shape(rng) for _ in range(_CHUNK)), strict=True)
    knots = settled_shape(traits, np.array(wanted), np.array(touch), contact.BOUND - _MARGIN)
    lag, reached = _clear_lag(traits, np.broadcast_to(neutral, knots.shape), knots, _draw_lags(rng, len(knots)))
    return knots[reached], lag[reached]


def _legs(traits, neutral, last, rng):
    """Legs (a [m, 22], b [m, 22], lag [m, 5], rest after it [m] s) of one chunk, from the knot and lag `last`."""
    knots, lags = _knots(traits, neutral, rng)
    if not len(knots):  # nowhere to go: the hand stays where it is
        return [(last[0], *last, 1.0)], last
    before, lag_before = (np.concatenate([end[None], rest])[:-1] for end, rest in zip(last, (knots, lags), strict=True))
    direct, clear = _clear_lag(traits, before, knots, _draw_lags(rng, len(knots)))
    rests = rng.uniform(0, 0.2, len(knots))
    legs = []
    for k in range(len(knots)):
        if clear[k]:
            legs.append((before[k], knots[k], direct[k], rests[k]))
        else:
            legs.append((before[k], neutral, _LAG - lag_before[k], 0.0))
            legs.append((neutral, knots[k], lags[k], rests[k]))
    return legs, (knots[-1], lags[-1])


def _fingers(traits, key, times):
    """Joint angles [n, 22] at `times` [n] s, the wrist's two left at zero."""
    neutral = settled_shape(traits, NEUTRAL[None], np.zeros(1, int), contact.BOUND - _MARGIN)[0]
    last, legs, starts, lengths = (neutral, np.full(5, 0.5 * _LAG)), [], [], []
    clock, chunk = 0.0, 0
    while clock <= times.max():
        rng = np.random.default_rng([*key, chunk])
        new, last = _legs(traits, neutral, last, rng)
        for a, b, _, rest in new:
            least = _PEAK * np.abs(b - a).max() / FINGER_SPEED / (1 - _LAG)
            starts.append(clock)
            lengths.append(max(least, rng.uniform(0.45, 1.0)))
            clock += lengths[-1] + rest
        legs += new
        chunk += 1
    a, b, lag = (np.array(part) for part in list(zip(*legs, strict=True))[:3])
    leg = np.searchsorted(starts, times, side="right") - 1
    u = (times - np.array(starts)[leg]) / np.array(lengths)[leg]
    return _blend(a[leg], b[leg], lag[leg], u)


def _track(rng, times, draw, durations, hold):
    """Values [n, d] at `times` [n] s of a track whose knots `draw(rng, previous)` makes one after the other."""
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
    """One knot (azimuth, elevation, roll) in degrees; every other one stays near the one before."""
    knot = np.clip(rng.normal(_ARM_MEAN, _ARM_SPREAD), *_ARM_LIMITS.T)
    near = previous is not None and rng.random() < 0.4
    return previous + 0.3 * (knot - previous) if near else knot


def _draw_wrist(rng, previous):
    """One knot (flexion, deviation) of the wrist in degrees; hands in use are slightly extended."""
    return np.clip(rng.normal([-6, 2], [15, 7]), *hand.LIMITS[20:].T)


def _sway(rng, times, rates, channels):
    """A smooth path [n, channels] within -1..1: three sines a channel, `rates` in Hz."""
    share = rng.dirichlet(np.ones(3) * 4, channels)
    rate = rng.uniform(*rates, (channels, 3))
    phase = rng.uniform(0, 2 * np.pi, (channels, 3))
    return np.sum(share * np.sin(2 * np.pi * rate * times[:, None, None] + phase), -1)


def heading(seed, subject, times):
    """Where the person faces at `times` [n] s: degrees [n], a slow turn on the spot, once around in about a minute."""
    rng = np.random.default_rng([seed, Salt.TURN, subject])
    # Choice: the golden angle spreads few subjects evenly around the circle; the seed turns all of them.
    start = 137.508 * subject + np.random.default_rng([seed, Salt.FACING]).uniform(0, 360)
    turn = rng.choice([-1, 1]) * rng.uniform(4.8, 8.0)
    return start + turn * times + 35 * _sway(rng, times, (0.03, 0.11), 1)[:, 0]


def arm_rotation(arm):
    """Forearm to world rotations [n, 3, 3] for (a, e, r) [n, 3] in degrees: `a` in the world, see the module."""
    a, e, roll = np.deg2rad(arm).T
    f = np.stack([np.cos(e) * np.cos(a), -np.sin(e), np.cos(e) * np.sin(a)], 1)
    x = np.stack([-np.sin(e) * np.cos(a), -np.cos(e), -np.sin(e) * np.sin(a)], 1)
    x = Rotation.from_rotvec(roll[:, None] * f).apply(x)
    return np.stack([x, f, np.cross(x, f)], 2)


def motion(seed, subject, side, times):
    """The `Motion` of one hand of subject number `subject` at `times` [n] s >= 0, about the origin, as a right hand.

    A left hand ("left") is to be mirrored by whoever places it: pose the mesh with `R`, `t`, then apply
    `skeleton.MIRROR` to the world about the origin. After that, the left forearm points to where the person faces.
    `heading` is never mirrored, and the same for both sides.
    """
    times, left = np.asarray(times, np.float64), side == "left"
    traits = people.traits(seed, subject)
    rngs = [np.random.default_rng([seed, Salt.ARM, subject, left, part]) for part in range(4)]
    angles = _fingers(traits, [seed, Salt.FINGERS, subject, left], times)
    angles[:, 20:] = _track(rngs[0], times, _draw_wrist, (0.5, 1.4), 0.8)
    arm = _track(rngs[1], times, _draw_arm, (0.8, 1.8), 0.7)
    arm = np.clip(arm + [2, 2, 4] * _sway(rngs[2], times, (0.05, 0.3), 3), *_ARM_LIMITS.T)
    faces = heading(seed, subject, times)
    arm[:, 0] += 180 - faces if left else faces
    _, bones = hand.forward(traits.bases, traits.lengths, angles)
    R = arm_rotation(arm) @ bones[:, hand.FOREARM, :, :3].transpose(0, 2, 1)
    return Motion(angles, R, WANDER * _sway(rngs[3], times, (0.05, 0.35), 3) - PIVOT * R[:, :, 1], faces)
