"""The closed surface of a hand in its bind pose.

The flesh is a smooth union d of tapered capsules (`capsule`), softer in the palm than along the fingers. A sleeve lies
around the forearm at some distance.

The zero level set of d is meshed once per subject: marching cubes on a grid that is finer where the surface curves
more, then a few steps of smoothing along the surface and projection onto it, x <- x - d grad d / |grad d|^2.
"""

import itertools

import numpy as np
import scipy.sparse
from skimage import measure

from hand_tf.core import skeleton
from hand_tf.core.errors import InputError
from tfrecords_tools.dome.person import capsule, people

PALM, FOREARM = 0, 6  # groups of capsules; 1..5 are the fingers, thumb first
FINGERS = np.array(list(skeleton.FINGERS.values()))
CUFF = 2.5  # mm along the arm over which the edge of a sleeve rises


class _Builder:
    """Collects capsules, one at a time."""

    def __init__(self):
        self.parts = []

    def add(self, group, start, end, radii, flat=1.0, palmar=(0.0, 0.0, 1.0)):
        self.parts.append((start, end, radii, flat, palmar, group))

    def capsules(self):
        return capsule.Capsules(*(np.array(column, np.float64) for column in zip(*self.parts, strict=True)))


def _finger(build, finger, joints, bones, radii, tip):
    """Adds the phalanges of one finger: shaft, joint and pad each. The skin ends `tip` mm beyond the tip joint."""
    ids = FINGERS[finger]
    for k in range(3):
        y, z = bones[1 + 3 * finger + k, :, 1:3].T
        a, b = joints[ids[k]], joints[ids[k + 1]]
        ra, rb = radii[k], radii[k + 1]
        length = (b - a) @ y
        if k == 2:
            end = 0.92 * rb
            b = b + (tip - 0.9 * end) * y
            build.add(finger + 1, a + 0.07 * ra * z, b + 0.1 * rb * z, (0.93 * ra, end), 0.84, z)
            pulp = 0.84 * rb
            build.add(
                finger + 1, a + 0.45 * length * y + 0.3 * rb * z, b - 0.2 * rb * y + 0.22 * rb * z, (pulp, pulp), 1, z
            )
            continue
        build.add(finger + 1, a + 0.05 * ra * z, b + 0.05 * rb * z, (0.96 * ra, 0.96 * rb), 0.95, z)
        # Joints are wider than shafts, and a pad of flesh lies between two creases.
        build.add(finger + 1, b - 0.25 * rb * y, b + 0.25 * rb * y, (0.88 * rb, 0.88 * rb), 0.94, z)
        if finger or k:
            pad = 0.86 * (ra + rb) / 2
            low, high = (a + share * length * y + 0.25 * pad * z for share in (0.42, 0.66))
            build.add(finger + 1, low, high, (pad, pad), 1, z)


def _thumb_root(build, joints, bones, scale, s):
    """Adds the ball of the thumb, the flesh of its metacarpal and the web to the index finger."""
    a, b = joints[1], joints[2]
    y, z = bones[1, :, 1:3].T
    length = (b - a) @ y
    build.add(1, a + 2 * z, b - 2 * y, (11.5 * s, 10.0 * s))
    ball = a + scale * np.array([-4.0, -2.0, 3.0])
    build.add(1, ball, a + 0.62 * length * y + 4.0 * s * z, (12.5 * s, 10.5 * s), 0.9, z)
    index = joints[5]
    start = scale * np.array([11.0, 20.0, 2.0])
    for along, share, radius in ((0.35, 0.3, 10.0), (0.6, 0.42, 7.6), (0.78, 0.55, 5.6)):
        build.add(
            PALM, a + along * length * y + z, start + share * (index - start) + [0, 0, 2.0], (radius * s, radius * s)
        )


def _palm(build, joints, scale, s):
    """Adds metacarpals, the pads below the fingers, knuckles and the heel of the hand."""
    carpus = scale * np.array([[13.5, 8, 0], [4.5, 8, -1.5], [-5, 8, -1.5], [-14, 9, 0]])
    knuckles = joints[FINGERS[1:, 0]]
    pad = np.array([[0, -9 * scale, 5.0 * s], [0, 5 * scale, 4.0 * s]])
    bump = np.array([[0, -3, -2.2 * s], [0, 2, -2.0 * s]])
    for i, (start, knuckle) in enumerate(zip(carpus, knuckles, strict=True)):
        radius = (8.6, 9.6, 9.2, 7.4)[i] * s
        build.add(PALM, start, knuckle + np.array([0, 0, 0.6]), (11.5 * s, radius), 0.95)
        build.add(PALM, *(knuckle + pad), (7.5 * s, 7.2 * s))
        build.add(PALM, *(knuckle + bump), (6.8 * s, 6.5 * s))
        if i < 3:
            build.add(PALM, (start + carpus[i + 1]) / 2, (knuckle + knuckles[i + 1]) / 2 - [0, 7, 0], (11 * s, 8.2 * s))
    hypothenar = scale * np.array([[-19.5, 14, 6.5], [-24, 36, 7.5]])
    build.add(PALM, *hypothenar, (12.0 * s, 11.5 * s))
    build.add(PALM, hypothenar[1], knuckles[3] + scale * np.array([1.5, -9, 4.0]), (11.0 * s, 8.0 * s))
    build.add(PALM, scale * np.array([12, 12, 7]), scale * np.array([22, 40, 9]), (11.5 * s, 10.5 * s))

    build.add(PALM, scale * np.array([-15, 4, 3]), scale * np.array([14, 4, 3]), (12.0 * s, 12.0 * s))


def _webs(build, joints, bones, s):
    """Adds the skin between the fingers."""
    for finger in range(1, 4):
        ends = []
        for f in (finger, finger + 1):
            length = np.linalg.norm(joints[FINGERS[f, 1]] - joints[FINGERS[f, 0]])
            ends.append((joints[FINGERS[f, 0]], bones[1 + 3 * f, :, 1] * length))
        for share, radius in ((0.08, 7.0), (0.27, 5.2)):
            (a, u), (b, v) = ends
            build.add(PALM, a + share * u + [0, 0, 1.5], b + share * v + [0, 0, 1.5], (radius * s, radius * s))


def _forearm(build, length, s):
    """Adds an oval wrist that widens into a round forearm, up to the elbow."""
    stations = np.array([[6, 25.5, 0.68], [-18, 25.0, 0.72], [-0.3 * length, 30, 0.8], [-0.7 * length, 41, 0.86]])
    stations = np.vstack([stations, [-length, 36, 0.9]])
    for (y0, r0, f0), (y1, r1, f1) in itertools.pairwise(stations):
        build.add(FOREARM, np.array([0, y0, 0.5]), np.array([0, y1, 0.5]), (r0 * s, r1 * s), (f0 + f1) / 2)


def capsules(traits: people.Traits, joints: np.ndarray, bones: np.ndarray) -> capsule.Capsules:
    """The flesh of a subject around `joints` [21, 3] mm and `bones` [17, 3, 4] of the bind pose."""
    scale = traits.length / people.MEDIAN_LENGTH
    s = scale * traits.thickness
    build = _Builder()
    for finger in range(5):
        _finger(build, finger, joints, bones, traits.radii[finger], scale * people.SOFT_TIP[finger] / 2)
    _thumb_root(build, joints, bones, scale, s)
    _palm(build, joints, scale, s)
    _webs(build, joints, bones, s)
    _forearm(build, people.FOREARM_RATIO * traits.length, s)
    return build.capsules()


def _cloth(points, sleeve):
    """Distance [n] mm between a sleeve and the arm at `points` [n, 3]: it rises at the hem, then hangs in folds."""
    inside = sleeve.edge - points[:, 1]
    rise = np.clip(inside / CUFF + 1, 0, 1)
    folds = np.sin(points[:, 1] / 7.5 + 0.05 * points[:, 0]) * np.sin(points[:, 0] / 13 + points[:, 1] / 31)
    loose = 3.2 + np.clip(inside / 60, 0, 1) * (2.5 + 1.6 * folds)
    return rise * loose


def field(points: np.ndarray, caps: capsule.Capsules, sleeve: people.Sleeve) -> np.ndarray:
    """Signed distance d [n] mm from `points` [n, 3] to the surface of hand and sleeve."""
    distance = capsule.distances(points, caps)
    distance[:, caps.group == FOREARM] -= _cloth(points, sleeve)[:, None]
    # Choice: a soft union in palm and forearm, a tight one along the fingers, so that they do not merge.
    soft = distance[:, np.isin(caps.group, (PALM, FOREARM))].min(1)
    k = 3.6 - 2.7 * np.clip(soft / 13.0, 0, 1)
    return capsule.union(distance, k)


def _axis(low, high, step):
    """Grid positions from `low` to at least `high`, with gaps given by the function `step` of the position."""
    values = [low]
    while values[-1] < high:
        values.append(values[-1] + step(values[-1]))
    return np.array(values)


def _grid(caps, sleeve, spacing):
    """Grid positions along x, y and z, mm, for marching cubes, x and z not yet scaled. Two planes lie at the cuff."""
    reach = caps.radii.max(1)[:, None] + 9
    low = np.minimum(caps.start - reach, caps.end - reach).min(0)
    high = np.maximum(caps.start + reach, caps.end + reach).max(0)
    across = 3.15 * spacing
    y = _axis(low[1], high[1], lambda value: spacing * np.interp(value, [-60, -12, 30, 60], [12, 5.7, 4.7, 3.8]))
    if sleeve.edge > low[1] + 20:
        y = np.sort(np.append(y[np.abs(y - sleeve.edge - CUFF / 2) > 3.4], [sleeve.edge, sleeve.edge + CUFF]))
    return [np.arange(low[0], high[0], across), y, np.arange(low[2], high[2], across)]


def _project(points, caps, sleeve):
    """`points` [n, 3] moved towards the zero level set, and the unit normals [n, 3] there."""
    step = 0.4
    value = field(points, caps, sleeve)
    shifted = (points[None] + step * np.eye(3)[:, None]).reshape(-1, 3)
    slope = ((field(shifted, caps, sleeve).reshape(3, -1) - value) / step).T
    square = np.maximum(np.sum(slope**2, 1, keepdims=True), 0.2)
    move = np.clip(-value[:, None] * slope / square, -1.5, 1.5)
    return points + move, slope / np.sqrt(square)


def _marching(caps, sleeve, spacing):
    """Vertices [v, 3] mm and triangles [m, 3] of the zero level set, by marching cubes."""
    xs, ys, zs = _grid(caps, sleeve, spacing)
    # Factor on x and z: the smooth forearm needs only half as many cells around it.
    wide = np.interp(ys, [-60, -6], [2.3, 1.0])
    y, z = np.meshgrid(ys, zs, indexing="ij")
    plane = np.stack([np.zeros_like(y), y, z * wide[:, None]], -1)
    slabs = [plane + np.stack([x * wide, 0 * wide, 0 * wide], 1)[:, None] for x in xs]
    values = np.stack([field(slab.reshape(-1, 3), caps, sleeve).reshape(y.shape) for slab in slabs])
    at, faces, _, _ = measure.marching_cubes(values, 0.0, gradient_direction="ascent")
    x, y, z = (np.interp(v, np.arange(len(a)), a) for v, a in zip(at.T, (xs, ys, zs), strict=True))
    wide = np.interp(at[:, 1], np.arange(len(ys)), wide)
    return np.stack([x * wide, y, z * wide], 1), faces[:, ::-1].astype(np.int32)


def neighbours(triangles: np.ndarray, count: int) -> scipy.sparse.csr_matrix:
    """Row-normalised adjacency [count, count] of the `count` vertices of a mesh with `triangles` [m, 3]."""
    i, j = triangles[:, [0, 1, 2, 1, 2, 0]].T.ravel(), triangles[:, [1, 2, 0, 0, 1, 2]].T.ravel()
    graph = scipy.sparse.csr_matrix((np.ones(len(i)), (i, j)), (count, count))
    graph.data[:] = 1
    return scipy.sparse.diags(1 / np.maximum(graph.sum(1).A1, 1)) @ graph


def ease(x: np.ndarray | float, low: float, high: float) -> np.ndarray | float:
    """Rises smoothly from 0 at `low` to 1 at `high`; constant outside."""
    s = np.clip((x - low) / (high - low), 0, 1)
    return s * s * (3 - 2 * s)


def incidence(triangles: np.ndarray, count: int) -> scipy.sparse.csr_matrix:
    """Which of `triangles` [m, 3] each of `count` vertices belongs to: [count, m] of zeros and ones."""
    faces = np.repeat(np.arange(len(triangles)), 3)
    ones = np.ones(triangles.size, np.float32)
    return scipy.sparse.csr_matrix((ones, (triangles.ravel(), faces)), (count, len(triangles)))


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray, faces_of_vertex: scipy.sparse.csr_matrix) -> np.ndarray:
    """Area-weighted unit normals [v, 3] of a mesh; `faces_of_vertex` is its `incidence`."""
    a, b, c = (vertices[corner] for corner in triangles.T)
    u, v = (b - a).T, (c - a).T
    faces = np.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]], 1)
    normals = faces_of_vertex @ faces
    return normals / np.maximum(np.sqrt(np.einsum("vi,vi->v", normals, normals)), 1e-9)[:, None]


def mesh(caps: capsule.Capsules, traits: people.Traits, spacing: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The closed surface: vertices [v, 3] mm, triangles [m, 3] int32, counter-clockwise seen from outside.

    Raises ValueError if neither this grid `spacing` nor slightly finer ones give a surface without handles.
    """
    sleeve = traits.sleeve
    spacing *= traits.length / people.MEDIAN_LENGTH  # all hands get about the same number of triangles
    for finer in (1.0, 0.96, 0.92, 0.88, 0.84):
        vertices, triangles = _marching(caps, sleeve, finer * spacing)
        # Euler's formula for a sphere. A coarse cell may bridge the notch between two fingers; another grid does not.
        if len(vertices) - len(triangles) // 2 == 2:
            break
    else:
        raise InputError(f"{traits.name}: no closed skin without handles at a spacing of {spacing:.2f}")
    graph = neighbours(triangles, len(vertices))
    loose = (np.abs(vertices[:, 1] - sleeve.edge - CUFF / 2) > 6)[:, None]  # the rings along the cuff do not move
    for _ in range(3):
        vertices, normals = _project(vertices, caps, sleeve)
        drift = graph @ vertices - vertices
        drift -= np.sum(drift * normals, 1, keepdims=True) * normals
        vertices = vertices + 0.5 * loose * drift
    return _project(vertices, caps, sleeve)[0], triangles
