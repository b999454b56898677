"""Where a person with given arms stands: position and attitude of the trunk, and how far the legs are bent.

At heading h (degrees), the person frame (`body`) is rotated by H and by three more angles:

    H(h) = [right, down, forward],   forward = (cos h, 0, sin h),   right = forward X up = (sin h, 0, -cos h)
    X = R x + P,   R = H(h) B,   B = Ry(yaw) Rx(pitch) Rz(roll)

The person follows the measured arms, not the other way round. P and the three angles are a regularised least-squares
solution: the shoulders are an upper arm's length above and behind the given elbows, the person stands upright on the
floor and faces h, and spheres that fill trunk and head (centre p_k, radius r_k) stay clear of the arms:

    min  sum_i (|S_i - e_i| - L)^2 / s^2  +  priors  +  sum_kj softplus(margin_j + r_k - |p_k - segment_j|)^2

Gauss-Newton steps of bounded length from a closed-form start, until they converge, make the result a continuous
function of the instant alone: no state, no filter over frames. Everything is computed in the frame H, where R = B.

The height of the hips leaves a fraction q of the legs' length at rest. The legs are scaled by s and bent by b at the
hip and 2 b at the knee, so that the feet are on the floor: q = s cos b, with b = 0 unless s would become too small.
"""

import math

import numpy as np
from scipy.linalg import lapack

from tfrecords_tools.dome.person import figure, limbs

# Choice: legs are shortened to the first fraction of their length before the knees bend, and at most lengthened to the
# second one.
_SHORT, _LONG = 0.85, 1.2
_LOWEST = 0.4  # fraction of the legs' length below which nobody squats
_STRIDE = 200.0  # mm; longer steps are shortened smoothly
_STEPS = 8
_CONVERGED = 0.1  # mm; far below what continuity in time would show
# mm: softness of the clearance; standard deviations of clearance, length of the upper arm, its direction, hip height.
_SOFT, _TRUNK_SIGMA, _LENGTH_SIGMA, _OFFSET_SIGMA, _FLOOR_SIGMA = 12.0, 9.0, 16.0, 150.0, 115.0
_ANGLE_SIGMA = np.deg2rad([30.0, 14.0, 8.0])


def frame(heading: float) -> np.ndarray:
    """H(h) [3, 3]: columns right, down and forward in the world for a heading in degrees."""
    c, s = math.cos(math.radians(heading)), math.sin(math.radians(heading))
    return np.array([[s, 0.0, c], [0.0, 1.0, 0.0], [-c, 0.0, s]])


def _attitude(angles):
    """[3, 12]: the transposes of B and of its derivatives by yaw, pitch and roll, side by side; angles in radians.

    Yaw adds to the heading, a rotation about up; positive pitch leans back, positive roll leans to the right.
    """
    (cy, cp, cr), (sy, sp, sr) = ([f(angle) for angle in angles] for f in (math.cos, math.sin))
    x, y, z = (cr, -sr, 0.0), (cp * sr, cp * cr, -sp), (sp * sr, sp * cr, cp)  # rows of Rx Rz
    first = [cy * i - sy * k for i, k in zip(x, z, strict=True)]
    last = [sy * i + cy * k for i, k in zip(x, z, strict=True)]
    rolled = ((first[1], y[1], last[1]), (-first[0], -y[0], -last[0]), (0.0, 0.0, 0.0))
    rows = [
        (first[c], y[c], last[c], -last[c], 0.0, first[c], -sy * y[c], -z[c], cy * y[c], *rolled[c]) for c in range(3)
    ]
    return np.array(rows)


def _wishes(person, arms, waves):
    """Elbows [n, 3], preferred offsets of the shoulders from them [n, 3], and shoulders in the person frame [n, 3]."""
    signs = np.array([limbs.SIGNS[side] for side in arms])
    elbows, wrists = np.array(list(arms.values())).transpose(1, 0, 2)
    forearms = wrists - elbows
    level = forearms[:, 1] / np.sqrt((forearms * forearms).sum(1))
    # Choice: the upper arm is raised forwards if the forearm points up, and hangs if it points down.
    raised, aside = np.deg2rad(36 - 26 * level + 10 * waves[15]), math.radians(-10 + 16 * waves[16])
    back = np.sin(raised) * math.cos(aside)
    offset = np.stack([-signs * math.sin(aside), -np.cos(raised), -back], 1)
    places = person.scale * limbs.SHOULDER * np.stack([signs, signs**2, signs**2], 1)
    return elbows, limbs.UPPER_ARM * person.scale * offset, places


class _Problem:
    """Residuals and their Jacobian: clearances, lengths and directions of the upper arms, hip height, angles."""

    def __init__(self, person, arms, waves, floor):
        self.elbows, self.offset, places = _wishes(person, arms, waves)
        self.start, self.axis, reach = limbs.obstacles(arms, limbs.TRUNK_CLEARANCE)
        centres, radii = person.spheres
        self.margin = radii[:, None] + reach
        self.points = np.concatenate([places, centres])
        self.length = limbs.UPPER_ARM * person.scale
        self.rest = np.deg2rad([8.0, 3.0, 2.0]) * waves[:3]
        first = (self.elbows + self.offset - places @ _attitude(self.rest)[:, :3]).mean(0)
        self.state = np.concatenate([first, self.rest])
        self.hips = None if floor is None else floor - person.sole
        arms, count = len(places), self.margin.size
        self.J, self.value = np.zeros((count + 4 * arms + 4, 6)), np.zeros(count + 4 * arms + 4)
        self.J[count + arms : -4, :3] = np.tile(np.eye(3) / _OFFSET_SIGMA, (arms, 1))
        self.J[[-3, -2, -1], [3, 4, 5]] = 1 / _ANGLE_SIGMA
        if floor is not None:
            self.J[-4, 1] = 1 / _FLOOR_SIGMA

    def evaluate(self):
        """Computes the residuals `value` [m] and their Jacobian `J` [m, 6] at `state` [6]: P in H, mm; radians."""
        J, value, arms, count = self.J, self.value, len(self.elbows), self.margin.size
        moved = self.points @ _attitude(self.state[3:])
        places, slopes = moved[:, :3] + self.state[:3], moved[:, 3:].reshape(-1, 3, 3).transpose(0, 2, 1)
        gap, far = limbs.gaps(places[arms:], self.start, self.axis)
        short = (self.margin - far) / _SOFT
        value[:count] = (np.logaddexp(0, short) * (_SOFT / _TRUNK_SIGMA)).ravel()
        pull = gap * (-1 / _TRUNK_SIGMA / (far * (1 + np.exp(-short))))[..., None]
        J[:count, :3], J[:count, 3:] = pull.reshape(-1, 3), (pull @ slopes[arms:]).reshape(-1, 3)
        upper = places[:arms] - self.elbows
        length = np.sqrt((upper * upper).sum(1))
        along = upper / (length * _LENGTH_SIGMA)[:, None]
        value[count : count + arms] = (length - self.length) / _LENGTH_SIGMA
        J[count : count + arms, :3], J[count : count + arms, 3:] = along, (along[:, None] @ slopes[:arms])[:, 0]
        value[count + arms : -4] = (upper - self.offset).ravel() / _OFFSET_SIGMA
        J[count + arms : -4, 3:] = slopes[:arms].reshape(-1, 3) / _OFFSET_SIGMA
        value[-3:] = (self.state[3:] - self.rest) / _ANGLE_SIGMA
        if self.hips is not None:
            value[-4] = (self.state[1] - self.hips) / _FLOOR_SIGMA


def place(
    person: figure.Person,
    heading: float,
    arms: dict[str, tuple[np.ndarray, np.ndarray]],
    waves: np.ndarray,
    floor: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """R [3, 3] and P [3] mm of a trunk that fits the `arms` {side: (elbow [3], wrist [3])} mm; see the module.

    `waves` [24] in -1..1 vary the attitude; `floor` is the world's y of the floor, mm, if the person stands on one.
    """
    H = frame(heading)
    problem = _Problem(person, {side: np.stack(arm) @ H for side, arm in arms.items()}, waves, floor)
    for _ in range(_STEPS):
        problem.evaluate()
        _, step, _ = lapack.dposv(problem.J.T @ problem.J, problem.value @ problem.J)
        far = math.sqrt((step * step) @ (1, 1, 1, 9e4, 9e4, 9e4))  # mm, at 300 mm from the hips
        problem.state -= step / (1 + far / _STRIDE)
        if far < _CONVERGED:
            break
    return H @ _attitude(problem.state[3:])[:, :3].T, H @ problem.state[:3]


def bend(share: float) -> tuple[float, float]:
    """Scale s and angle b (radians) of legs that have the fraction `share` q of their length, within the limits."""
    share = min(max(share, _LOWEST), _LONG)
    if share >= _SHORT:
        return share, 0.0
    # Choice: acos(share / _SHORT) would start with infinite slope, so legs become a little shorter instead.
    folded = 1 - share / _SHORT
    b = math.sqrt(2 * folded) * math.sqrt(folded / (folded + 0.1))
    return share / math.cos(b), b


def legs(
    person: figure.Person, H: np.ndarray, P: np.ndarray, floor: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses of thighs, shins and feet: X = rotation (x * scale along y) + shift.

    `H` [3, 3] is the upright frame, `P` [3] mm the position of the hips; `floor` (world's y, mm) is where the soles go.

    Returns rotations [3, 3, 3], shifts [3, 3] mm, scales [3].
    """
    knee, ankle = figure.KNEE * person.scale, figure.ANKLE * person.scale
    share = 1.0 if floor is None else (floor - P[1] - (person.sole - ankle)) / ankle
    s, b = bend(share)
    c, d = math.cos(b), math.sin(b)
    thigh, shin = (H @ np.array([[1, 0, 0], [0, c, -d * sign], [0, d * sign, c]]) for sign in (1, -1))
    at_knee = P + s * knee * thigh[:, 1]
    at_ankle = at_knee + s * (ankle - knee) * shin[:, 1]
    shifts = np.stack([P, at_knee - s * knee * shin[:, 1], at_ankle - ankle * H[:, 1]])
    return np.stack([thigh, shin, H]), shifts, np.array([s, s, 1.0])
