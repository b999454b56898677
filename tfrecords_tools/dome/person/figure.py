"""Shape and clothes of a person at rest: one closed coarse mesh of legs, trunk and head, and a tube for an upper arm.

Person frame (mm): origin between the hips, +x to the person's right, +y down, +z forward. As for the hand, the surface
is the zero level set of a smooth union of tapered capsules (`capsule`), but its softness k and the cell size h depend
on the height:

    k(y) = 5 mm in the face .. 24 mm below the neck,   cells of h(y) x 1.2 h(y) x h(y)

so that the face gets small triangles and the legs large ones. Marching cubes runs on the cells' indices; two Newton
steps x -= d grad d / |grad d|^2 then move the vertices onto the surface, whose gradient gives the normals.
"""

import collections
import dataclasses
from collections.abc import Iterable

import numpy as np
from skimage import measure

from tfrecords_tools.dome.person import capsule, flesh, hand, people

# The body of a median adult as tapered capsules: start, end, radius at both, material. Those beside the middle plane
# have a mirror image. Landmarks follow the segment lengths in Winter, Biomechanics and Motor Control of Human Movement,
# fig. 4.1, for a stature of 1720 mm: hip 912, shoulder 1400, chin 1496 and vertex 1720 mm above the floor.
_SKIN, _HAIR, _SHIRT, _TROUSERS, _SHOES = range(5)
KNEE, ANKLE = 430.0, 845.0  # mm below the hips
_PARTS = (
    ((0, -730, 14), (0, -722, -25), 76, 74, _SKIN),
    ((0, -690, 30), (0, -628, 46), 62, 43, _SKIN),
    ((0, -688, 93), (0, -664, 107), 8, 12, _SKIN),
    ((75, -705, 0), (75, -678, 4), 13, 10, _SKIN),
    ((0, -490, -12), (0, -600, 6), 60, 54, _SKIN),
    ((0, -740, -2), (0, -722, -32), 82, 82, _HAIR),
    ((60, -462, -10), (160, -460, -10), 66, 60, _SHIRT),
    ((50, -455, -2), (152, -440, -8), 62, 58, _SHIRT),
    ((0, -385, 4), (80, -385, 4), 104, 100, _SHIRT),
    ((70, -385, 4), (58, -120, 2), 102, 98, _SHIRT),
    ((0, -385, 8), (0, -120, 6), 104, 104, _SHIRT),
    ((58, -120, 2), (62, -20, -4), 98, 103, _SHIRT),
    ((62, -20, -4), (74, 40, -8), 101, 99, _TROUSERS),
    ((88, 60, -8), (88, 430, 2), 86, 60, _TROUSERS),
    ((88, 430, 0), (90, 800, -18), 60, 50, _TROUSERS),
    ((90, 860, -20), (98, 868, 135), 50, 44, _SHOES),
)
_LONG_HAIR = ((38, -690, -48), (42, -560, -62), 52, 36, _HAIR)
_HAIR_COLOURS = (
    np.array([(35, 27, 24), (58, 40, 30), (92, 64, 42), (150, 112, 70), (120, 116, 112), (70, 34, 24)]) / 255
)
# Points of the face (x, y) that get their own vertex.
_FEATURES = ((-31, -703, "eye"), (31, -703, "eye"), (-15, -645, "mouth"), (15, -645, "mouth"))

# `vertices` [v, 3] world mm, unit `normals` [v, 3], `triangles` [m, 3] int32, unlit `colours` [v, 3] in 0..1.
Mesh = collections.namedtuple("Mesh", "vertices normals triangles colours")


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """A body at rest in the person frame, its arms, and the constants of its slow motion.

    Attributes:
        traits: those of the person's hands.
        scale: size relative to the median person.
        body: legs, trunk and head at rest.
        sole: distance of the soles below the hips at rest, mm.
        weighted_vertices: [v, 20], weights of thighs, shins, feet, trunk and head times homogeneous vertices, so that
            posing is one product.
        weighted_normals: [v, 15], the same for the normals.
        tube: an upper arm of unit length: position along its axis [v], what the rounded ends add to that in mm [v],
            cross section [v, 2] mm, unit normals [v, 3].
        hand: the idle hand.
        spheres: that fill trunk and head: centres [s, 3] and radii [s] mm.
        waves: frequency (Hz) and phase (cycles) of the slow sines, [24, 2].
        surface: {measured sides: (triangles, colours) of a posed mesh}.
    """

    traits: people.Traits
    scale: float
    body: Mesh
    sole: float
    weighted_vertices: np.ndarray
    weighted_normals: np.ndarray
    tube: tuple
    hand: hand.Subject
    spheres: tuple
    waves: np.ndarray
    surface: dict


def with_mirror_images(rows: Iterable[tuple]) -> list[tuple]:
    """`rows` (points [3], then numbers), each followed by its mirror image unless it lies in the middle plane."""
    flip = np.array([-1.0, 1, 1])
    both = []
    for row in rows:
        points = [np.array(item, np.float64) for item in row if np.ndim(item)]
        rest = [item for item in row if not np.ndim(item)]
        both.append((*points, *rest))
        if any(point[0] for point in points):
            both.append((*(point * flip for point in points), *rest))
    return both


def _solids(parts):
    """`parts` as capsules with circular cross sections; their groups are the materials."""
    start, end, first, last, kind = (np.array(column, np.float64) for column in zip(*parts, strict=True))
    # With circular cross sections, any direction that is not parallel to the axis will do as the palmar one.
    sideways = np.where(np.abs((end - start)[:, :1]) > np.abs((end - start)[:, 2:]), [0.0, 0, 1], [1.0, 0, 0])
    return capsule.Capsules(start, end, np.stack([first, last], 1), np.ones(len(parts)), sideways, kind)


def _softness(y):
    """Softness k of the smooth union and cell size h of the mesh, both in mm, at height `y`."""
    head = 1 / (1 + np.exp((y + 540) / 22))
    legs = 1 / (1 + np.exp((-150 - y) / 60))
    fine = 1 / (1 + np.exp((y + 500) / 22))
    return 24 - 19 * head, 41 - 23.5 * fine + 20 * legs


def _field(points, solids):
    return capsule.union(capsule.distances(points, solids), _softness(points[:, 1])[0])


def _gradient(points, solids):
    steps = 0.5 * np.eye(3)
    return np.stack([_field(points + step, solids) - _field(points - step, solids) for step in steps], 1)


def _skin_mesh(solids):
    """Vertices [v, 3] mm and triangles [m, 3] of the solids' smooth union, finer at the head."""
    levels = [-860.0]
    while levels[-1] < 960:
        levels.append(levels[-1] + 1.2 * float(_softness(levels[-1])[1]))
    levels = np.array(levels)
    u, w = np.arange(-9.5, 10), np.arange(-9.5, 13)  # in cells, whose size depends on the height
    grid = np.stack(np.meshgrid(u, levels, w, indexing="ij"), -1)
    grid[..., [0, 2]] *= _softness(grid[..., 1:2])[1]
    field = _field(grid.reshape(-1, 3), solids).reshape(grid.shape[:3])
    index, faces, _, _ = measure.marching_cubes(field, 0.0, gradient_direction="ascent")
    y = np.interp(index[:, 1], np.arange(len(levels)), levels)
    cell = _softness(y)[1]
    vertices = np.stack([(index[:, 0] + u[0]) * cell, y, (index[:, 2] + w[0]) * cell], 1)
    for _ in range(2):  # Newton steps: linear interpolation misses the surface by some mm
        slope = _gradient(vertices, solids)
        step = _field(vertices, solids)[:, None] * slope / np.sum(slope * slope, 1, keepdims=True)
        vertices = vertices - np.clip(step, -0.3 * cell[:, None], 0.3 * cell[:, None])
    return vertices, faces[:, ::-1].astype(np.int32)


def _snap(vertices, solids):
    """Moves one vertex of the face onto each of `_FEATURES`, so that they look alike on both sides and on all people.

    Returns the vertices [v, 3], and the indices of those moved.
    """
    vertices, chosen = vertices.copy(), []
    for x, y, _ in _FEATURES:
        gap = np.hypot(vertices[:, 0] - x, vertices[:, 1] - y) + 1e3 * (vertices[:, 2] < 40)
        gap[chosen] = np.inf
        chosen.append(gap.argmin())
        vertices[chosen[-1], :2] = x, y
    at = vertices[chosen]
    for _ in range(4):  # Newton steps along z, back onto the surface
        at[:, 2] -= _field(at, solids) / _gradient(at, solids)[:, 2]
    vertices[chosen] = at
    return vertices, np.array(chosen)


def _paint(vertices, features, solids, tone, shirt, skin, rng):
    """Vertex colours [v, 3] of the body at median size: clothes, hair, skin, eyes and mouth."""
    distances = capsule.distances(vertices, solids).astype(np.float64)
    nearest = np.stack([distances[:, solids.group == k].min(1) for k in range(5)], 1)
    # The shirt ends at a round collar, wherever the capsule of the neck begins.
    x, y, z = vertices.T
    collar = np.hypot(x, z + 6) - 74 - 0.25 * np.maximum(z, 0)
    upper = (y > -590) & (y < -400)
    nearest[upper, _SHIRT], nearest[upper, _SKIN] = -0.5 * collar[upper], 0.5 * collar[upper]
    # Blending lets the borders between materials follow the shapes instead of the triangles.
    share = np.exp(-(nearest - nearest.min(1, keepdims=True)) / 2.5)
    share /= share.sum(1, keepdims=True)
    trousers = np.array([0.13, 0.16, 0.25]) + rng.uniform(-0.06, 0.3) * np.array([1.0, 0.95, 0.85])
    shoes = np.full(3, rng.choice([0.1, 0.25, 0.8]))
    # Choice: people with dark skin have dark hair; others have any of the colours.
    hair = _HAIR_COLOURS[rng.integers(0, 6 if tone < 0.4 else 2)]
    colours = share @ np.stack([skin, hair, shirt, trousers, shoes])
    shadow = 0.3 * share[:, _SKIN] * np.exp(-(((y + 565) / 28) ** 2)) * (z > 0)  # under the chin
    colours = colours * (1 - shadow[:, None])
    tints = {"eye": skin * 0.3, "mouth": skin * [0.88, 0.7, 0.68]}
    for vertex, (_, _, name) in zip(features, _FEATURES, strict=True):
        colours[vertex] = tints[name]
    return colours


def make_tube(
    traits: people.Traits, scale: float, shirt: np.ndarray, skin: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """A closed upper arm along +y, from elbow (0) to shoulder (1).

    Returns its tube (see `Person`: fraction [v], end [v] mm, cross section [v, 2] mm), unit normals [v, 3],
    triangles [m, 3] and colours [v, 3].
    """
    fraction = np.array([0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1])
    girth = np.interp(fraction, [0, 0.25, 0.5, 0.75, 1], [34, 42, 45, 48, 46])
    polar = np.deg2rad([-90, -60, -30, 0, 0, 0, 0, 0, 30, 60, 90])
    around = 2 * np.pi * np.arange(10) / 10
    rings, size = len(fraction) - 2, len(around)
    lift = scale * traits.thickness * girth
    ring = np.repeat(np.arange(1, rings + 1), size)
    row = np.concatenate([[0], ring, [rings + 1]])
    circle = np.stack([np.cos(around), np.sin(around)], 1)
    across = np.concatenate([np.zeros((1, 2)), np.tile(circle, (rings, 1)), np.zeros((1, 2))])
    flat = np.cos(polar[row])[:, None] * across
    normals = np.stack([flat[:, 0], np.sin(polar[row]), flat[:, 1]], 1)
    tube = (fraction[row], lift[row] * np.sin(polar[row]), lift[row][:, None] * flat)
    here = np.arange(size)
    after = (here + 1) % size
    bottom = np.stack([np.zeros(size, int), 1 + here, 1 + after], 1)
    faces = [bottom]
    for k in range(rings - 1):
        low, high = 1 + k * size, 1 + (k + 1) * size
        faces.append(np.stack([low + here, high + here, high + after], 1))
        faces.append(np.stack([low + here, high + after, low + after], 1))
    last = 1 + (rings - 1) * size
    faces.append(np.stack([last + here, np.full(size, last + size), last + after], 1))
    bare = (traits.sleeve.edge <= people.BARE) * (fraction[row] < 0.45)
    colours = np.where(bare[:, None], skin, shirt)
    return tube, normals, np.concatenate(faces).astype(np.int32), colours


def make_body(
    traits: people.Traits, scale: float, shirt: np.ndarray, skin: np.ndarray, rng: np.random.Generator
) -> tuple[Mesh, np.ndarray]:
    """The body at rest, and the weights [v, 5] of its vertices on thighs, shins, feet, trunk and head."""
    long_hair = rng.random() < (0.75 if traits.sex == "woman" else 0.1)
    solids = _solids(with_mirror_images((*_PARTS, _LONG_HAIR) if long_hair else _PARTS))
    vertices, triangles = _skin_mesh(solids)
    vertices, features = _snap(vertices, solids)
    slope = _gradient(vertices, solids)
    colours = _paint(vertices, features, solids, traits.tone, shirt, skin, rng)
    head, legs, shin, foot = (
        flesh.ease(vertices[:, 1], *band) for band in ((-540, -615), (-60, 100), (KNEE - 65, KNEE + 65), (795, 835))
    )
    stretch = stretch_of(traits, scale)
    normals = slope / stretch
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    weights = np.stack([legs * (1 - shin), legs * shin * (1 - foot), legs * foot, 1 - legs - head, head], 1)
    return Mesh(vertices * stretch, normals, triangles, colours), weights


def stretch_of(traits: people.Traits, scale: float) -> np.ndarray:
    """Factors [3] that stretch the median body along x, y and z."""
    return scale * np.array([traits.thickness, 1.0, traits.thickness])
