"""Objects in the hand or near it: bottles, sticks, pens, books, phones, balls.

An object moves with the palm. In the hand it lies along the palm, under the fingers or between them; near the hand it
floats anywhere, in front of some cameras. Nothing is done about fingers that reach into an object: the surface that is
nearer to the camera is what shows.
"""

import functools

import numpy as np
from scipy.spatial.transform import Rotation

from tfrecords_tools.dome.person import people
from tfrecords_tools.dome.person.figure import Mesh
from tfrecords_tools.dome.studio import texture

HOLD = 2.5  # s for which one object is held
_NEAR_SHARE = 0.35  # of the objects that are not in the hand but near it
_NEAR = (70.0, 150.0)  # mm from the palm to such an object
_PALM = 13.0  # mm from the middle of the hand to the skin of the palm
_AROUND = 20  # sides of a round object
# Choice: half sizes in mm as (low, high): across, along, thick; and whether they are round.
_KINDS = {
    "bottle": (((20, 60, 20), (36, 120, 36)), True),
    "stick": (((7, 90, 7), (18, 240, 18)), True),
    "pen": (((3.5, 55, 3.5), (6, 85, 6)), True),
    "phone": (((32, 65, 3.5), (42, 85, 6)), False),
    "book": (((60, 80, 6), (110, 140, 20)), False),
    "box": (((20, 25, 20), (60, 80, 60)), False),
    "ball": (((18, 18, 18), (45, 45, 45)), True),
}


def _revolved(profile):
    """Vertices, normals, triangles of a surface of revolution about y; `profile` [n, 4]: radius, y, normal's r, y."""
    radius, y, across, up = np.array(profile, np.float64).T
    angle = 2 * np.pi * np.arange(_AROUND) / _AROUND
    c, s = np.cos(angle), np.sin(angle)
    vertices = np.stack([radius[:, None] * c, np.tile(y[:, None], _AROUND), radius[:, None] * s], 2)
    normals = np.stack([across[:, None] * c, np.tile(up[:, None], _AROUND), across[:, None] * s], 2)
    ring, here = np.arange(len(radius) - 1)[:, None] * _AROUND, np.arange(_AROUND)
    a, b = ring + here, ring + (here + 1) % _AROUND
    triangles = np.concatenate([np.stack([a, a + _AROUND, b], 2), np.stack([b, a + _AROUND, b + _AROUND], 2)], 0)
    return vertices.reshape(-1, 3), normals.reshape(-1, 3), triangles.reshape(-1, 3)


@functools.cache
def _ball():
    """A unit ball."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, 11)
    return _revolved(np.stack([np.cos(polar), np.sin(polar)] * 2, 1))


@functools.cache
def _cylinder():
    """A cylinder about y with radius 1, from -1 to 1: a lid, the side in some rings, the bottom."""
    side = [(1, y, 1, 0) for y in np.linspace(-1, 1, 9)]
    return _revolved([(0, -1, 0, -1), (1, -1, 0, -1), *side, (1, 1, 0, 1), (0, 1, 0, 1)])


@functools.cache
def _cuboid():
    """A cube from -1 to 1, each face with vertices of its own."""
    vertices, normals, triangles = [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = np.roll(np.eye(3), axis, 1)[1:]
            n = np.cross(u, v) * sign
            first = len(vertices)
            corners = [n + i * u + j * v for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            vertices += corners
            normals += [n] * 4
            order = (0, 1, 2, 3) if sign > 0 else (3, 2, 1, 0)
            triangles += [[first + order[k] for k in face] for face in ((0, 1, 2), (0, 2, 3))]
    return np.array(vertices), np.array(normals), np.array(triangles)


def _shape(kind, half):
    """Vertices, unit normals and triangles of an object of half sizes `half` [3] mm."""
    vertices, normals, triangles = {"ball": _ball}.get(kind, _cylinder if _KINDS[kind][1] else _cuboid)()
    slope = normals / half
    return vertices * half, slope / np.linalg.norm(slope, axis=1, keepdims=True), triangles


def _in_hand(rng, traits, half):
    """Rotation [3, 3] and place [3] mm of an object whose y axis lies across the palm, in the frame of the hand."""
    # The object's thin side faces the palm; it is turned within the palm and tilted a little.
    turn = Rotation.from_euler("zyx", [90 + rng.normal(0, 35), rng.normal(0, 12), rng.normal(0, 12)], degrees=True)
    along = rng.uniform(0.55, 1.05) * traits.bases[2, 1]
    slide = rng.uniform(-0.6, 0.6) * max(half[1] - 40, 0)
    place = np.array([0, along, _PALM + half[2] + rng.uniform(0, 6)])
    return turn.as_matrix(), place + slide * turn.as_matrix()[:, 1]


def _near(rng, traits):
    """Rotation and place of an object anywhere around the palm."""
    direction = rng.standard_normal(3)
    place = direction / np.linalg.norm(direction) * rng.uniform(*_NEAR)
    place[1] += 0.8 * traits.bases[2, 1]
    return Rotation.random(random_state=rng).as_matrix(), place


def draw(rng: np.random.Generator, traits: people.Traits) -> Mesh:
    """The unlit mesh of a random object, in the frame of the hand of a person with these `traits`, mm."""
    kind = str(rng.choice(list(_KINDS)))
    low, high = np.array(_KINDS[kind][0], np.float64)
    half = low + rng.uniform(0, 1, 3) * (high - low)
    if _KINDS[kind][1]:
        half[2] = half[0]
    if kind == "ball":
        half[1] = half[0]
    vertices, normals, triangles = _shape(kind, half)
    main, other = texture.colour(rng), texture.colour(rng)
    bands = np.sin(vertices[:, 1:2] / rng.uniform(6, 25) + rng.uniform(0, 6)) > rng.uniform(-0.2, 1.3)
    colours = np.where(bands, other, main)
    R, place = _near(rng, traits) if rng.random() < _NEAR_SHARE else _in_hand(rng, traits, half)
    return Mesh(vertices @ R.T + place, normals @ R.T, triangles.astype(np.int32), colours)
